"""Draws a real trace across two nodes: ``python -m docs.trace``; needs a ``redis-server``."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.servers.nodes import Node, broker, nodes
from tests.support import until

__all__ = ["Drawn", "draw"]

PICTURE: Final = Path(__file__).parent / "images" / "trace-across-nodes.svg"
#: Node -> its colour; both, and the grey of the text, are readable on white and on black.
COLOURS: Final = {"a": "#2f81f7", "b": "#d1773b"}
TEXT: Final = "#768390"
WIDTH: Final = 760
LEFT: Final = 150
RIGHT: Final = 180
STEP: Final = 30
TOP: Final = 64


class Drawn(NamedTuple):
    """One bar.

    Attributes:
        node: ``a`` or ``b``.
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
        if "ws.fanout.recipients" in attributes:
            number = attributes["ws.fanout.recipients"]
            note = f"{number} connection{'s' if number != 1 else ''}"
        start, end = ((span[key] - first) / 1e6 for key in ("start", "end"))
        drawn.append(Drawn(node, span["name"], depth(span["span"]), start, end, note))
    return drawn


def draw(given: list[Drawn]) -> str:
    """Return the picture, as SVG."""
    longest = max(each.end for each in given)
    room = WIDTH - LEFT - RIGHT
    bottom = TOP + STEP * len(given)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 30}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{TEXT}">',
        '<text x="8" y="20" font-size="14" font-weight="bold">'
        "One trace: said on node a, delivered on nodes a and b</text>",
    ]
    for place, (node, colour) in enumerate(COLOURS.items()):
        corner = 8 + 90 * place
        parts.append(f'<rect x="{corner}" y="32" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{corner + 18}" y="42">node {node}</text>')
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
    """Write the picture."""
    PICTURE.write_text(draw(bars(asyncio.run(spans()))), encoding="utf-8")


if __name__ == "__main__":
    main()
