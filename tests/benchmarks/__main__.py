"""``python -m tests.benchmarks``: measure what observing costs, and write the page about it."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from tests.benchmarks import (
    asgi_level,
    fanout,
    held,
    hubs,
    idle,
    lives,
    scraping,
    server_level,
    socketio_level,
)
from tests.benchmarks.limits import raise_limit
from tests.benchmarks.page import bar_table, section, write
from tests.benchmarks.results import QUICK, Effort, Json, environment, load, save

__all__ = ["main"]

Measure = Callable[[Effort, Callable[[str], None]], Json]

#: Name on the command line, and in the file of results -> what measures it.
PARTS: Final[dict[str, Measure]] = {
    "messages": asgi_level.messages,
    "profile": asgi_level.profile,
    "sizes": asgi_level.sizes,
    "connections": asgi_level.connections,
    "server": server_level.server,
    "memory": lives.memory,
    "churn": lives.churn,
    "storm": lives.storm,
    "broadcast": lives.broadcast,
    "hub": hubs.hub,
    "scrape": scraping.scrape,
    "look": idle.look,
    "spans": held.spans,
    "fanout": fanout.fanout,
    "socketio": socketio_level.socketio,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, with progress on stderr; return 1 where a promise is not kept or a part fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument(
        "what", nargs="*", choices=[[], *PARTS], help=f"default: all of {', '.join(PARTS)}"
    )
    parser.add_argument("--rounds", type=int, help=f"default: {Effort().rounds}")
    parser.add_argument(
        "--match", default="", help="of `messages` and `profile`, only cases with this text"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small rounds, judged by nobody: does it all run?"
    )
    options = parser.parse_args(arguments)
    effort = QUICK if options.quick else Effort()
    effort = effort._replace(match=options.match, rounds=options.rounds or effort.rounds)
    raise_limit()
    measured, failed = measure(options.what or list(PARTS), effort)
    for name, part in measured.items():
        print(section(name, part) + "\n")
    table, broken = bar_table(measured)
    print(table)
    if options.quick:
        return 1 if failed else 0
    # The page shows what whole rounds of all cases say.
    if not options.match:
        save(load() | measured)
        write(load())
    return 1 if broken or failed else 0


def measure(names: Sequence[str], effort: Effort) -> tuple[Json, int]:
    """Return what was measured by part, and how many parts have failed."""
    measured: Json = {}
    failed = 0
    for name in names:
        started = time.monotonic()
        try:
            found = PARTS[name](effort, Progress(name))
        except Exception as error:
            # The other parts are worth their time all the same.
            failed += 1
            print(f"\n{name}: {type(error).__name__}: {error}", file=sys.stderr)
            continue
        measured[name] = found | {"on": environment()}
        print(f"\r\033[K{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return measured, failed


class Progress:
    """Says on stderr how far a part is."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __call__(self, text: str) -> None:
        print(f"\r\033[K{self._part}: {text}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
