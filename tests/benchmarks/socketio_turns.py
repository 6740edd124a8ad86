"""``python -m tests.benchmarks.socketio_turns MODE CLIENTS``: events and emits without a network.

Each mode has a process of its own: Python adapts the library's code to the classes that it meets,
and a class that observes beside one that does not makes both slower than either is alone.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable
from time import thread_time
from typing import Final

from tests.benchmarks.cases import PROOF
from tests.benchmarks.socketio_modes import MODES, Node
from tests.benchmarks.workers import own_output

__all__ = ["OPERATIONS", "SMALL"]

#: Clients of the small room.
SMALL: Final = 10

#: Name -> does it so often, and how often in a turn, as a share of `Effort.published`.
OPERATIONS: Final[dict[str, tuple[Callable[[Node, int], Awaitable[None]], float]]] = {
    "event": (lambda node, number: node.events(number), 0.5),
    "client": (lambda node, number: node.emits(number, node.sids[0]), 0.5),
    "small": (lambda node, number: node.emits(number, "room:small"), 0.1),
    "large": (lambda node, number: node.emits(number, "room:large"), 0.004),
}


async def main() -> None:
    """Answer commands until stdin ends."""
    output = own_output()
    mode, clients = MODES[sys.argv[1]], int(sys.argv[2])
    node = Node(mode)
    await node.connect(clients)
    await node.enter("room:small", SMALL)
    await node.enter("room:large", clients)
    connected = node.spans
    await node.events(PROOF)
    spans = node.spans - connected
    least, most = {"none": (0, 0), "some": (1, PROOF), "all": (PROOF, PROOF)}[
        "none" if mode is None else mode.spans
    ]
    assert least <= spans <= most, f"{spans} spans of {PROOF} events"
    print(json.dumps({"spans": spans}), file=output, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        taken = await _turn(node, command["operation"], command["number"])
        print(json.dumps({"cpu": taken}), file=output, flush=True)


async def _turn(node: Node, operation: str, number: int) -> float:
    """Return the CPU that each of so many operations takes, microseconds."""
    work, _ = OPERATIONS[operation]
    gc.collect()
    began = thread_time()
    await work(node, number)
    taken = (thread_time() - began) / number * 1e6
    node.drain()
    return taken


if __name__ == "__main__":
    asyncio.run(main())
