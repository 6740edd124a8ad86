"""Draws real traces across two nodes: ``python -m docs.trace``; needs a ``redis-server``."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from asgi_ws_observe.socketio import instrument_client
from tests.servers.nodes import Node, broker, nodes
from tests.servers.socketio_nodes import client, pair
from tests.servers.span_file import SpanFile
from tests.support import until

__all__ = ["Drawn", "draw"]

IMAGES: Final = Path(__file__).parent / "images"
#: Whose span -> its colour; all, and the grey of the text, are readable on white and on black.
COLOURS: Final = {"a": "#2f81f7", "b": "#d1773b", "clients": "#2da44e"}
TEXT: Final = "#768390"
WIDTH: Final = 760
LEFT: Final = 150
RIGHT: Final = 180
STEP: Final = 30
TOP: Final = 64


class Drawn(NamedTuple):
    """One bar.

    Attributes:
        node: ``a`` or ``b``, or ``clients``.
        name: The span's.
        depth: How many spans are above it.
        start: Milliseconds since the first one.
        end: Likewise.
        note: What its attributes say.
    """

    node: str
    name: str
    depth: int
    start: float
    end: float
    note: str


async def spans() -> list[tuple[str, dict[str, Any]]]:
    """Let a client of A say something to two clients on B, and return the spans by node."""
    with (
        tempfile.TemporaryDirectory() as folder,
        broker("redis", Path(folder)) as found,
        nodes("redis", found.url, Path(folder)) as (a, b),
    ):
        async with a.connect() as speaker, b.connect() as one, b.connect() as other:
            await until(lambda: b.number("ws_connections_active") == 2)
            # The second message: nothing is done for the first time any more.
            for text in ("warm up", "hello"):
                await speaker.send(text)
                for client in (speaker, one, other):
                    await client.recv()
        await until(lambda: a.named("ws.upgrade /ws"))
        last = a.named("ws.message")[-1]["span"]
        return [*_below(a, b, last)]


def _below(a: Node, b: Node, top: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a span and what is below it, on both nodes."""
    names = ("ws.message", "redis.publish", "ws.deliver")
    every = [
        (name, span)
        for name, node in (("a", a), ("b", b))
        for kind in names
        for span in node.named(kind)
    ]
    wanted = {top}
    for _ in names:
        wanted |= {span["span"] for _, span in every if span["parent"] in wanted}
    yield from ((name, span) for name, span in every if span["span"] in wanted)


async def socketio_spans() -> list[tuple[str, dict[str, Any]]]:
    """Let a Socket.IO client of A say something to one of B; return the spans by whose they are."""
    with tempfile.TemporaryDirectory() as folder, pair(Path(folder)) as (a, b, _):
        own = SpanFile(f"{folder}/clients.spans")
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(own))
        async with client(a, query="trust=yes") as speaker, client(b) as listener:
            for each in (speaker, listener):
                instrument_client(each.sio, tracer_provider=provider)
            await listener.call("join", "room:one")
            for text in ("warm up", "hello"):
                await speaker.call("say", "room:one", text)
                await listener.hear()
        lines = (Path(folder) / "clients.spans").read_text().splitlines()
        ours = list(map(json.loads, lines))
        trace = [span for span in ours if span["name"] == "call say"][-1]["trace"]
        await until(lambda: b.spans_of("deliver said", trace=trace))
        found = [("clients", span) for span in ours if span["trace"] == trace]
        for name, site in (("a", a), ("b", b)):
            for kind in ("process say", "send said", "deliver said"):
                found += [(name, span) for span in site.spans_of(kind, trace=trace)]
        return found


def bars(found: list[tuple[str, dict[str, Any]]]) -> list[Drawn]:
    """Return what is drawn, parents first, by time."""
    parents = {span["span"]: span["parent"] for _, span in found}
    first = min(span["start"] for _, span in found)

    def depth(span: str) -> int:
        parent = parents[span]
        return 1 + depth(parent) if parent in parents else 0

    drawn = []
    for node, span in sorted(found, key=lambda each: each[1]["start"]):
        attributes = span["attributes"]
        note = ""
        if "ws.fanout.subscribers" in attributes:
            note = f"{attributes['ws.fanout.subscribers']} nodes"
        if "socketio.bus.subscribers" in attributes:
            note = f"{attributes['socketio.bus.subscribers']} nodes"
        for key in ("ws.fanout.recipients", "socketio.recipients"):
            if number := attributes.get(key):
                note = f"{number} connection{'s' if number != 1 else ''}"
        start, end = ((span[key] - first) / 1e6 for key in ("start", "end"))
        drawn.append(Drawn(node, span["name"], depth(span["span"]), start, end, note))
    return drawn


def draw(given: list[Drawn], title: str) -> str:
    """Return the picture, as SVG."""
    longest = max(each.end for each in given)
    room = WIDTH - LEFT - RIGHT
    bottom = TOP + STEP * len(given)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">',
        f'<text x="8" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    for place, node in enumerate(sorted({each.node for each in given})):
        corner, name = 8 + 90 * place, node if node == "clients" else f"node {node}"
        parts.append(f'<rect x="{corner}" y="32" width="12" height="12" fill="{COLOURS[node]}"/>')
        parts.append(f'<text x="{corner + 18}" y="42">{name}</text>')
    for part in range(5):
        x = LEFT + room * part / 4
        parts.append(
            f'<path d="M{x:.1f} {TOP - 8}V{bottom}" stroke="{TEXT}" stroke-opacity="0.25"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{longest * part / 4:.1f} ms</text>"
        )
    for number, each in enumerate(given):
        y = TOP + STEP * number
        x = LEFT + room * each.start / longest
        width = max(2.0, room * (each.end - each.start) / longest)
        said = f"{each.end - each.start:.2f} ms" + (f", {each.note}" if each.note else "")
        parts.append(
            f'<text x="{8 + 16 * each.depth}" y="{y + 15}">{escape(each.name)}</text>'
            f'<rect x="{x:.1f}" y="{y + 3}" width="{width:.1f}" height="16" rx="2" '
            f'fill="{COLOURS[each.node]}"/>'
            f'<text x="{x + width + 6:.1f}" y="{y + 15}">{escape(said)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Write the pictures."""
    for name, found, title in (
        ("trace-across-nodes", spans, "One trace: said on node a, delivered on nodes a and b"),
        ("trace-socketio", socketio_spans, "One trace: from a client of node a to one of node b"),
    ):
        picture = IMAGES / f"{name}.svg"
        picture.write_text(draw(bars(asyncio.run(found())), title), encoding="utf-8")


if __name__ == "__main__":
    main()
