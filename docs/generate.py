"""Writes the reference pages from the tables in the code: ``python -m docs.generate``.

A test holds that the pages are fresh.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from asgi_ws_observe.close_codes import CloseCodes
from asgi_ws_observe.fanout import inject, inject_headers
from asgi_ws_observe.fanout.settings import channel_table
from asgi_ws_observe.fanout.spans import FANOUT_ATTRIBUTES
from asgi_ws_observe.logs import LOG_FIELDS
from asgi_ws_observe.metrics.catalogue import CATALOGUE, LABELS, Instrument
from asgi_ws_observe.settings import settings_table
from asgi_ws_observe.states import EVENT_NAMES, TABLE
from asgi_ws_observe.store import MAX_WORKERS
from asgi_ws_observe.tracing.attributes import SPAN_ATTRIBUTES
from docs.operations_files import FILES, OPERATIONS, signals_page
from docs.socketio_page import socketio_page
from tests.servers.gives import GIVES, gives
from tests.servers.matrix import ENDINGS, HANDSHAKES, ending, handshake

REFERENCE: Final = Path(__file__).parent / "reference"
NOTE: Final = "<!-- Written by `python -m docs.generate` from the code; change it there. -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def settings_page() -> str:
    """Return the page of settings."""
    rows = [
        (f"`{field}`", f"`{variable}`", f"`{default}`", accepts, text)
        for field, variable, default, accepts, text in settings_table()
    ]
    return f"""{NOTE}
# Settings

`Settings` takes each field as a keyword argument; the environment variable counts where the
argument is not given, and the default where neither is. A wrong value raises `SettingsError` when
the application starts, with the field, what it got and what is accepted.

```python
from asgi_ws_observe import Settings, WebSocketObserveMiddleware

app.add_middleware(
    WebSocketObserveMiddleware, settings=Settings(max_connections=5000, close_codes=[4001, 4008])
)
```

{table(("field", "environment", "default", "accepts", "meaning"), rows)}"""


def metrics_page() -> str:
    """Return the page of metrics."""
    rows = [
        (
            f"`{each.exposed_name}`",
            each.kind,
            ", ".join(f"`{label}`" for label in each.labels),
            each.text,
            each.question,
        )
        for each in CATALOGUE
    ]
    labels = [
        (
            f"`{name}`" + (f" of `{metric}`" if metric else ""),
            str(label.most),
            label.values,
        )
        for (name, metric), label in LABELS.items()
    ]
    buckets = [(f"`{each.name}`", bounds(each)) for each in CATALOGUE if each.bounds]
    over_otlp = [
        (
            f"`{each.otel_name}`",
            otel_type(each),
            f"`{each.unit}`" if each.unit else "",
            ", ".join(f"`{attribute}`" for attribute in each.attributes),
            f"`{each.exposed_name}`",
        )
        for each in CATALOGUE
    ]
    return f"""{NOTE}
# Metrics

On `/metrics`, beside prometheus_client's own (`process_open_fds`, `process_max_fds`,
`python_gc_*`) and those that your application registers. With `Settings(node=...)` every series has
the label `node` as well; with several worker processes all have the label `worker`, the slot of
the process, {MAX_WORKERS} values at most. Every series of a route exists as zero from the route's
first event. `socketio_*` and `engineio_*` are there where [a Socket.IO server](socketio.md) is
observed.

{table(("name", "type", "labels", "what", "at 2 a.m."), rows)}
## Labels and their bounds

No label has more values than this, whatever clients do. A user, an address, a room or a connection
id is never a label: those are in spans and log lines.

{table(("label", "at most", "values"), labels)}
## Buckets

{table(("histogram", "upper bounds"), buckets)}
## Over OTLP

[With `Settings(otlp=True)`](../how-to/otlp.md) the same numbers are exported under these names, of
which OpenTelemetry's own translation makes those of `/metrics`. A sum that can fall is cumulative
always; what rises and what is a histogram, as the exporter prefers. `Settings(node=...)` is the
attribute `node`, the number of a worker `ws.worker`.

{table(("name", "type", "unit", "attributes", "on `/metrics`"), over_otlp)}
## What a close counts as

