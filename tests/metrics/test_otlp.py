"""The push: when it exports, what it does with exporters that fail or hang, how it ends."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from typing import Any, Final

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from prometheus_client import CollectorRegistry

from asgi_ws_observe.metrics import otlp
from asgi_ws_observe.metrics.otlp import MetricsPush
from asgi_ws_observe.metrics.prometheus import numbers_of
from tests.metrics.exporters import NEVER, Kept, failures, push_of
from tests.metrics.test_points import points
from tests.support import wait_until

FAILURE: Final = MetricExportResult.FAILURE


def threads() -> list[threading.Thread]:
    """Return the threads that push."""
    return [each for each in threading.enumerate() if each.name == "asgi-ws-observe-otlp"]


def test_push_exports_again_and_again(exporter: Kept, registry: CollectorRegistry) -> None:
    """At each interval, on a daemon thread of its own."""
    push = push_of(exporter, registry, interval=0.01, timeout=7)
    wait_until(lambda: len(exporter.got) > 2)
    assert [True] == [each.daemon for each in threads()]
    assert push.shutdown()
    assert {7000} == set(exporter.timeouts)


def test_flush_exports_now(exporter: Kept, registry: CollectorRegistry) -> None:
    """It returns when the exporter has the numbers of now."""
    push = push_of(exporter, registry)
    numbers_of(registry).store.route("/chat").connects = 3
    assert push.force_flush()
    (point,) = points(exporter.got[-1], "ws.connects")
    assert ("/chat", 3) == (point.attributes["http.route"], point.value)
    push.shutdown()


def test_shutdown_exports_what_is_left_and_shuts_the_exporter_down(
    exporter: Kept, registry: CollectorRegistry
) -> None:
    """And ends the thread; nothing is exported after that."""
    push = push_of(exporter, registry)
    numbers_of(registry).store.route("/chat").connects = 3
    assert push.shutdown()
    assert [3] == [each.value for each in points(exporter.got[-1], "ws.connects")]
    assert 1 == exporter.closed
    wait_until(lambda: not threads())
    assert not push.force_flush()
    assert not push.shutdown()
    assert 1 == len(exporter.got)


def test_start_twice_is_one_thread(exporter: Kept, registry: CollectorRegistry) -> None:
    """Each WebSocket starts it, in case there is no lifespan."""
    push = push_of(exporter, registry)
    push.start()
    assert 1 == len(threads())
    push.shutdown()


def test_start_that_comes_second_finds_the_thread_of_the_first(
    exporter: Kept, registry: CollectorRegistry
) -> None:
    """Two threads that start it at once make one, too."""
    push = MetricsPush(exporter, registry=registry, interval=NEVER)
    with push._lock:
        starting = [threading.Thread(target=push.start) for _ in range(2)]
        for each in starting:
            each.start()
    for each in starting:
        each.join(10)
    assert 1 == len(threads())
    push.shutdown()


def test_start_after_shutdown_goes_on(registry: CollectorRegistry) -> None:
    """What has arrived before is not sent again; an exporter that fails to close is reported."""
    exporter = Kept(delta=True)
    push = push_of(exporter, registry)
    numbers = numbers_of(registry).store.route("/chat")
    numbers.connects = 3
    push.shutdown()
    push.start()
    numbers.connects = 5
    assert push.shutdown()
    assert [3, 2] == [points(each, "ws.connects")[0].value for each in exporter.got]
    assert 1 == failures(registry)


@pytest.mark.parametrize("answer", [FAILURE, None, ConnectionError("refused")])
def test_failed_export_is_counted_and_lost_nothing(
    answer: Any, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """Each failure is counted, the first is logged, and the next export has it all."""
    exporter = Kept(answer, answer, delta=True)
    push = push_of(exporter, registry)
    numbers = numbers_of(registry).store.route("/chat")
    for round_ in range(3):
        numbers.connects += 1
        assert (round_ == 2) == push.force_flush()
    assert 2 == failures(registry)
    (line,) = (each for each in caplog.messages if "otlp" in each)
    assert line.endswith("the next export tries again")
    numbers.connects += 1
    push.shutdown()
    assert [1, 2, 3, 1] == [points(each, "ws.connects")[0].value for each in exporter.got]


def test_exporter_that_states_no_temporality_gets_totals(registry: CollectorRegistry) -> None:
    """One that never called its base class's constructor is served as well."""

    class Bare(Kept):
        def __init__(self) -> None:
            super().__init__()
            del self._preferred_temporality

    exporter = Bare()
    assert push_of(exporter, registry).shutdown()
    assert 1 == len(exporter.got)


def test_hanging_exporter_delays_nobody(exporter: Kept, registry: CollectorRegistry) -> None:
    """A flush and the shutdown end in time, and the thread keeps no process alive."""
    exporter.free.clear()
    push = push_of(exporter, registry)
    began = time.monotonic()
    assert not push.force_flush(0.05)
    assert not push.shutdown(0.05)
    assert time.monotonic() - began < 5
    exporter.free.set()
    wait_until(lambda: not threads())
    assert 1 == exporter.closed


def test_export_makes_no_spans(exporter: Kept, registry: CollectorRegistry) -> None:
    """Instrumentations of HTTP clients keep away from the exporter's own requests."""
    push_of(exporter, registry).shutdown()
    assert not exporter.observed


def test_no_more_threads_is_no_error_of_the_application(
    exporter: Kept,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is counted, and the next start tries again."""

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        push = push_of(exporter, registry)
    assert 1 == failures(registry)
    assert not push.force_flush()
    push.start()
    assert push.shutdown()


def test_exporter_that_cannot_be_made_is_reported(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried again with the next export; there is nothing to shut down."""
    push = MetricsPush(registry=registry, interval=NEVER)

    def fail() -> MetricExporter:
        raise OSError("no such certificate")

    monkeypatch.setattr(push, "_make_exporter", fail)
    push.start()
    assert not push.force_flush()
    assert not push.shutdown()
    # With the start, and with each export.
    assert 3 == failures(registry)
    assert ["otlp failed in 'the preparation'; the next export tries again"] == caplog.messages


def test_child_process_starts_anew(registry: CollectorRegistry) -> None:
    """What a fork does to it: the parent's thread is not assumed, and a start makes another one."""
    exporter = Kept()
    push = push_of(exporter, registry)
    asked, thread = push._asked, push._thread
    otlp._forget()
    assert not push.force_flush()
    push.start()
    assert thread is not push._thread
    assert push.shutdown()
    asked.put((Future(), True))
    wait_until(lambda: not threads())


def test_instance_id_is_of_the_process() -> None:
    """A forked child has another one."""
    assert otlp._instance_id(1) == otlp._instance_id(1)
    assert otlp._instance_id(1) != otlp._instance_id(2)


def test_end_is_waited_for_in_place_without_an_event_loop_of_asyncio(
    exporter: Kept, registry: CollectorRegistry
) -> None:
    """On trio's, say, which cannot wait for a thread of another's making."""
    push = MetricsPush(exporter, registry=registry)
    push.start()

    ending = push.aclose()
    with pytest.raises(StopIteration) as ended:
        ending.send(None)

    assert True is ended.value.value
