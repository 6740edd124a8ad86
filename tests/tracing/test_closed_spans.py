"""Spans of connections that end at another time than their application does."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from asgi_ws_observe import Settings
from asgi_ws_observe.states import Ending
from asgi_ws_observe.tracing import ConnectionTracing
from tests.support import CONNECT, Spans, disconnect, text
from tests.test_connection import Life
from tests.test_connection_orders import BROKEN, DENY, live
from tests.test_probe import Seen

RESET = Ending(lost_by="tcp_reset")


class Traced(Seen):
    """A life that is seen below ASGI, and traced; it starts in the test's own context."""

    def __init__(self, spans: Spans, **more: Any) -> None:
        super().__init__(hooks=(ConnectionTracing(Settings(**more), spans.provider),), **more)
        self.observation.hooks.call("started", self.connection)


def upgrade(spans: Spans) -> ReadableSpan:
    """Return the only connection's span."""
    (span,) = spans.named("ws.upgrade")
    return span


def test_span_ends_when_the_connection_does_though_the_application_goes_on(spans: Spans) -> None:
    """Its length is the connection's; it is exported when its last attribute is known."""
    life = Traced(spans).opened()
    before = time.time_ns()
    life.lose(RESET)
    after = time.time_ns()
    exported = spans.named("ws.upgrade")
    life.receive(text("late"))
    life.end()

    span = upgrade(spans)
    assert [] == exported
    assert span.end_time is not None
    assert before <= span.end_time <= after
    found = dict(span.attributes or {})
    assert (1006, "network", "tcp_reset", 1) == (
        *(found["ws.close_code"], found["ws.closed_by"], found["ws.close_reason"]),
        found["ws.messages.in"],
    )


def test_span_lasts_until_the_connection_ends_though_the_application_has_returned(
    spans: Spans,
) -> None:
    """The server may wait for the client's close frame, or write what is left."""
    life = Traced(spans).opened()
    life.end()
    returned = time.time_ns()
    exported = spans.named("ws.upgrade")
    life.connection.wire_in, life.connection.compression = 300, ""
    life.lose(Ending(None, (1011, "")))

    span = upgrade(spans)
    assert [] == exported
    assert span.end_time is not None
    assert returned <= span.end_time
    found = dict(span.attributes or {})
    assert (1011, "no_close", 300, "none") == (
        *(found["ws.close_code"], found["ws.close_reason"]),
        *(found["ws.wire.bytes.in"], found["ws.compression"]),
    )
    assert (StatusCode.ERROR, "closed with 1011") == (
        *(span.status.status_code, span.status.description),
    )


def test_messages_after_the_end_have_spans_of_their_own(spans: Spans) -> None:
    """They are the connection's, though it is over, and current while they are handled."""
    life = Traced(spans).opened()
    life.lose(RESET)
    life.receive(text("late"))
    inside = trace.get_current_span().get_span_context()
    life.receive(disconnect())
    life.end()

    (message,) = spans.named("ws.message")
    assert message.context == inside
    assert message.parent == upgrade(spans).context


@pytest.mark.parametrize("order", [*itertools.permutations(["lost", "returned"])])
def test_context_is_given_back_when_the_application_returns(
    spans: Spans, order: tuple[str, ...]
) -> None:
    """The end of the TCP connection arrives in the server's own context, and changes none."""
    with spans.provider.get_tracer("test").start_as_current_span("outer") as outer:
        life = Traced(spans).opened()
        inside = trace.get_current_span()
        seen = []
        for each in order:
            if each == "lost":
                life.lose(RESET)
            else:
                life.end()
            seen.append(trace.get_current_span())

    assert inside is not outer
    assert ([inside, outer] if order[0] == "lost" else [outer, outer]) == seen


def test_exception_after_the_end_marks_the_span(spans: Spans) -> None:
    """It left the application; the close is what it was, and so is the length."""
    life = Traced(spans).opened()
    life.lose(RESET)
    lost = time.time_ns()
    life.end(BROKEN)

    span = upgrade(spans)
    assert (StatusCode.ERROR, "RuntimeError") == (
        *(span.status.status_code, span.status.description),
    )
    assert span.end_time is not None
    assert span.end_time <= lost
    assert "tcp_reset" == dict(span.attributes or {})["ws.close_reason"]


def test_span_of_a_failed_handshake_ends_with_the_application(spans: Spans) -> None:
    """There was no connection that could have ended before."""
    life = live(Traced(spans), CONNECT, DENY)
    denied = time.time_ns()
    exported = spans.named("ws.upgrade")
    life.end()
    life.lose()

    span = upgrade(spans)
    assert [] == exported
    assert span.end_time is not None
    assert denied <= span.end_time
    assert 429 == dict(span.attributes or {})["http.response.status_code"]


@pytest.mark.parametrize(("status", "error"), [(426, False), (503, True)])
def test_handshake_that_the_server_refuses_has_a_span(
    spans: Spans, status: int, error: bool
) -> None:
    """No application was called, and nothing is current afterwards."""
    life = Life(hooks=(ConnectionTracing(Settings(), spans.provider),))
    life.connection.refused(status, life.now)

    span = upgrade(spans)
    found = dict(span.attributes or {})
    assert (status, "rejected", "bad_request") == (
        *(found["http.response.status_code"], found["ws.outcome"], found["ws.close_reason"]),
    )
    assert error == (span.status.status_code is StatusCode.ERROR)
    assert trace.INVALID_SPAN is trace.get_current_span()


def test_fields_of_the_application_are_taken_until_it_returns(spans: Spans) -> None:
    """A handler that goes on may still say something about its connection."""
    life = Traced(spans).opened()
    life.lose(RESET)
    life.connection.set("tenant", "acme")
    life.end()

    assert "acme" == dict(upgrade(spans).attributes or {})["tenant"]


def test_heartbeat_points_to_the_span_of_a_sampled_connection(spans: Spans) -> None:
    """Its exemplar is the connection's span."""
    life = Traced(spans).opened()
    life.connection.heartbeat(0.3, 0.0)
    life.lose()
    life.end()

    ((identity, rtt, _),) = life.numbers.rtt.exemplars.values()
    assert (upgrade(spans).context, 0.3) == (identity, rtt)


@pytest.mark.parametrize("order", [*itertools.permutations(["lost", "returned"])])
def test_record_lets_go_of_its_span_at_the_end(spans: Spans, order: tuple[str, ...]) -> None:
    """Neither waits for the garbage collector, whichever end comes last."""
    life = Traced(spans).opened()
    for each in order:
        assert life.connection.trace is not None
        if each == "lost":
            life.lose()
        else:
            life.end()

    assert life.connection.trace is None
    assert life.connection.listener is None