`code` is what the peer's close frame said, or ours if we closed first; 1005 for a close frame
without a code, 1006 where no close frame came. `closed_by` is `client`, `server`, `network`, or
`unknown` where the server hides it: [which and when](servers.md). The class of a code is the
connection's outcome in spans and log lines:

{table(("code", "class", "reason"), close_rows())}
An exception that leaves the application is `code="1006"`, `closed_by="server"`,
`reason="handler_error"`: uvicorn ends the connection without a close frame then, and a browser
shows 1006. An application that returns without closing is the same with `reason="no_close"`. A
client's leaving that surfaces as an uncaught `WebSocketDisconnect` is no error.

Where no probe sees the end (an unknown server, `Settings(probe="off")`), it is what ASGI tells:
1005 without a reason, which is uvicorn's word for a lost connection, is counted as 1006, and 1002,
1007 and 1009 can be the client's word or the server's finding, so `closed_by` is `unknown`.

## States and events

`ws_unexpected_events_total` counts events that this table does not have; they change nothing.

{state_table()}"""


def bounds(instrument: Instrument) -> str:
    """Return a histogram's bounds as text."""
    return ", ".join(f"{bound:g}" if bound < 1e6 else f"{bound:.0f}" for bound in instrument.bounds)


def otel_type(instrument: Instrument) -> str:
    """Return an instrument's type in OpenTelemetry's words."""
    if instrument.kind == "counter":
        return "sum"
    if instrument.additive:
        return "sum that can fall"
    return "histogram" if instrument.kind == "histogram" else "gauge"


def close_rows() -> list[tuple[str, str, str]]:
    """Return a row for each registered code."""
    codes = CloseCodes()
    registered = [label for label in codes.labels if label.isdigit()]
    rows = [(code, codes.classify(int(code)), codes.reason(int(code))) for code in registered]
    return [*rows, ("other 3000-4999", codes.classify(4999), codes.reason(4999))]


def state_table() -> str:
    """Return the state table."""
    events = [event for event in EVENT_NAMES if event != "unknown"]
    return table(
        ("state", *events),
        [
            (f"`{state.value}`", *(_state(targets.get(event)) for event in events))
            for state, targets in TABLE.items()
        ],
    )


def _state(target: object) -> str:
    return "" if target is None else str(getattr(target, "value", ""))


#: What an envelope of an example says.
EXAMPLE: Final[dict[str, Any]] = {
    "time": 1790000000.123,
    "clock": 5128.25,
    "publisher": "c0ffee5eedf00d42",
    "sequence": 17,
}

FANOUT_SPANS: Final = (
    (
        "`<system>.publish`",
        "PRODUCER",
        "with `publish()`",
        "when the broker has taken the message, or has not",
        "what is current, such as `ws.message`",
    ),
    (
        "`ws.deliver`",
        "CONSUMER",
        "`with delivery:`",
        "at the end of the block",
        'the publisher\'s span; `trace="link"`: none',
    ),
)

SPANS: Final = (
    (
        "`ws.upgrade {route}`",
        "SERVER",
        "with the handshake",
        "when the connection is over; `linked`: when it was accepted",
        "the span that is current, else the upgrade's `traceparent`",
    ),
    (
        "`ws.message {type}`",
        "CONSUMER",
        "when the application gets a message",
        "when it asks for the next one, or ends",
        "what is current, which is `ws.upgrade` or below it; `linked`: none",
    ),
    (
        "`ws.send {type}`",
        "PRODUCER",
        "with `send()`, if `Settings(send_spans=True)`",
        "when the server took the message",
        "what is current where the application sends",
    ),
    (
        "`ws.close {route}`",
        "INTERNAL",
        "`linked` only: when the connection is over",
        "at once; it has the outcome and the totals",
        "none",
    ),
)


