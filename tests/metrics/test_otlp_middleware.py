"""`Settings(otlp=True)`: when the middleware starts the push, and the flush at the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http import metric_exporter
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from asgi_ws_observe import MissingExtraError, Settings, WebSocketObserveMiddleware, observe
from asgi_ws_observe.metrics.otlp import MetricsPush
from asgi_ws_observe.metrics.prometheus import numbers_of
from tests.metrics.exporters import Kept
from tests.metrics.test_points import points
from tests.support import ACCEPT, CONNECT, Server, disconnect, scope, text, until

STARTUP = {"type": "lifespan.startup"}
SHUTDOWN = {"type": "lifespan.shutdown"}
SETTINGS = Settings(otlp=True, log_handler="off")


@pytest.fixture
def exporter(
    exporter: Kept, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kept]:
    """What takes the place of OpenTelemetry's exporter; at the end nothing pushes any more."""
    monkeypatch.setattr(metric_exporter, "OTLPMetricExporter", lambda: exporter)
    yield exporter
    push = numbers_of(registry).store.push
    if push is not None:
        exporter.free.set()
        MetricsPush.shutdown(push)


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Accept and receive until the client leaves; complete whatever the lifespan asks for."""
    while (message := await receive())["type"] != "websocket.disconnect":
        if message["type"] == "websocket.connect":
            await send(ACCEPT)
        elif message["type"].startswith("lifespan."):
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return


def wrap(registry: CollectorRegistry, app: Any = application, **more: Any) -> Any:
    """Put the middleware around an application."""
    settings = Settings(otlp=True, log_handler="off", **more)
    return WebSocketObserveMiddleware(app, settings=settings, registry=registry)


async def talk(app: Any) -> None:
    """Connect, say something, leave."""
    server = Server([CONNECT, text("hello"), disconnect()])
    await app(scope(), server.receive, server.send)


class Lifespan(Server):
    """Stands in for a server that notes what was exported when it is told that all is over.

    Attributes:
        exported: How many exports there were by then.
    """

    def __init__(self, exporter: Kept) -> None:
        super().__init__([STARTUP, SHUTDOWN])
        self._exporter = exporter
        self.exported: int | None = None

    async def send(self, message: Any) -> None:
        await super().send(message)
        if "shutdown" in message["type"]:
            self.exported = len(self._exporter.got)


@pytest.mark.parametrize("outcome", ["complete", "failed"])
async def test_last_numbers_are_exported_before_the_server_hears_of_the_end(
    outcome: str, exporter: Kept, registry: CollectorRegistry
) -> None:
    """uvicorn ends the process right after that message, by the signal that it got."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await application(scope, receive, send)
            return
        await send({"type": "lifespan.startup.complete"})
        await talk(observed)
        await send({"type": f"lifespan.shutdown.{outcome}"})

    observed = wrap(registry, app)
    server = Lifespan(exporter)
    await observed({"type": "lifespan"}, server.receive, server.send)
    assert 1 == server.exported
    assert f"lifespan.shutdown.{outcome}" == server.sent[-1]["type"]
    assert [1] == [each.value for each in points(exporter.got[-1], "ws.connects")]
    assert 1 == exporter.closed


async def test_without_lifespan_the_first_websocket_starts_the_push(
    exporter: Kept, registry: CollectorRegistry
) -> None:
    """And the exit of the interpreter ends it."""
    observed = wrap(registry)
    assert not numbers_of(registry).store.push.force_flush()
    await talk(observed)
    assert numbers_of(registry).store.push.force_flush()
    assert 1 == len(exporter.got)


def test_two_middlewares_of_one_registry_export_once(
    exporter: Kept, registry: CollectorRegistry
) -> None:
    """The numbers are the registry's."""
    assert wrap(registry)._push is wrap(registry)._push


@pytest.mark.parametrize("more", [{"otlp": False}, {"enabled": False}])
def test_without_the_setting_nothing_is_pushed(
    more: dict[str, Any], exporter: Kept, registry: CollectorRegistry
) -> None:
    """Nor where nothing is observed."""
    settings = Settings(**{"otlp": True, **more})
    assert (
        WebSocketObserveMiddleware(application, settings=settings, registry=registry)._push is None
    )
    assert numbers_of(registry).store.push is None


async def test_hanging_exporter_holds_up_neither_websockets_nor_the_end(
    exporter: Kept, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it hangs the event loop goes on, and the end comes when its time is over."""
    exporter.free.clear()
    observed = wrap(registry)
    push = numbers_of(registry).store.push
    monkeypatch.setattr(push, "aclose", lambda: MetricsPush.aclose(push, 0.2))
    server = Lifespan(exporter)
    began = time.monotonic()
    ending = asyncio.create_task(observed({"type": "lifespan"}, server.receive, server.send))
    await until(lambda: exporter.got)
    await talk(observed)
    assert not ending.done()
    await asyncio.wait_for(ending, 10)
    assert 0.2 <= time.monotonic() - began < 10


def test_missing_extra_fails_the_construction(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside an event loop it is raised."""
    monkeypatch.delitem(sys.modules, "asgi_ws_observe.metrics.otlp")
    monkeypatch.delitem(sys.modules, "asgi_ws_observe.metrics.points")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    with pytest.raises(MissingExtraError, match=r"opentelemetry-sdk 1\.28 or later is not"):
        wrap(registry)


async def test_missing_extra_fails_the_start_up(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starlette builds its middleware when the server runs: the server is told why."""
    for name in ("", ".metric_exporter"):
        monkeypatch.setitem(sys.modules, f"opentelemetry.exporter.otlp.proto.http{name}", None)
    app = observe(Starlette(), settings=SETTINGS, registry=registry)
    server = Server([STARTUP])
    await app({"type": "lifespan"}, server.receive, server.send)
    (message,) = server.sent
    assert "lifespan.startup.failed" == message["type"]
    assert "pip install 'asgi-ws-observe[otlp]'" in message["message"]


def test_setting_is_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the guide says."""
    monkeypatch.setenv("ASGI_WS_OBSERVE_OTLP", "true")
    assert Settings().otlp


#: A parent that pushes forks: what does the child do by itself, and what when it starts?
FORK = """
import os, sys
sys.path.insert(0, "")
from prometheus_client import CollectorRegistry
from tests.metrics.exporters import Kept, push_of

exporter = Kept()
push = push_of(exporter, CollectorRegistry())
assert push.force_flush()
child = os.fork()
if child == 0:
    silent = not push.force_flush() and len(exporter.got) == 1
    push.start()
    exported = push.shutdown() and len(exporter.got) == 2
    resources = [each.resource_metrics[0].resource for each in exporter.got]
    first, second = (each.attributes["service.instance.id"] for each in resources)
    os._exit(0 if silent and exported and first != second else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert push.force_flush() and len(exporter.got) == 2
"""
#: Nobody shuts it down.
EXIT = """
from prometheus_client import CollectorRegistry
from tests.metrics.exporters import Kept, push_of

class Said(Kept):
    def export(self, *args, **more):
        print("exported")
        return super().export(*args, **more)

push = push_of(Said(), CollectorRegistry())
push.force_flush()
"""


@pytest.mark.parametrize(("program", "expected"), [(FORK, ""), (EXIT, "exported\nexported\n")])
def test_process_that_forks_or_exits(program: str, expected: str) -> None:
    """A child pushes what is its own when it starts; the interpreter's exit is a last export."""
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert (0, expected) == (run.returncode, run.stdout), run.stderr
