"""What the push takes from OpenTelemetry's variables, and what it says of wrong ones."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client import CollectorRegistry

from asgi_ws_observe import MissingExtraError, SettingsError
from asgi_ws_observe.metrics.otlp import MetricsPush
from tests.metrics.exporters import Kept, push_of


def test_resource_is_that_of_the_environment(
    exporter: Kept, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Service name and attributes as OpenTelemetry's variables say, and which process it is."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chat")
    monkeypatch.setenv(
        "OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=x"
    )
    push_of(exporter, registry).shutdown()
    found = exporter.attributes()
    assert ("chat", "test") == (found["service.name"], found["deployment.environment.name"])
    assert 36 == len(found["service.instance.id"])
    push_of(exporter, registry).shutdown()
    assert found == exporter.attributes()


def test_resource_that_is_given_is_kept(exporter: Kept, registry: CollectorRegistry) -> None:
    """Its own instance id counts."""
    given = {"service.name": "chat", "service.instance.id": "one"}
    push_of(exporter, registry, resource=Resource(given)).shutdown()
    assert given == exporter.attributes()


@pytest.mark.parametrize("value", ["true", " TRUE "])
def test_disabled_sdk_exports_nothing(
    value: str, exporter: Kept, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OTEL_SDK_DISABLED is OpenTelemetry's switch for everything."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    push = push_of(exporter, registry)
    assert not push.shutdown()
    assert [] == exporter.got


@pytest.mark.parametrize(
    ("text", "expected", "warnings"),
    [("500", 0.5, 0), ("", 60.0, 0), ("soon", 60.0, 1), ("0", 60.0, 1), ("inf", 60.0, 1)],
)
def test_interval_is_that_of_the_environment(
    text: str,
    expected: float,
    warnings: int,
    exporter: Kept,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """In milliseconds; a wrong value is warned of and ignored, as in OpenTelemetry's SDK."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", text)
    assert expected == MetricsPush(exporter, registry=registry)._interval
    assert warnings == len(caplog.records)


def test_timeout_is_that_of_the_environment(
    exporter: Kept, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter is told."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_TIMEOUT", "1500")
    push_of(exporter, registry).shutdown()
    assert [1500] == exporter.timeouts


@pytest.mark.parametrize("name", ["interval", "timeout"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_wrong_argument_is_refused(
    name: str, value: float, exporter: Kept, registry: CollectorRegistry
) -> None:
    """The message says which, what it got, and what is accepted."""
    arguments: dict[str, Any] = {name: value}
    with pytest.raises(SettingsError, match=rf"got {name}={value!r}; accepted: seconds above 0"):
        MetricsPush(exporter, registry=registry, **arguments)


@pytest.mark.parametrize(
    ("variables", "module"),
    [
        ({}, "http"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "http"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        (
            {
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
            },
            "http",
        ),
    ],
)
def test_default_exporter_is_that_of_the_environment(
    variables: dict[str, str],
    module: str,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The variable for metrics wins over the one for everything; HTTP is the default."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = MetricsPush(registry=registry)._make_exporter
    assert f"opentelemetry.exporter.otlp.proto.{module}.metric_exporter" == made.__module__


def test_unknown_protocol_is_refused(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At start-up, with the variable and what it accepts."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    expected = r"OTEL_EXPORTER_OTLP_PROTOCOL: got 'http/json'; accepted: http/protobuf, grpc"
    with pytest.raises(SettingsError, match=expected):
        MetricsPush(registry=registry)


@pytest.mark.parametrize(
    ("protocol", "module", "expected"),
    [
        ("http/protobuf", "opentelemetry.exporter.otlp.proto.http", r"'asgi-ws-observe\[otlp\]'"),
        (
            "grpc",
            "opentelemetry.exporter.otlp.proto.grpc",
            "opentelemetry-exporter-otlp-proto-grpc",
        ),
    ],
)
def test_missing_exporter_is_named_with_what_to_install(
    protocol: str,
    module: str,
    expected: str,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The gRPC exporter, which is large, is in no extra."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    for name in (module, f"{module}.metric_exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=rf"pip install {expected}$"):
        MetricsPush(registry=registry)
