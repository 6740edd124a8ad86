"""Drift: against a baseline, and this library's page against its own catalogue."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as strict_page
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute

from asgi_ws_observe import Settings, WebSocketObserveMiddleware
from asgi_ws_observe.operations.drift import baseline, check_against, check_own, read_baseline
from asgi_ws_observe.operations.findings import Finding
from asgi_ws_observe.operations.pages import AskError, Page, parse
from tests.operations.served import OPENMETRICS, PLAIN
from tests.operations.test_audit import captured
from tests.servers.application import echo
from tests.support import talk

URL = "http://127.0.0.1:8000/metrics"


def page(*lines: str) -> Page:
    """Return a page of these lines."""
    return parse("\n".join(lines) + "\n", PLAIN, URL)


def told(found: Iterable[Finding]) -> list[tuple[str, str, str]]:
    """Return rule, metric and level of each."""
    return [(each.rule, each.metric, each.level) for each in found]


@pytest.fixture
def own(registry: CollectorRegistry, settings: Settings) -> str:
    """Return what this library exposes after a connection."""
    app = Starlette(routes=[WebSocketRoute("/ws", echo)])
    talk(WebSocketObserveMiddleware(app, settings=settings, registry=registry))
    return generate_latest(registry).decode()


@pytest.mark.parametrize("name", ["rabbitmq", "instrumentator"])
def test_the_same_page_has_not_drifted(name: str, tmp_path: Path) -> None:
    """A baseline that was written and read again is the page."""
    found = captured(name)
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(baseline(found)))
    assert [] == list(check_against(read_baseline(path), found))


def test_every_difference_is_told(tmp_path: Path) -> None:
    """What is gone or changed breaks queries; what is new is worth knowing."""
    before = page(
        *("# TYPE gone gauge", "gone 1", "# TYPE kind gauge", "kind 1"),
        *("# TYPE labels gauge", 'labels{a="1",b="1"} 1', "# TYPE silent gauge", "silent 1"),
        *("# TYPE wide gauge", 'wide{x="0"} 1'),
    )
    after = page(
        *("# TYPE new gauge", "new 1", "# TYPE kind counter", "kind_total 1"),
        *("# TYPE labels gauge", 'labels{a="1",c="1"} 1', "# TYPE silent gauge"),
        *("# TYPE wide gauge", *(f'wide{{x="{n}"}} 1' for n in range(22))),
    )
    metrics = baseline(before)["metrics"]
    metrics["kind_total"] = metrics.pop("kind")
    found = list(check_against(metrics, after))
    assert [
        ("gone", "gone", "warning"),
        ("new", "new", "info"),
        ("other type", "kind_total", "warning"),
        ("label gone", "labels", "warning"),
        ("new label", "labels", "warning"),
        ("more values", "wide", "warning"),
    ] == told(found)
    assert "label x had 1 values and has 22" == found[-1].says


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file or directory; write one with --write-baseline"),
        ("{", "is no baseline"),
        ('{"metrics": {"up": {}}}', "is no baseline"),
        ('{"metrics": []}', "is no baseline"),
    ],
)
def test_a_file_that_is_no_baseline_is_named(
    tmp_path: Path, text: str | None, expected: str
) -> None:
    """With the way to get one."""
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(AskError, match=expected):
        read_baseline(path)


def test_the_own_page_is_what_the_catalogue_says(own: str, registry: CollectorRegistry) -> None:
    """In both formats, with workers and nodes named."""
    assert [] == list(check_own(parse(own, PLAIN, URL)))
    strict = strict_page(registry).decode()  # type: ignore[no-untyped-call]
    assert [] == list(check_own(parse(strict, OPENMETRICS, URL)))


def test_pages_of_others_are_not_compared() -> None:
    """They have no catalogue."""
    assert [] == list(check_own(captured("rabbitmq")))


def test_other_versions_and_strangers_are_told(own: str) -> None:
    """A metric that is missing, one that is unknown, another type, a label, a bound."""
    kept = [line for line in own.splitlines() if "ws_slow_connections" not in line]
    changed = [
        line.replace("TYPE ws_queue_depth gauge", "TYPE ws_queue_depth untyped") for line in kept
    ]
    errors = changed.index("# TYPE ws_errors_total counter") + 1
    changed.insert(errors, 'ws_errors_total{route="/ws",type="ValueError",user="ann"} 1')
    active = changed.index("# TYPE ws_connections_active gauge") + 1
    routes = [f'ws_connections_active{{route="/rooms/{n}"}} 1' for n in range(103)]
    changed[active:active] = routes
    more = ("# HELP ws_rooms Rooms.", "# TYPE ws_rooms gauge", "ws_rooms 1")
    found = list(check_own(page(*changed, *more)))
    assert {
        ("bound exceeded", "ws_connections_active", "error"),
        ("other type", "ws_queue_depth", "warning"),
        ("missing", "ws_slow_connections", "warning"),
        ("unknown label", "ws_errors_total", "warning"),
        ("unknown", "ws_rooms", "info"),
    } == set(told(found))
    assert any("label route has 104 values, its bound is 102" == each.says for each in found)