def spans_page() -> str:
    """Return the page of spans."""
    rows = [(f"`{name}`", text) for name, text in SPAN_ATTRIBUTES.items()]
    return f"""{NOTE}
# Spans

Made with opentelemetry-api: nothing is made, and nothing is paid, until an SDK sets a tracer
provider. [How to](../how-to/tracing.md) choose how many, and live with other tracers.

{table(("span", "kind", "begins", "ends", "parent"), SPANS)}
`ws.message` is current in the handler, so the handler's own spans are its children; waiting for the
client is not in it. Without a type its name is `ws.message`. A malformed `traceparent` is ignored.

Links lead to the handshake from every message and from `ws.close` (`linked`), to the span before
from one that follows after `max_span_seconds`, to a client's own context unless it is believed, and
to the connection from a `ws.send` in another one's trace.

Where FastAPI or one of OpenTelemetry's instrumentations has a SERVER span already, that one is the
connection's: it gets the attributes, and there is no `ws.upgrade`.

The status is an error when an exception left the application, or the close code is one of
`Settings(error_close_codes=...)` (1011 by default). 1000, 1001, 1005 are none, nor is 1006
by itself.

What `current_connection().set(name, value)` keeps is an attribute of the connection's span.

## Attributes

Never the query string, and of the headers only the user agent, the host, and those that
OpenTelemetry's environment variables ask for (`http.request.header.*`, `http.response.header.*`).

{table(("attribute", "what"), rows)}"""


def fanout_page() -> str:
    """Return the page of the bus between nodes."""
    settings = [
        (f"`{name}`", f"`{default}`" if default else "", accepts, text)
        for name, default, accepts, text in channel_table()
    ]
    attributes = [(f"`{name}`", text) for name, text in FANOUT_ATTRIBUTES.items()]
    plain = orjson.loads(inject({"type": "chat", "text": "hello"}, **EXAMPLE))
    wrapped = orjson.loads(inject("hello", **EXAMPLE))
    headers = inject_headers("hello", **EXAMPLE)[1]
    return f"""{NOTE}
# Between nodes

`asgi_ws_observe.fanout`: [Redis](../how-to/redis.md), [NATS](../how-to/nats.md),
[any other broker](../how-to/other-brokers.md), and [the hub](../how-to/hub.md) that sends what
arrives to the WebSockets of a node. The metrics `ws_fanout_*` and `ws_messages_dropped_total` are
in [the catalogue](metrics.md), `ws_fanout_down` and `ws_fanout_up` among
[the log lines](logs.md).

## What a channel can be told

Keyword arguments of `RedisChannel`, `NatsChannel` and, as far as they concern messages, `Fanout`;
besides `registry` and `tracer_provider`. A wrong value raises `SettingsError`.

{table(("argument", "default", "accepts", "meaning"), settings)}
## Spans

{table(("span", "kind", "begins", "ends", "parent"), FANOUT_SPANS)}
{table(("attribute", "what"), attributes)}
## What is on the wire

Where a broker has nothing but a payload (Redis Pub/Sub), a JSON object keeps its own keys and gets
the envelope's beside them, so that a node without this library reads what it always did:

```json
{_shown(plain)}
```

Everything else, and an object that has one of those keys itself, goes under `body`, or under `key`
where the channel has one; bytes as base64 under `body_base64`:

```json
{_shown(wrapped)}
```

`traceparent` and `tracestate` are beside `_ws` where there is a span, as in CloudEvents' extension
for distributed tracing. Where a broker has headers (NATS; the other fields of an entry in Redis
Streams) the payload is the body alone, and the rest is there:

{table(("header", "value"), [(f"`{name}`", f"`{value}`") for name, value in headers.items()])}
What is no envelope is delivered as it is, as bytes: `delivery.json()` and `delivery.text()` read
both. A trace context of somebody else's, at the top level of an object, under `_otel` or
`_traceContext`, or in headers, is followed all the same. `clock` means something to the publishing
process alone: by it that process measures its own message coming back, without any machine's wall
clock.
"""


def _shown(value: object) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def logs_page() -> str:
    """Return the page of log lines."""
    parts = []
    for event, fields in LOG_FIELDS.items():
        rows = [(f"`{name}`", text) for name, text in fields.items()]
        parts.append(f"## `{event}`\n\n{table(('field', 'what'), rows)}")
    sections = "\n".join(parts)
    return f"""{NOTE}
# Log lines

Logger `asgi_ws_observe.connection`: `ws_open`, `ws_alive` and `ws_close` at INFO, `ws_error` at
ERROR with the traceback; logger `asgi_ws_observe.fanout`: `ws_fanout_down` and `ws_fanout_refused`
at ERROR, `ws_fanout_up` at WARNING; logger `asgi_ws_observe.socketio`: `socketio_open` and
`socketio_close` at INFO, `socketio_error` at ERROR with the traceback. The fields are attributes of
the record (`extra`), so any formatter can use them; `asgi_ws_observe.JSONFormatter` writes one JSON
object a line, with `time`, `level` and `logger` in front. A field without a value is left out. What
`current_connection().set(name, value)` keeps is a field too (`app.<name>` where the name is one of
these).

No line has the query string or a header, and control characters are escaped.

{sections}"""


