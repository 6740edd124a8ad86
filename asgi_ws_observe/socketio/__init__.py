"""Socket.IO, observed on the server and in its clients; needs the extra ``socketio``.

from asgi_ws_observe.socketio import instrument_server

sio = socketio.AsyncServer(async_mode="asgi")
instrument_server(sio)
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..exceptions import MissingExtraError

try:
    import socketio  # noqa: F401
except ImportError as error:
    raise MissingExtraError("socketio", "python-socketio 5.10 or later") from error

from .client import ClientInstrumentation, instrument_client
from .server import Instrumentation, instrument_manager, instrument_server

__all__ = [
    "JAVASCRIPT",
    "ClientInstrumentation",
    "Instrumentation",
    "instrument_client",
    "instrument_manager",
    "instrument_server",
]

#: The directory of the helper for socket.io-client, to be served as static files.
JAVASCRIPT: Final = Path(__file__).parent / "javascript"
