"""The verdict on a page: pass or fail, why, and what to do."""

from __future__ import annotations

import httpx
import pytest

from asgi_ws_observe.operations.pages import AskError, parse
from asgi_ws_observe.operations.verdict import Audit, audit, judge
from tests.operations.served import PLAIN, Answer, Served
from tests.operations.test_audit import captured

URL = "http://127.0.0.1:8000/metrics"


def verdict(*lines: str) -> Audit:
    """Return the verdict on a page of these lines."""
    return judge(parse("\n".join(lines) + "\n", PLAIN, URL))


def says(found: Audit) -> dict[str, str]:
    """Return what each kind says now, by metric."""
    return {each.metric: each.now for each in found.criteria if each.found}


def test_three_kinds_with_connections_pass() -> None:
    """The reason names what is missing all the same, and the remedy what to expose."""
    found = judge(captured("socketio_prometheus_metrics"))
    assert found.passed
    assert (
        "exposes 3 of 5 kinds of real-time metrics, active connections among them; "
        "no queue depth, latency percentiles" == found.reason
    )
    assert found.remedy.startswith("expose a gauge such as ws_queue_depth")
    assert "3 now" == says(found)["socket_io_connected"]
    assert (29, 50) == (found.families, found.series)


def test_connections_alone_fail() -> None:
    """One kind is not enough."""
    found = judge(captured("nginx_exporter"))
    assert not found.passed
    assert "3 are needed: no message throughput, queue depth" in found.reason


def test_three_kinds_without_connections_fail() -> None:
    """Active connections cannot be made up for."""
    found = verdict(
        "# TYPE messages_total counter",
        "messages_total 3",
        "# TYPE queue_depth gauge",
        "queue_depth 1",
        "# TYPE errors_total counter",
        "errors_total 0",
    )
    assert not found.passed
    assert (
        "exposes 3 of 5 kinds of real-time metrics, and active connections are not among them"
        == found.reason
    )


def test_no_connection_now_is_doubted() -> None:
    """A gauge of 0 may be one that never counts WebSockets."""
    found = verdict("# TYPE ws_connections gauge", "ws_connections 0")
    assert says(found)["ws_connections"].startswith("0 now (with WebSockets open, 0 would mean")


def test_percentiles_are_computed_from_buckets() -> None:
    """All series of a histogram together, in its own unit."""
    lines = ["# TYPE ws_rtt_seconds histogram"]
    for route in ("/a", "/b"):
        for bound, count in (("0.001", 50), ("0.1", 100), ("+Inf", 100)):
            lines.append(f'ws_rtt_seconds_bucket{{route="{route}",le="{bound}"}} {count}')
        lines.append(f'ws_rtt_seconds_count{{route="{route}"}} 100')
    found = verdict(*lines)
    assert "p50 1 ms, p99 98 ms of 200 observations" == says(found)["ws_rtt_seconds"]
    assert pytest.approx(0.001) == found.criteria[4].values["p50"]


def test_percentiles_of_summaries_are_the_worst() -> None:
    """Quantiles cannot be added up, so the slowest series speaks."""
    found = verdict(
        "# TYPE chat_latency_ms summary",
        'chat_latency_ms{quantile="0.5",node="a"} 1.5',
        'chat_latency_ms{quantile="0.5",node="b"} 3',
        'chat_latency_ms{quantile="0.99",node="b"} NaN',
        'chat_latency_ms_count{node="b"} 7',
    )
    assert {"chat_latency_ms": "p50 3 of 7 observations"} == says(found)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (
            ["# TYPE a_latency summary", 'a_latency{quantile="0.9"} 1', "a_latency_count 1"],
            "not at",
        ),
        (["# TYPE a_latency histogram"], "no observation yet"),
        (["# TYPE a_latency_p99_seconds gauge"], "no value yet"),
        (["# TYPE a_latency_p99_seconds gauge", "a_latency_p99_seconds 0.25"], "250 ms now"),
        (["# TYPE ws_errors_total counter"], "declared, no series yet"),
        (
            ["# TYPE ws_message_size_bytes histogram", "ws_message_size_bytes_count 1200"],
            "1,200 observations so far",
        ),
    ],
)
def test_what_has_no_number_yet_is_said(lines: list[str], expected: str) -> None:
    """A metric that exists and says nothing counts, and that is shown."""
    (now,) = says(verdict(*lines)).values()
    assert now.startswith(expected)


def test_a_metric_with_values_speaks_first() -> None:
    """One that fits a little better but has no observation yet comes after."""
    found = verdict(
        "# TYPE ws_rtt_seconds histogram",
        "# TYPE ws_handler_duration_seconds histogram",
        'ws_handler_duration_seconds_bucket{le="1"} 4',
        'ws_handler_duration_seconds_bucket{le="+Inf"} 4',
        "ws_handler_duration_seconds_count 4",
    )
    assert "ws_handler_duration_seconds" == found.criteria[4].metric
    assert ("ws_rtt_seconds",) == found.criteria[4].others


def test_json_has_every_criterion() -> None:
    """Each with its metric, or with what looks alike and the remedy."""
    found = judge(captured("granian")).as_dict()
    assert "fail" == found["verdict"]
    first = found["criteria"][0]
    assert {"name": "active connections", "required": True, "found": False} == {
        name: first[name] for name in ("name", "required", "found")
    }
    assert ["granian_connections_active"] == [each["metric"] for each in first["refused"]]
    assert first["remedy"]
    assert {"value": 0.0} == found["criteria"][3]["values"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("no", status=404), "got 404"),
        (Answer("<!doctype html><p>Hello", "text/html"), "got an HTML page"),
        (Answer('{"status": "ok"}', "application/json"), "that is no exposition"),
        (Answer("# nothing\n"), "is empty"),
    ],
)
async def test_an_application_without_metrics_fails(
    served: Served, client: httpx.AsyncClient, answer: Answer, expected: str
) -> None:
    """The sentence says what is there instead, and the remedy how to get metrics."""
    served.answers["/metrics"] = answer
    found = await audit(client, served.address)
    assert not found.passed
    assert found.reason.startswith("exposes no metrics: ")
    assert expected in found.reason
    assert "pip install asgi-ws-observe" in found.remedy
    assert served.url() == found.url


async def test_what_cannot_be_asked_is_no_verdict(
    served: Served, client: httpx.AsyncClient
) -> None:
    """A page behind a token may be a good one."""
    served.answers["/metrics"] = Answer("who are you?", status=401)
    with pytest.raises(AskError, match="401"):
        await audit(client, served.address)
