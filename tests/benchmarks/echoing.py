"""``python -m tests.benchmarks.echoing CASE``: echo at ASGI level in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import json
import logging
import sys
import types
from collections.abc import Generator
from time import thread_time
from typing import Any, Final

from tests.benchmarks.cases import CASES, PROOF, Made, pass_through
from tests.benchmarks.results import Json
from tests.benchmarks.steps import STEPS
from tests.benchmarks.workers import answer_lines, own_output
from tests.support import CONNECT, disconnect, scope

#: Every turn goes there and back, so that none always follows the same other.
_TURN: Final = ("bare", "wrapped", "app", "app", "wrapped", "bare")


def main() -> None:
    """Answer commands until stdin ends."""
    output = own_output()
    # One line a connection: what is measured here is messages.
    logging.getLogger("asgi_ws_observe").setLevel(logging.CRITICAL)
    case = (CASES | STEPS)[sys.argv[1]]
    try:
        made = case.make()
    except ImportError as error:
        print(json.dumps({"absent": str(error)}), file=output, flush=True)
        return
    asyncio.run(_echo(made.app, PROOF, event("text", 64)))
    spans = made.spans()
    least = {"none": 0, "connection": 1, "some": 2, "messages": PROOF}[case.spans]
    most = {"none": 0, "connection": 3}.get(case.spans, 10 * PROOF)
    assert least <= spans <= most, f"{spans} spans, {case.spans} expected"
    print(json.dumps({"spans": spans}), file=output, flush=True)
    turns = Turns(made)
    answer_lines(output, turns.answer)


def event(kind: str, size: int) -> dict[str, Any]:
    """Return a message of so many bytes: ``text``, ``other text``, ``json`` or ``bytes``."""
    if kind == "bytes":
        return {"type": "websocket.receive", "bytes": b"x" * size}
    if kind == "json":
        head = '{"type": "chat", "text": "'
        return {"type": "websocket.receive", "text": head + "x" * (size - len(head) - 2) + '"}'}
    letter = "x" if kind == "text" else "é"
    return {"type": "websocket.receive", "text": letter * (size // len(letter.encode()))}


class Turns:
    """One case, its application without anything, and that with a wrapper that does nothing."""

    def __init__(self, made: Made) -> None:
        self._apps = {"bare": made.bare, "wrapped": pass_through(made.bare), "app": made.app}
        self._numbers: dict[Any, int] = {}

    def answer(self, command: Json) -> Json:
        """Return the nanoseconds of an echo of each, by the thread's CPU time."""
        kind, size = command["kind"], command["size"]
        connections = command["connections"]
        message = event(kind, size)
        taken = dict.fromkeys(self._apps, 0.0)
        for name in _TURN:
            app = self._apps[name]
            key = (name, kind, size, connections)
            if key not in self._numbers:
                trial = _measure(app, max(200, 2 * connections), message, connections)
                number = int(command["seconds"] * 1e9 / trial)
                self._numbers[key] = max(50, connections, min(number, 50_000))
            taken[name] += _measure(app, self._numbers[key], message, connections) / 2
        return taken


def _measure(app: Any, messages: int, message: Any, connections: int) -> float:
    """Return the nanoseconds of an echo."""
    gc.collect()
    if connections:
        return asyncio.run(_echo_many(app, messages, message, connections)) * 1e9
    return asyncio.run(_echo(app, messages, message)) * 1e9


async def _echo(app: Any, messages: int, message: Any) -> float:
    """Echo on one connection; return the seconds of one, without the handshake and the end."""
    left = messages + 1
    started = ended = 0.0
    connect: Any = CONNECT

    async def receive() -> Any:
        nonlocal left, started, ended, connect
        if connect is not None:
            first, connect = connect, None
            return first
        left -= 1
        if left == messages:
            started = thread_time()
        if left > 0:
            return message
        ended = thread_time()
        return disconnect()

    async def send(message: Any) -> None:
        pass

    # Starlette's receive_text() ends an echo so, and not everybody catches it.
    with contextlib.suppress(Exception):
        await app(scope(), receive, send)
    assert left <= 0, "the application has ended before its client left"
    return (ended - started) / messages


@types.coroutine
def _next() -> Generator[None, Any, Any]:
    return (yield)


async def _echo_many(app: Any, messages: int, message: Any, connections: int) -> float:
    """Echo on many connections in turn, without an event loop's part in it."""

    async def receive() -> Any:
        return await _next()

    async def send(message: Any) -> None:
        pass

    steps = []
    for _ in range(connections):
        step = contextvars.copy_context().run
        life = app(scope(), receive, send)
        step(life.send, None)
        step(life.send, CONNECT)
        steps.append((step, life.send))
    turns = -(-messages // connections)
    started = thread_time()
    for _ in range(turns):
        for step, go in steps:
            step(go, message)
    ended = thread_time()
    for step, go in steps:
        with contextlib.suppress(StopIteration):
            step(go, disconnect())
    return (ended - started) / (turns * connections)


if __name__ == "__main__":
    main()
