"""``python -m tests.benchmarks``: run the benchmarks and print their table."""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Final

from tests.benchmarks import asgi_level, held, idle, server_level
from tests.benchmarks.asgi_level import BARE, PASS_THROUGH, PEER, PEER_SAMPLED, Measured

#: (Ours, peer, at most this share of it): what the project promises.
BARS = (
    (asgi_level.OURS, PEER, 0.5),
    (asgi_level.OURS_SAMPLED, PEER_SAMPLED, 0.35),
    (asgi_level.OURS_CAPPED, PEER_SAMPLED, 0.06),
    (asgi_level.OURS_UNSAMPLED, asgi_level.PEER_UNSAMPLED, 0.3),
)


#: At most this many times the CPU of the bare application, on uvicorn with uvloop.
SERVER_BAR: Final = 1.2
#: Bytes that the probe adds to a connection at most.
BYTES_BAR: Final = 2048
#: A connection's span holds this many bytes at most.
SPAN_BAR: Final = 3072
#: The periodic work may hold the event loop this long, seconds.
HELD_BAR: Final = 0.005


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, with progress on stderr; return 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "what",
        nargs="*",
        choices=[[], *PARTS],
        help=f"default: all of {', '.join(PARTS)}",
    )
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--messages", type=int, default=5000, help="a round; default: %(default)s")
    parser.add_argument("--size", type=int, default=64, help="bytes; default: %(default)s")
    parser.add_argument(
        "--idle", type=int, default=10_000, help="connections; default: %(default)s"
    )
    options = parser.parse_args(arguments)
    # Log lines are written once a connection: they are measured elsewhere.
    logging.getLogger("asgi_ws_observe").setLevel(logging.CRITICAL)
    return max(PARTS[part](options) for part in options.what or PARTS)


def progress(number: int, rounds: int) -> None:
    """Say how far it is."""
    print(f"\rround {number} of {rounds}", end="", file=sys.stderr, flush=True)
    if number == rounds:
        print(file=sys.stderr)


def messages(options: argparse.Namespace) -> int:
    """Measure an echo at ASGI level."""
    results: dict[str, Measured] = {}
    rounds = asgi_level.measure(options.rounds, options.messages, "x" * options.size)
    for number, now in enumerate(rounds, 1):
        results = now
        progress(number, options.rounds)
    print(table(results, options.size))
    return print_bars(results)


def server(options: argparse.Namespace) -> int:
    """Measure an echo's CPU on real servers, and a connection's memory."""
    failed = 0
    print("\n| server | " + " | ".join(server_level.MODES) + " | ratio |\n| --- |" + " ---: |" * 4)
    for implementation, loop in SERVERS:
        results: dict[str, list[float]] = {}
        rounds = server_level.echo_cpu(implementation, loop, options.rounds, options.messages)
        for number, now in enumerate(rounds, 1):
            results = now
            progress(number, options.rounds)
        cells = (f"{statistics.median(results[mode]):.0f} µs" for mode in server_level.MODES)
        share = server_level.ratio(results, server_level.MODES[-1])
        print(f"| {implementation}, {loop} | " + " | ".join(cells) + f" | {share:.2f} |")
        if loop == "uvloop":
            failed |= share > SERVER_BAR
    sizes = [server_level.connection_bytes(mode, "uvloop") for mode in server_level.MODES]
    probe = sizes[2] - sizes[1]
    failed |= probe > BYTES_BAR
    print(f"\na connection: {sizes[1] - sizes[0]:+.0f} bytes, its probe: {probe:+.0f} bytes")
    print(f"{'NOT' if failed else 'ok '} at most {SERVER_BAR} of bare, {BYTES_BAR} bytes")
    return failed


def look(options: argparse.Namespace) -> int:
    """Measure how long the periodic work holds the event loop."""
    held = idle.idle(options.idle, 15.0)
    failed = max(held.cpu) > HELD_BAR
    print(f"\n{options.idle:,} idle connections: {held.line()}")
    print(f"{'NOT' if failed else 'ok '} at most {HELD_BAR * 1e3:.0f} ms")
    return failed


def spans(options: argparse.Namespace) -> int:
    """Measure what open connections hold in memory for their spans."""
    sizes = {shape: held.held(options.idle, shape) for shape in held.SHAPES}
    print(f"\n| {options.idle:,} open connections | bytes each above `off` | spans |")
    print("| --- | ---: | ---: |")
    for shape, (size, live) in sizes.items():
        print(f"| `{shape}` | {size - sizes['off'][0]:,.0f} | {live:,} |")
    span = sizes["nested"][0] - sizes["linked"][0]
    failed = span > SPAN_BAR or sizes["linked"][1] > 0
    print(
        f"{'NOT' if failed else 'ok '} a span holds {span:,.0f} bytes (at most {SPAN_BAR:,}), and"
    )
    print("    linked connections have none")
    return failed


#: Name on the command line -> what it runs; each returns 1 where a promise does not hold.
PARTS: Final[dict[str, Callable[[argparse.Namespace], int]]] = {
    "messages": messages,
    "server": server,
    "look": look,
    "spans": spans,
}
SERVERS: Final = (
    *(("websockets-sansio", loop) for loop in ("uvloop", "asyncio")),
    *((implementation, "uvloop") for implementation in ("wsproto", "websockets")),
)


def table(results: dict[str, Measured], size: int) -> str:
    """Return the results as a Markdown table."""
    floor = results[PASS_THROUGH].median
    lines = [
        f"Python {platform.python_version()}, {size} bytes, an echo (one in, one out) above bare:",
        "",
        "| what | median, ns | quartiles, ns | pass-throughs |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, measured in results.items():
        if name != BARE:
            first, third = measured.spread
            lines.append(
                f"| {name} | {measured.median:,.0f} | {first:,.0f} - {third:,.0f} "
                f"| {measured.median / floor:.1f} |"
            )
    return "\n".join(lines)


def print_bars(results: dict[str, Measured]) -> int:
    """Print what was promised beside what was measured, and return 1 if something fails."""
    failed = 0
    print()
    for ours, peer, most in BARS:
        # Of each round, whose cases met the same machine.
        pairs = zip(results[ours].rounds, results[peer].rounds, strict=True)
        share = statistics.median(mine / theirs for mine, theirs in pairs)
        failed |= share > most
        print(f"{'ok ' if share <= most else 'NOT'} {ours}: {share:.2f} of {peer} (at most {most})")
    return failed


if __name__ == "__main__":
    sys.exit(main())
