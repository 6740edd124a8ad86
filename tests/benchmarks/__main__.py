"""``python -m tests.benchmarks``: run the benchmarks and print their table."""

from __future__ import annotations

import argparse
import logging
import platform
import sys
from collections.abc import Sequence

from tests.benchmarks import asgi_level
from tests.benchmarks.asgi_level import BARE, PASS_THROUGH, PEER, PEER_SAMPLED, Measured

#: (Ours, peer, at most this share of it): what the project promises.
BARS = (
    (asgi_level.OURS, PEER, 0.5),
    (asgi_level.OURS_SAMPLED, PEER_SAMPLED, 0.4),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, with progress on stderr; return 1 where a promise does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--messages", type=int, default=5000, help="a round; default: %(default)s")
    parser.add_argument("--size", type=int, default=64, help="bytes; default: %(default)s")
    options = parser.parse_args(arguments)
    # Log lines are written once a connection: they are measured elsewhere.
    logging.getLogger("asgi_ws_observe").setLevel(logging.CRITICAL)
    results: dict[str, Measured] = {}
    rounds = asgi_level.measure(options.rounds, options.messages, "x" * options.size)
    for number, now in enumerate(rounds, 1):
        results = now
        print(f"\rround {number} of {options.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(table(results, options.size))
    return print_bars(results)


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
        share = results[ours].median / results[peer].median
        failed |= share > most
        print(f"{'ok ' if share <= most else 'NOT'} {ours}: {share:.2f} of {peer} (at most {most})")
    return failed


if __name__ == "__main__":
    sys.exit(main())
