"""``python -m tests.benchmarks.socketio_served MODE IMPLEMENTATION LOOP PORT``: a real server."""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import parse_qs

import socketio
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.benchmarks.results import Json
from tests.benchmarks.served import Application, Nowhere, serve
from tests.benchmarks.socketio_modes import MODES, make_server

__all__: list[str] = []


class _Application(Application):
    """A Socket.IO server, and what the benchmark asks the process by HTTP."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        # All clients connect at once here, and would be pinged at once too.
        self._server = make_server(ping_interval=600)
        self._server.on("connect", self._connected)
        observed = MODES[mode]
        if observed is not None:
            observed.observe(self._server, self.registry, BatchSpanProcessor(Nowhere()))
        self.served = socketio.ASGIApp(self._server, self)

    async def _connected(self, sid: str, environ: Any, auth: Any) -> None:
        await self._server.enter_room(sid, parse_qs(environ["QUERY_STRING"])["room"][0])

    async def _open(self) -> Json:
        """Tell how many clients are connected."""
        return {"open": len(self._server.eio.sockets)}


if __name__ == "__main__":
    chosen, *how = sys.argv[1:]
    serve(_Application(chosen).served, *how)
