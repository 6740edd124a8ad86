"""Log lines of Socket.IO: one when a client connects to a namespace, one when it leaves, errors."""

from __future__ import annotations

import logging
from typing import Any, Final

from ..labels import safe_text
from ..logs import LOG_FIELDS, log_to_stderr_if_unconfigured, write_line
from ..settings import Settings

__all__ = ["Lines"]

logger: Final = logging.getLogger("asgi_ws_observe.socketio")


class Lines:
    """Writes the lines of one server.

    Args:
        settings: `node`, `log_open`, `log_close` and `log_handler` count.
    """

    def __init__(self, settings: Settings) -> None:
        self._node = settings.node
        self._open = settings.log_open
        self._close = settings.log_close
        self._unchecked = settings.log_handler == "auto"

    def opened(self, **fields: Any) -> None:
        """Write ``socketio_open``."""
        if self._open:
            self._write(logging.INFO, "socketio_open", fields)

    def closed(self, **fields: Any) -> None:
        """Write ``socketio_close``, for a connection that was not accepted as well."""
        if self._close:
            self._write(logging.INFO, "socketio_close", fields)

    def errored(self, error: BaseException, **fields: Any) -> None:
        """Write ``socketio_error`` with the traceback."""
        fields["error_type"] = type(error).__name__
        self._write(logging.ERROR, "socketio_error", fields, error)

    def _write(
        self, level: int, event: str, fields: dict[str, Any], error: BaseException | None = None
    ) -> None:
        if self._unchecked:
            # Not earlier: an application may configure logging when it starts.
            self._unchecked = False
            log_to_stderr_if_unconfigured()
        if not logger.isEnabledFor(level):
            return
        identity = fields.pop("identity", None)
        given = {
            "event": event,
            "trace_id": f"{identity.trace_id:032x}" if identity else None,
            "span_id": f"{identity.span_id:016x}" if identity else None,
            "node": self._node,
        } | fields
        values = {
            name: safe_text(value) if isinstance(value, str) else value
            for name, value in given.items()
            if name in LOG_FIELDS[event] and value not in (None, "")
        }
        write_line(logger, level, values, None, error)
