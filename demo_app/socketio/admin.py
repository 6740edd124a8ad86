"""The namespace of the administrators, as a class: what needs another token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import socketio
from socketio.exceptions import ConnectionRefusedError as Refused

from ..protocol import MAX_TEXT
from .chat import text_of
from .protocol import ADMIN, ADMIN_TOKEN

__all__ = ["Admin"]


class Admin(socketio.AsyncNamespace):  # type: ignore[misc]
    """What administrators may do.

    Args:
        node: This node's name.
    """

    def __init__(self, node: str) -> None:
        super().__init__(ADMIN)
        self._node = node

    async def on_connect(self, sid: str, environ: Mapping[str, Any], auth: Any = None) -> None:
        """Let in who has the token."""
        if not isinstance(auth, dict) or auth.get("token") != ADMIN_TOKEN:
            raise Refused(f"Administrators only: the token is “{ADMIN_TOKEN}”.")

    async def on_announce(self, sid: str, data: Any = None) -> dict[str, Any]:
        """Tell everybody on all nodes."""
        text = text_of(data, "text", MAX_TEXT)
        await self.emit("announced", {"text": text, "node": self._node}, namespace="/")
        return {}

    async def on_kick(self, sid: str, data: Any = None) -> dict[str, Any]:
        """Disconnect a client, whichever node it is on."""
        await self.disconnect(text_of(data, "sid", 64), namespace="/")
        return {}