#: The columns of the page of servers.
SERVERS: Final = {
    "uvicorn/websockets-sansio": "uvicorn, websockets-sansio",
    "uvicorn/wsproto": "uvicorn, wsproto",
    "uvicorn/websockets": "uvicorn, websockets",
    "hypercorn": "hypercorn",
    "daphne": "daphne",
    "granian": "granian",
}


def servers_page() -> str:
    """Return the page of servers."""
    endings = [
        (scenario, *(_ending(scenario, server) for server in SERVERS)) for scenario in ENDINGS
    ]
    handshakes = [
        (scenario, *(_handshake(scenario, server) for server in SERVERS)) for scenario in HANDSHAKES
    ]
    given = [
        (what, *("yes" if gives(what, server) else "no" for server in SERVERS)) for what in GIVES
    ]
    head = tuple(SERVERS.values())
    return f"""{NOTE}
# Servers

What is recorded on each server. Every cell is a test with a real server and a client that chooses
every byte: on uvicorn 0.54 with asyncio and with uvloop, hypercorn 0.18, daphne 4.2 and granian
2.8. uvicorn 0.30 and 0.40 are tested as well. `--ws auto` of uvicorn is `websockets-sansio` since
0.50.

The server's object of a connection is found when the connection begins, by the names of its
classes, also behind other middlewares. A server that is not in these tables gives what ASGI tells:
`ws_observe_info{{transport="unknown"}}` says so, and a line in the log.

## How a connection ends

Code, author and cause in `ws_closes_total`, the span and the log line. The code is what the peer's
close frame said, or ours if we closed first; 1005 for a close frame without a code, 1006 where no
close frame was on the wire. A dash: the server has no such thing. "stays open": the server does not
end the connection, or tells nobody.

{table(("what happens", *head), endings)}
## How a handshake fails

The status that the client sees, and the cause in `ws_handshake_failures_total`. Without a cause it
is not counted, since the server calls no application; uvicorn with
`--ws asgi_ws_observe.transports.uvicorn:Auto` counts it as `bad_request`.

{table(("what happens", *head), handshakes)}
## What else is given

{table(("what", *head), given)}
- uvicorn before 0.44 (wsproto: before 0.50) sends no pings of its own; ours are measured there too.
- Over TLS the socket is closed before the end is told, so bytes on the wire are those of the last
  look.
- `ws_tcp_connections`, the kernel's part of the write buffer, bytes on the wire and the kernel's
  round trip need Linux. Elsewhere they are absent.
- granian's object is opaque: the kernel is asked by the connection's addresses, which a proxy's
  headers must not have replaced.
- Over HTTP/2 (hypercorn) a connection shares its TCP connection, so nothing of that is told of it.
"""


def _ending(scenario: str, server: str) -> str:
    found = ending(scenario, server)
    if found is None:
        return "-"
    code, author, reason = found
    return f"{code} {author}, {reason}" if code else "stays open"


def _handshake(scenario: str, server: str) -> str:
    found = handshake(scenario, server)
    if found is None:
        return "-"
    status, reason = found
    return " ".join([str(status) if status else "no answer", reason]).strip()


def socketio_reference() -> str:
    """Return the page of Socket.IO."""
    return socketio_page(NOTE, table)


def signals_reference() -> str:
    """Return the page of signals."""
    return signals_page(NOTE, table)


PAGES: Final = {
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "spans.md": spans_page,
    "logs.md": logs_page,
    "servers.md": servers_page,
    "fanout.md": fanout_page,
    "socketio.md": socketio_reference,
    "signals.md": signals_reference,
}


def main() -> None:
    """Write all pages, and the files of operations."""
    REFERENCE.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")
    for name, text in FILES.items():
        (OPERATIONS / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
