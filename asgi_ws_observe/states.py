"""The states of a connection, what leads from one to the next, and what a close means.

Everything that affects the state of a connection is in this file. The rules of the table:

- What the application sends takes effect when the server has taken it; what the server sends takes
  effect before the application gets it.
- The first close decides: later disconnects and closes change nothing.
- CLOSED, REJECTED and DENIED are final: nothing leaves them.
- A pair that is not in the table changes nothing and is counted as unexpected; it never raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from .close_codes import NO_CLOSE_FRAME, NO_STATUS, CloseCodes
from .labels import safe_text

__all__ = [
    "EVENT_NAMES",
    "RECEIVED",
    "SENT",
    "TABLE",
    "Ending",
    "State",
    "Verdict",
    "judge_close",
    "judge_disconnect",
    "judge_ending",
]


class State(Enum):
    """Where a connection is in its life."""

    CONNECTING = "connecting"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"
    REJECTED = "rejected"
    DENIED = "denied"


#: ASGI message type -> event, for what a server sends.
RECEIVED: Final = {
    "websocket.connect": "connect",
    "websocket.receive": "message",
    "websocket.disconnect": "disconnect",
}
#: ASGI message type -> event, for what an application sends.
SENT: Final = {
    "websocket.accept": "accept",
    "websocket.send": "send",
    "websocket.close": "close",
    "websocket.http.response.start": "response_start",
    "websocket.http.response.body": "response_body",
}
#: Every event; ``end`` is the application's return or exception, ``lost`` the end of the TCP
#: connection where a probe can tell, ``unknown`` any other message.
EVENT_NAMES: Final = (*RECEIVED.values(), *SENT.values(), "end", "lost", "unknown")

#: State -> event -> next state.
TABLE: Final[dict[State, dict[str, State]]] = {
    State.CONNECTING: {
        "connect": State.CONNECTING,
        "accept": State.OPEN,
        "close": State.REJECTED,
        "response_start": State.DENIED,
        # The client left, or gave up waiting, before an answer.
        "disconnect": State.REJECTED,
        "lost": State.REJECTED,
        # The application never answered; servers answer 500.
        "end": State.REJECTED,
    },
    State.OPEN: {
        "message": State.OPEN,
        "send": State.OPEN,
        "close": State.CLOSING,
        "disconnect": State.CLOSING,
        # The application learns of it later, or never.
        "lost": State.CLOSING,
        "end": State.CLOSED,
    },
    State.CLOSING: {
        # Messages that were on their way when the application closed.
        "message": State.CLOSING,
        # uvicorn hands out a second disconnect, and one in answer to the application's close.
        "disconnect": State.CLOSING,
        # An application that closes in a `finally`, whoever closed first.
        "close": State.CLOSING,
        "lost": State.CLOSING,
        "end": State.CLOSED,
    },
    # The server closes what the application left open; the TCP connection ends last.
    State.CLOSED: {"lost": State.CLOSED},
    State.REJECTED: {
        # uvicorn follows up with 1006.
        "disconnect": State.REJECTED,
        "lost": State.REJECTED,
        "end": State.REJECTED,
    },
    State.DENIED: {
        "response_body": State.DENIED,
        "disconnect": State.DENIED,
        "lost": State.DENIED,
        "end": State.DENIED,
    },
}


class Verdict(NamedTuple):
    """How an accepted connection ended.

    Attributes:
        code: The close code; 1006 where no close frame came.
        text: The close frame's reason, control characters escaped.
        closed_by: ``client``, ``server``, ``network`` or ``unknown``.
        reason: One of `asgi_ws_observe.close_codes.REASONS`.
    """

    code: int
    text: str
    closed_by: str
    reason: str


class Ending(NamedTuple):
    """What a probe saw of a connection's end, below ASGI.

    Attributes:
        received: Code and reason of the peer's close frame; 1005 for one without a code.
        sent: Code and reason of the server's close frame.
        received_first: Whether the peer's came before the server's.
        cause: What the server itself gave as the cause, one of
            `asgi_ws_observe.close_codes.REASONS`; empty where it gave none.
        lost_by: ``tcp_reset`` or ``eof`` where the peer ended the TCP connection, ``unknown`` where
            the network failed in another way, else empty.
    """

    received: tuple[int, str] | None = None
    sent: tuple[int, str] | None = None
    received_first: bool = False
    cause: str = ""
    lost_by: str = ""


def judge_ending(ending: Ending, known: Verdict | None) -> Verdict:
    """Return how a connection ended by what its probe saw.

    The first close frame decides. A ping that was not answered is the network's doing, though the
    server sends a close frame after it. Where there was no frame, the first end of the TCP
    connection decides, and then what the application did.

    Args:
        ending: What the probe saw.
        known: What the application was told or did, `None` where it still runs.
    """
    received, sent, first, cause, lost_by = ending
    if received is not None and (first or (sent is None and not cause)):
        code, text = received
        return Verdict(code, safe_text(text, 123), "client", CloseCodes.reason(code))
    if cause == "ping_timeout":
        return Verdict(NO_CLOSE_FRAME, "", "network", cause)
    if sent is not None:
        code, text = sent
        # Some servers send a close frame when the application has ended without one.
        own = known is not None and known.closed_by == "server" and known.code == NO_CLOSE_FRAME
        reason = cause or (known.reason if known and own else CloseCodes.reason(code))
        return Verdict(code, safe_text(text, 123), "server", reason)
    if cause:
        return Verdict(NO_CLOSE_FRAME, "", "server", cause)
    if lost_by:
        return Verdict(NO_CLOSE_FRAME, "", "network", lost_by)
    if known is not None and known.closed_by == "server":
        return Verdict(NO_CLOSE_FRAME, "", "server", known.reason)
    return Verdict(NO_CLOSE_FRAME, "", "server", "unknown")


def judge_disconnect(message: Mapping[str, Any]) -> Verdict:
    """Return what a ``websocket.disconnect`` alone tells.

    uvicorn (its default implementation and wsproto) reports a lost connection as 1005 without the
    key ``reason``, and an empty close frame as 1005 with an empty one. A missing code is 1005 by
    the ASGI specification. 1002, 1007 and 1009 may be the client's word or the server's finding.
    """
    given = message.get("code")
    code = _as_code(given, NO_STATUS)
    text = _as_text(message)
    lost = code == NO_STATUS and given is not None and "reason" not in message
    if lost or code == NO_CLOSE_FRAME:
        return Verdict(NO_CLOSE_FRAME, text, "network", "unknown")
    if code == 1012:
        return Verdict(code, text, "server", "server_shutdown")
    author = "unknown" if code in (1002, 1007, 1009) else "client"
    return Verdict(code, text, author, CloseCodes.reason(code))


def judge_close(message: Mapping[str, Any]) -> Verdict:
    """Return what the application's own ``websocket.close`` means; a missing code is 1000."""
    code = _as_code(message.get("code"), 1000)
    return Verdict(code, _as_text(message), "server", CloseCodes.reason(code))


def _as_text(message: Mapping[str, Any]) -> str:
    return safe_text(message.get("reason") or "", 123)  # RFC 6455 section 5.5: 123 bytes at most


def _as_code(code: Any, default: int) -> int:
    # Servers also hand out members of their own enums.
    try:
        return int(code)
    except (TypeError, ValueError, OverflowError):
        return default
