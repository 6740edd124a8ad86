"""The reference page of Socket.IO, from the code's own tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from asgi_ws_observe.socketio.options import server_table
from asgi_ws_observe.socketio.spans import SOCKETIO_ATTRIBUTES
from asgi_ws_observe.socketio_numbers import CONNECT_OUTCOMES, DISCONNECT_REASONS

__all__ = ["socketio_page"]

#: Writes a table.
Table = Callable[[Sequence[str], Iterable[Sequence[str]]], str]

_SPANS: Final = (
    (
        "`connect {namespace}`",
        "SERVER",
        "a client asks for the namespace, until it is answered; the connect handler runs in it",
        "`auth` where the client is believed, else the `traceparent` header as `Settings.trust` "
        "says; the transport's own span is linked",
    ),
    (
        "`process {event}`",
        "CONSUMER",
        "an event's handler",
        "none, with a link to `connect`; the client's carrier is linked, or the parent where it is "
        "believed",
    ),
    (
        "`send {event}`",
        "PRODUCER",
        "an emit, until all queues and the bus have it",
        "what is current",
    ),
    ("`ack {event}`", "CLIENT", "from the emit to the acknowledgement, made then", "`send`"),
    ("`call {event}`", "CLIENT", "`call()`, with its wait", "what is current"),
    (
        "`deliver {event}`, `deliver disconnect` and the like",
        "CONSUMER",
        "what another node asked for over the bus, where somebody here is concerned",
        "the other node's `send`",
    ),
    (
        "`join {category}`, `leave {category}`",
        "INTERNAL",
        "a moment",
        "what is current, if recorded",
    ),
    ("`save_session {namespace}`", "INTERNAL", "only one that failed", "what is current"),
    ("`disconnect {namespace}`", "INTERNAL", "the disconnect handler", "`connect`"),
    (
        "`connection {namespace}`",
        "INTERNAL",
        "accepted until left, made then: nothing is held open",
        "`connect`",
    ),
)
_REASONS: Final = {
    "client_disconnect": ("client disconnect", "the client said so"),
    "server_disconnect": ("server disconnect", "`disconnect()` of the application, on any node"),
    "ping_timeout": (
        "ping timeout, transport close",
        "a ping had no answer; the library says so of polling clients only",
    ),
    "transport_close": ("transport close", "closed in good order: a page that was left"),
    "transport_lost": ("transport close", "no close frame came: 1006, a reset"),
    "server_shutdown": ("transport close", "1012, the server stops"),
    "transport_error": ("transport error, transport close", "a protocol error, or too large"),
    "unknown": ("none before 5.12", "not known"),
}
_OUTCOMES: Final = {
    "accepted": "the client is in the namespace",
    "refused": "the handler returned `False` or raised `ConnectionRefusedError`",
    "error": "the handler raised anything else: the client gets no answer",
    "unknown_namespace": "the server has no such namespace",
    "duplicate": "the client was in the namespace already",
    "cancelled": "the handler was ended, as at shutdown",
}


def socketio_page(note: str, table: Table) -> str:
    """Return the page.

    Args:
        note: The first line of generated pages.
        table: Writes a table.
    """
    options = [
        (f"`{name}`", f"`{default}`", accepts, text)
        for name, default, accepts, text in server_table()
    ]
    metrics = [
        (
            f"`{each.exposed_name}`",
            each.kind,
            ", ".join(f"`{name}`" for name in each.labels),
            each.text,
        )
        for each in CATALOGUE
        if each.name.startswith(("socketio_", "engineio_"))
    ]
    attributes = [(f"`{name}`", text) for name, text in SOCKETIO_ATTRIBUTES.items()]
    outcomes = [(f"`{each}`", _OUTCOMES[each]) for each in CONNECT_OUTCOMES]
    reasons = [(f"`{each}`", *_REASONS[each]) for each in DISCONNECT_REASONS]
    return f"""{note}
# Socket.IO

`asgi_ws_observe.socketio`, with the extra `socketio`: python-socketio 5.10 and later.
[How to](../how-to/socketio.md), [its clients](../how-to/socketio-clients.md),
[what rooms are counted by](../topics/high-cardinality.md),
[faults of the library and where they show](../topics/socketio-faults.md).

## What `instrument_server` can be told

Keyword arguments, besides `registry` and `tracer_provider`; `instrument_manager` takes the same. A
wrong value raises `SettingsError`.

{table(("argument", "default", "accepts", "meaning"), options)}
## Metrics

They are on `/metrics` from the moment a server is observed; bounds and buckets are in
[the catalogue](metrics.md).

{table(("name", "type", "labels", "what"), metrics)}
### How connecting ends

{table(("`outcome`", "when"), outcomes)}
### Why clients leave

The library's own words are on the left of what is known here: the outstanding ping, the WebSocket's
close code, and, where `WebSocketObserveMiddleware` is around the application, what its probe saw.

{table(("`reason`", "python-socketio says", "when"), reasons)}
## Spans

{table(("span", "kind", "lasts", "parent"), _SPANS)}
`process`, `send`, `deliver` and `call` are bounded as `event_spans` says. An emit inside of a span
that is recorded has one always; inside of one that is not, none. What was slow or failed has one in
any case, made afterwards with its true times.

{table(("attribute", "what"), attributes)}
## Log lines

`socketio_open`, `socketio_close` and `socketio_error`, of the logger `asgi_ws_observe.socketio`:
[fields](logs.md).

## Trace context on the wire

A client's event carries it as one more argument, the last: `{{"traceparent": "00-..."}}`, with
`tracestate` and `baggage` at most beside it, or all of that under `_traceContext`. An object with
any other key is the application's. Connecting carries it as keys of `auth`, which handlers never
see; the `traceparent` header of the transport's first request counts as well.

Between nodes the manager's messages have one key more, `asgi_ws_observe`: time, publisher,
sequence, `traceparent`. A node without this library ignores it.

## What a threaded server has not

`instrument_server` takes a `Server` for threads as well, with the same numbers, spans and lines but
for Engine.IO's sessions: no `engineio_ping_*`, no `engineio_upgrades_total`, no close codes, and
`ping_timeout` and `transport_lost` only as far as the library says so. Losses on its bus are
counted when the next message comes.
"""
