"""What can be read off each server's own object of a connection, behind one interface.

`attach` finds the object at run time and puts the server's probe on it. It never raises: an unknown
server or version gives what ASGI gives, and says so once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..hooks import OwnErrors
from ..probe import Probe, Watcher
from .base import ServerProbe
from .daphne import DaphneProbe
from .find import find_server, name_of, name_of_class
from .granian import GranianProbe
from .hypercorn import HypercornProbe
from .legacy import LegacyProbe
from .sansio import SansIOProbe
from .wsproto import WSProtoProbe

if TYPE_CHECKING:
    from ..connection import Connection
    from ..store import Store

__all__ = ["attach"]

_logger = logging.getLogger("asgi_ws_observe")

_PROBES: Final[dict[str, type[ServerProbe]]] = {
    "sansio": SansIOProbe,
    "wsproto": WSProtoProbe,
    "legacy": LegacyProbe,
    "hypercorn": HypercornProbe,
    "daphne": DaphneProbe,
}


def observed_by_name(cls: type) -> Any:
    """Return the subclass of a server's class that tells its probe, by the class's name.

    Raises:
        KeyError: The class is of no known server.
    """
    probe = _PROBES[name_of_class(cls) or ""]
    return probe.make_observed(cls)


def attach(
    connection: Connection,
    receive: Any,
    send: Any,
    *,
    store: Store,
    watcher: Watcher,
    errors: OwnErrors,
) -> Probe:
    """Put a probe on the server's object of a connection.

    Args:
        connection: The record that the probe tells.
        receive: What the middleware was called with.
        send: Likewise.
        store: Where the kind of server is noted.
        watcher: What looks at the probe while the connection is open.
        errors: Where failures go.

    Returns:
        The probe; where the server is unknown, one that gives nothing.
    """
    try:
        probe = _attached(connection.scope, connection, receive, send, watcher, errors)
    except Exception as error:  # noqa: BLE001
        errors.report("probe", error, "attach", "the server is read as ASGI alone shows it")
        probe = Probe(connection, watcher)
    if probe.kind not in store.transports:
        store.transports[probe.kind] = None
        if probe.kind == Probe.kind:
            _logger.info(
                "no known WebSocket server behind %s.%s: close codes are what ASGI tells, and "
                "heartbeats, write buffers and queues are not seen",
                getattr(send, "__module__", "") or type(send).__module__,
                getattr(send, "__qualname__", "") or type(send).__qualname__,
            )
    return probe


def _attached(
    scope: Mapping[str, Any],
    connection: Connection,
    receive: Any,
    send: Any,
    watcher: Watcher,
    errors: OwnErrors,
) -> Probe:
    server = find_server(scope, receive, send)
    name = name_of(server)
    if name is None:
        return Probe(connection, watcher)
    if name == "granian":
        return GranianProbe(connection, watcher)
    # Another connection's: somebody keeps the server's object for purposes of their own.
    if isinstance(getattr(server, "ws_probe", None), ServerProbe):
        return Probe(connection, watcher)
    probe = _PROBES[name](connection, watcher, server, errors)
    try:
        probe.attach()
        # A version that shows no end must not keep connections from ending.
        probe.ending()
    except Exception:
        with suppress(Exception):  # of what was not put on
            probe.detach()
        raise
    return probe
