"""A plugin of pytest that observes every server and manager that python-socketio's tests make.

It runs beside those tests, in a process and an environment of theirs, and so needs nothing else of
these. From the environment: ``UPSTREAM_REPORT`` is a file that gets the outcomes as JSON,
``UPSTREAM_OBSERVED`` says whether anything is observed at all.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import socketio
from engineio.base_server import BaseServer
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry
from socketio.base_manager import BaseManager

from asgi_ws_observe import Settings
from asgi_ws_observe.socketio import Instrumentation, instrument_manager, instrument_server
from asgi_ws_observe.socketio.observer import Observer

SETTINGS: Final = Settings(log_handler="off")
#: What came of each test, in the order of their beginnings.
outcomes: Final[dict[str, str]] = {}
#: How many of each kind were observed.
observed: Final[Counter[str]] = Counter()
#: The metric that counts our own failures, of all registries together.
errors: Final[Counter[str]] = Counter()
#: The tracebacks of those.
failures: Final[list[str]] = []
#: The registries of the current test.
registries: Final[list[CollectorRegistry]] = []
making: Final = threading.local()


def pytest_configure() -> None:
    """Make every server observe itself when it is complete."""
    # One of the tests waits until a client that polls is given up, for 45 s with the defaults.
    short: Any = functools.partialmethod(BaseServer.__init__, ping_interval=5, ping_timeout=5)
    BaseServer.__init__ = short
    if os.environ["UPSTREAM_OBSERVED"] != "yes":
        return
    failed = Observer.failed

    def failing(self: Observer, error: Exception, culprit: object) -> None:
        failures.append("".join(traceback.format_exception(error)))
        failed(self, error, culprit)

    Observer.failed = failing  # type: ignore[method-assign]
    for kind in (socketio.AsyncServer, socketio.Server):
        follow(kind, observe_server)
    for manager in (*subclasses(BaseManager), BaseManager):
        if "__init__" in vars(manager):
            follow(manager, observe_manager)


def subclasses(kind: type[Any]) -> list[type[Any]]:
    """Return all of a class's."""
    return [each for one in kind.__subclasses__() for each in (one, *subclasses(one))]


def follow(kind: type[Any], observe: Callable[[Any], None]) -> None:
    """Observe each object of a class when the outermost constructor is done with it."""
    original = kind.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made = vars(making).setdefault("made", [])
        inner = any(each is self for each in made)
        made.append(self)
        try:
            original(self, *args, **kwargs)
        finally:
            made.pop()
        if not inner:
            observe(self)

    kind.__init__ = init


def observe_server(server: Any) -> None:
    """Observe a server, and its manager with it."""
    alone: Instrumentation | None = getattr(server.manager, "_observed_alone", None)
    if isinstance(alone, Instrumentation):
        alone.uninstrument()
    instrument_server(server, **arguments())
    observed[type(server).__name__] += 1


def observe_manager(manager: Any) -> None:
    """Observe a manager as one without a server, which it is so far."""
    manager._observed_alone = instrument_manager(manager, **arguments())
    observed[type(manager).__name__] += 1


def arguments() -> Any:
    """Return a registry and a tracer provider for one of them alone."""
    registries.append(CollectorRegistry())
    return {
        "registry": registries[-1],
        "tracer_provider": TracerProvider(shutdown_on_exit=False),
        "event_spans": "all",
        "settings": SETTINGS,
    }


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Scrape what the test has observed, and keep our own failures from there."""
    for registry in registries:
        for family in registry.collect():
            for sample in family.samples:
                if sample.name == "ws_observe_errors_total":
                    errors[sample.labels["part"]] += int(sample.value)
    registries.clear()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep a test's outcome: that of its call, unless something else went wrong."""
    if report.when == "call" or report.outcome != "passed":
        outcomes[report.nodeid] = report.outcome


def pytest_sessionfinish() -> None:
    """Write the report."""
    found = {"outcomes": outcomes, "observed": observed, "errors": errors, "failures": failures}
    Path(os.environ["UPSTREAM_REPORT"]).write_text(json.dumps(found), encoding="utf-8")
