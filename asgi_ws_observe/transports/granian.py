"""granian, whose object of the connection is opaque: only the kernel can be asked.

Seen on granian 2.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..close_codes import NO_CLOSE_FRAME, NO_STATUS
from ..kernel import CLOSE_WAIT, CLOSED
from ..probe import Probe, Watcher
from ..sockets import SocketFinder, identify
from ..states import Verdict

if TYPE_CHECKING:
    from ..connection import Connection

__all__ = ["GranianProbe"]

_finder = SocketFinder()


class GranianProbe(Probe):
    """The probe of a connection that only its addresses are known of.

    Behind a proxy whose headers replace the client's address, it finds nothing.
    """

    __slots__ = ("_buffer", "_identity", "_state")
    kind = "granian"

    def __init__(self, connection: Connection, watcher: Watcher) -> None:
        super().__init__(connection, watcher)
        local, peer = connection.scope.get("server"), connection.scope.get("client")
        self._identity = identify(local, peer) if local and peer else None
        self._buffer: int | None = None
        self._state = 0

    def correct(self, verdict: Verdict) -> Verdict:
        # The last chance to look: its end is not told.
        self.look()
        if verdict.closed_by == "unknown":
            # What it finds itself is 1005 as well.
            return verdict._replace(closed_by="client")
        # 1005 is what it says of an empty close frame, of a lost connection and of a broken one;
        # and an empty close frame is what it sends when the application ends without one.
        if verdict.code != NO_CLOSE_FRAME:
            return verdict
        if verdict.closed_by == "server":
            return verdict._replace(code=NO_STATUS)
        return Verdict(NO_STATUS, "", "unknown", "unknown")

    def look(self) -> None:
        found = None if self._identity is None else _finder.look(self._identity)
        if found is None:
            self._buffer, self._state = None, 0
            return
        self._buffer, known = found
        self._state = known.state
        self.connection.wired(known.bytes_in, known.bytes_out, known.rtt)

    def write_buffer(self) -> int | None:
        return self._buffer

    def peer_is_gone(self) -> bool:
        return self._state in (CLOSED, CLOSE_WAIT)
