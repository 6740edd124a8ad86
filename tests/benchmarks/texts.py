"""The sentences of the page about costs; their figures come from the results."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any, Final

from tests.benchmarks.cases import OURS, OURS_ALL, PEER_ALL, PEER_FEW
from tests.benchmarks.fanout import PLAIN, ours
from tests.benchmarks.results import Json, share
from tests.benchmarks.served import BARE, CLOCKS, DEFAULT, FLOOR, NO_SDK, PEER
from tests.benchmarks.socketio_level import LOAD
from tests.benchmarks.socketio_modes import BARE as SOCKETIO
from tests.benchmarks.socketio_modes import NO_SDK as SOCKETIO_NO_SDK

__all__ = ["PART_TEXTS", "introduction", "newest_of", "text_of"]


def introduction(parts: Json) -> str:
    """Return how everything was measured, and on what."""
    newest = newest_of(parts)
    packages = ", ".join(f"{name} {version}" for name, version in newest["packages"].items())
    return f"""# What it costs

Everything here is measured and written by one command, which needs Linux and about fifteen minutes:

```
nox -s bench
```

`nox -s bench -- messages server` measures only these parts and keeps the others' results;
`nox -s bench -- --quick` only shows that everything runs. The command returns 1 where a promise is
not kept.

The machine was shared and noisy and had {newest["cores"]} cores, for server and clients together.
So nothing here says how fast your server is: **the ratios are the point**. In every round each case
had its turn, forwards and backwards alternately, and ratios are those within a round: the median
over the rounds, with quartiles where there is room. The clock of a turn is CPU time wherever there
is a choice.

Each thing that is compared runs in a process of its own, since several of them change the whole
process, and each has its bare application beside it in the same process and the same round. Nothing
is exported: spans are made in full and dropped where an exporter would take them.

On {newest["date"]}, with Python {newest["python"]} on {newest["system"]} and {packages}.
"""


def newest_of(parts: Json) -> Json:
    """Return what the newest part was measured on."""
    newest: Json = max((part["on"] for part in parts.values()), key=lambda on: str(on["date"]))
    return newest


def text_of(text: Callable[[Any], str] | str, part: Json) -> str:
    """Return the sentences of a part."""
    return (text if isinstance(text, str) else text(part)).strip() + "\n"


def _messages(part: Json) -> str:
    rows = {row["name"]: row for row in part["rows"]}
    ours, peer = share(rows[OURS]["above"], part["floor"]), rows[PEER_FEW]
    traced = share(rows[OURS_ALL]["above"], rows[PEER_ALL]["above"])
    counted = share(rows[OURS]["above"], peer["above"])
    return f"""
One text message of 64 bytes in and one out, without server, network and client: nanoseconds of CPU
above the bare application. The pass-through wrapper hands `receive` and `send` on through two
coroutines of its own and does nothing: less than that, no middleware can cost.

Metrics and logs take {ours:.1f} times that wrapper, and {counted:.2f} of what OpenTelemetry's
middleware takes without message spans. With a span for every message they take {traced:.2f} of what
it takes with its two.

How many spans a connection with 100 messages really made is counted, and stands in the last column:
what makes one span for the whole connection and nothing for its messages is cheap, and says nothing
about them. FastAPI's own telemetry is compared with FastAPI without it.
"""


def _profile(part: Json) -> str:
    by_name = {row["name"]: statistics.median(row["above"]) for row in part["rows"]}
    nothing, clock, least, ours, span, child, traced = by_name.values()
    return f"""
Wrappers that do one thing more each, as one would write them, beside this library. Two coroutines,
which every middleware adds, are {nothing:,.0f} ns; reading the clock before and after `receive` and
`send` makes them {clock:,.0f}; counting messages and bytes and putting sizes and times into four
histograms makes {least:,.0f}, without any check of what happens. The library takes {ours:,.0f},
with the state of the connection, failures of its own that the application never notices, hooks,
exemplars and sends in flight.

The SDK's span alone, which has no attributes and is nobody's child, is {span:,.0f} ns. Made as a
message needs it, below the connection's span, with one attribute and current in the handler, it is
{child:,.0f} by the SDK's own means. The library takes {traced:,.0f}, with all its metrics.
"""


def _sizes(part: Json) -> str:
    names = [row["name"] for row in part["rows"]]
    other = part["rows"][names.index("metrics and logs, other text")]["above"]
    sizes = part["columns"]
    grown = statistics.median(other[-1]) - statistics.median(other[0])
    kibibyte = grown / (sizes[-1] - sizes[0]) * 1024
    return f"""
What is counted of a message is its size, which Python knows without looking at it. There is one
exception: text that is not ASCII has another size in bytes than in letters, and only encoding it
tells which: {kibibyte:,.0f} ns for a KiB of an echo, in and out together, each less than half of
what the server takes to decode the same text. The counts are exact all the same. A traced message
is read as JSON, for its type, up to `message_json_bytes`.
"""


def _server(part: Json) -> str:
    full = part["websockets-sansio"]["50"]
    cpu = {mode: share(of["cpu"], full[BARE]["cpu"]) for mode, of in full.items()}
    return f"""
