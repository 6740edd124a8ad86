"""The table of real-time metrics: which metrics of real pages count, and why others do not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe.operations.audit import KINDS, match
from asgi_ws_observe.operations.pages import Family, Page, Sample, parse
from asgi_ws_observe.operations.words import name_of
from tests.operations.served import PLAIN

PAGES = Path(__file__).parent / "pages"
CONNECTIONS, MESSAGES, QUEUE, ERRORS, LATENCY = (kind.name for kind in KINDS)


def captured(name: str) -> Page:
    """Return a page that a real exporter once served."""
    return parse((PAGES / f"{name}.txt").read_text(), PLAIN, "http://127.0.0.1:8000/metrics")


def counted(page: Page) -> dict[str, list[str]]:
    """Return the metrics that count, by kind."""
    found: dict[str, list[str]] = {}
    for family in page.families.values():
        for each in match(family):
            if not each.refused:
                found.setdefault(each.kind.name, []).append(name_of(family))
    return found


def judged(name: str, kind: str, type: str = "gauge", **labels: str) -> str | None:  # noqa: A002
    """Return why a metric does not count; empty where it does, `None` where it is not alike."""
    family = Family(name, type, "", "", [Sample(name, labels, 1.0)])
    found = {each.kind.name: each.refused for each in match(family)}
    return found.get(kind)


def test_rabbitmq_has_all_but_latency() -> None:
    """A broker with clients over WebSockets: its own scrape times are no latency of messages."""
    found = counted(captured("rabbitmq"))
    assert ["rabbitmq_connections"] == found[CONNECTIONS]
    assert "rabbitmq_global_messages_received_total" in found[MESSAGES]
    assert "rabbitmq_queue_messages_ready" in found[QUEUE]
    assert "rabbitmq_auth_attempts_failed_total" in found[ERRORS]
    assert LATENCY not in found


def test_an_exporter_of_socketio_has_three() -> None:
    """Connections, events and errors; event loop lag is the runtime's."""
    found = counted(captured("socketio_prometheus_metrics"))
    assert {
        CONNECTIONS: ["socket_io_connected"],
        MESSAGES: ["socket_io_events_received_total", "socket_io_events_sent_total"],
        ERRORS: ["socket_io_errors_total"],
    } == found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nginx_exporter", {CONNECTIONS: ["nginx_connections_active"]}),
        ("node_exporter", {}),
        ("redis_exporter", {}),
        ("instrumentator", {}),
        ("starlette_exporter", {}),
        ("granian", {ERRORS: ["granian_workers_respawns_for_err", "granian_connections_err"]}),
    ],
)
def test_other_exporters_have_few(name: str, expected: dict[str, list[str]]) -> None:
    """Machines, databases, HTTP requests and pools are no real-time metrics."""
    assert expected == counted(captured(name))


@pytest.mark.parametrize(
    ("name", "kind", "type"),
    [
        ("websocket_connections", CONNECTIONS, "gauge"),
        ("signalr_server_active_connections", CONNECTIONS, "gauge"),
        ("centrifugo_node_num_clients", CONNECTIONS, "gauge"),
        ("emqx_live_connections_count", CONNECTIONS, "unknown"),
        ("chat_users_online", CONNECTIONS, "gauge"),
        ("wsActiveConnections", CONNECTIONS, "gauge"),
        ("centrifugo_transport_messages_sent", MESSAGES, "counter"),
        ("http_websocket_messages_total", MESSAGES, "counter"),
        ("ws_message_size_bytes", MESSAGES, "histogram"),
        ("chat_outbox_length", QUEUE, "gauge"),
        ("ws_send_buffer_bytes", QUEUE, "histogram"),
        ("ws_handshake_failures_total", ERRORS, "counter"),
        ("chat_delivery_latency_seconds", LATENCY, "histogram"),
        ("chat_latency_p99_ms", LATENCY, "gauge"),
    ],
)
def test_common_names_count(name: str, kind: str, type: str) -> None:  # noqa: A002
    """Names that services in the field use are recognised."""
    assert "" == judged(name, kind, type)


@pytest.mark.parametrize(
    ("name", "kind", "type", "reason"),
    [
        ("ws_connections_total", CONNECTIONS, "counter", "a counter counts what happened"),
        ("db_pool_connections", CONNECTIONS, "gauge", None),
        ("db_connections", CONNECTIONS, "gauge", "it is of a database"),
        ("process_open_sockets", CONNECTIONS, "gauge", "it is of the process"),
        ("ws_message_bytes_total", MESSAGES, "counter", "it counts bytes, not messages"),
        ("ws_messages", MESSAGES, "gauge", "a gauge has no rate"),
        ("thread_queue_size", QUEUE, "gauge", "it is of a pool of threads"),
        ("ws_queue", QUEUE, "counter", "a counter does not say how much waits now"),
        ("ws_last_errors", ERRORS, "counter", None),
        ("ws_errors", ERRORS, "gauge", "a gauge forgets the errors between two scrapes"),
        ("ws_latency_seconds", LATENCY, "gauge", "a gauge has no percentiles"),
        ("ws_latency_seconds", LATENCY, "summary", "a summary without quantiles has a mean only"),
        ("ws_connection_duration_seconds", LATENCY, "histogram", "it is how long connections live"),
        ("http_request_duration_seconds", LATENCY, "histogram", "it is of HTTP requests"),
        ("sql_query_duration_seconds", LATENCY, "histogram", "it is of a database"),
        ("start_time_seconds", LATENCY, "gauge", None),
    ],
)
def test_what_looks_alike_is_refused(
    name: str,
    kind: str,
    type: str,  # noqa: A002
    reason: str | None,
) -> None:
    """It is refused with a reason, or is not even alike."""
    said = judged(name, kind, type)
    assert said is None if reason is None else (said or "").startswith(reason)


def test_labels_tell_what_names_do_not() -> None:
    """Closes by code and outcomes that failed are errors, a protocol says what is real-time."""
    assert "" == judged("ws_closes_total", ERRORS, "counter", code="1006")
    assert judged("ws_closes_total", ERRORS, "counter", route="/ws") is None
    assert judged("ws_closes", ERRORS, "gauge", code="1006") is None
    assert "" == judged("ws_published_total", ERRORS, "counter", outcome="failed")
    assert judged("ws_published_total", ERRORS, "counter", outcome="ok") is None
    assert "" == judged("http_connections", CONNECTIONS, protocol="websocket")
    assert "" == judged("ws_latency_seconds", LATENCY, "summary", quantile="0.99")
    assert "" == judged("ws_latency_seconds", LATENCY, quantile="0.99")


@given(st.text(max_size=40), st.sampled_from(["gauge", "counter", "histogram", "unknown"]))
def test_any_name_can_be_judged(name: str, type: str) -> None:  # noqa: A002
    """No name raises."""
    for each in match(Family(name, type, "", "", [Sample(name, {}, 1.0)])):
        assert each.kind in KINDS