An echo of 64 bytes through uvicorn with uvloop on the loopback, by clients (picows) that send the
next message when the echo of the one before has come: one of them, which waits most of the time
(on a machine that dozes off between messages, so its ratios say little), and fifty, which is all
that the server can do. Its CPU is what the kernel says of all its threads. The SDK has a
`BatchSpanProcessor` whose exporter drops what it gets.

With uvicorn's default implementation at its limit, metrics, logs and the probe take
{cpu[NO_SDK]:.2f} of the bare application's CPU, the default settings with an SDK
{cpu[DEFAULT]:.2f}, OpenTelemetry's middleware {cpu[PEER]:.2f}. The wrapper that only passes
messages through takes {cpu[FLOOR]:.2f}, and {cpu[CLOCKS]:.2f} when it reads the clock before and
after `receive` and `send`.
"""


def _storm(part: Json) -> str:
    return f"""
{part["connections"]:,} clients connect at the same moment and say something, as after a restart.
For this library `/metrics` has to know as many connections and messages as there were clients.
"""


def _scrape(part: Json) -> str:
    return f"""
{part["connections"]:,} open connections on {part["routes"]} routes, `/metrics` ({part["bytes"]:,}
bytes) read every second. The rendering has a thread of its own; the loop's lag is that of a timer
of the benchmark's own which is due every millisecond.
"""


def _fanout(part: Json) -> str:
    rows = {row["name"]: row for row in part["rows"]}
    alone, mine = rows[PLAIN["pubsub"]], rows[ours("pubsub", True)]
    publish, deliver = (share(mine[key], alone[key]) for key in ("publish", "deliver"))
    return f"""
A chat message of a few words published to a real Redis, each after the answer to the one before,
and delivered from it: the CPU of the application's thread. Alone is what one writes by hand,
`orjson` and redis.asyncio, which knows nothing of a message's way. Traced is with a span at both
ends, its context and the number, time and publisher in the message, gaps looked for, lag and counts
kept: publishing takes {publish:.2f} times, delivering {deliver:.2f} times what Redis's client does
alone.
"""


def _hub(part: Json) -> str:
    without, beside = (row["p99"] for row in part["rows"])
    return f"""
A hub sends one message of 64 bytes every 60 ms to a room of {part["connections"]:,} connections.
In every other turn one of them does not read, and its queue of 8 MiB is full all the time: that
makes the p99 of the others {share(beside, without):.2f} times what it is without, and the server's
own memory {max(part["held"]):.1f} MiB larger. Every message that a queue took was
sent or is counted as dropped: {part["unaccounted"]} are unaccounted for.
"""


def _socketio(part: Json) -> str:
    operations = part["operations"]
    event = share(operations["event"][SOCKETIO_NO_SDK], operations["event"][SOCKETIO])
    large = share(operations["large"][SOCKETIO_NO_SDK], operations["large"][SOCKETIO])
    return f"""
A real `AsyncServer` beside one that is observed, each in processes of its own. Packets of a client
are put into its Engine.IO session and those for it taken from the queue, without a network: an
event whose handler answers at once takes {event:.2f} times what it takes python-socketio alone, an
emit to a room of {part["clients"]:,} takes {large:.2f} times that. Through uvicorn, where
{LOAD} clients wait for their acknowledgements, and Redis, what others do is part of it. A message
is heard when the one client that it is for has it in its queue.

Below that is the server's private memory, by the kernel, after so many clients have connected,
entered a room and sent one event; and what a scrape takes with
{part["scrape"]["connections"]:,} of them in {part["scrape"]["rooms"]:,} rooms.
"""


_CONNECTIONS: Final = """
Connections take turns, each with one message. With thousands of them what a message needs is no
longer in the processor's caches, for the pass-through wrapper as well.
"""

_MEMORY: Final = """
The server's private memory, by the kernel, after so many connections were opened and had one
message each; `default settings with an SDK` has a span open for each of them.
"""

_CHURN: Final = """
Handshake, close and the end of the connection, with the two log lines that this library writes for
each, and its spans or those of OpenTelemetry's middleware.
"""

_BROADCAST: Final = """
The application sends one message to every connection, one after the other.
"""

_LOOK: Final = """
How long the periodic looks, and heartbeats every 5 seconds, hold the event loop in one piece while
connections are idle.
"""

_SPANS: Final = """
What Python's allocator says of open connections that have had one message, at ASGI level.
"""

#: Part -> its heading and its sentences, in the order of the page.
PART_TEXTS: Final[dict[str, tuple[str, Callable[[Any], str] | str]]] = {
    "messages": ("A message at ASGI level", _messages),
    "profile": ("Where the time of an echo goes", _profile),
    "sizes": ("Against the size of messages", _sizes),
    "connections": ("Against the number of connections", _CONNECTIONS),
    "server": ("Through a real server", _server),
    "memory": ("Memory of idle connections", _MEMORY),
    "churn": ("Opening and closing", _CHURN),
    "storm": ("A reconnect storm", _storm),
    "broadcast": ("A broadcast", _BROADCAST),
    "hub": ("A client that does not read", _hub),
    "scrape": ("A scrape", _scrape),
    "look": ("The periodic looks", _LOOK),
    "spans": ("The spans of open connections", _SPANS),
    "fanout": ("Over a broker", _fanout),
    "socketio": ("Socket.IO", _socketio),
}
