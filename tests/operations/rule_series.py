"""Series as nodes expose them and Prometheus keeps them, for `promtool test rules`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client.utils import floatToGoString

from asgi_ws_observe.metrics.catalogue import CATALOGUE
from asgi_ws_observe.store import _ZERO_CLOSES, ERROR_PARTS, HANDSHAKE_FAILURES

__all__ = [
    "NODE",
    "ROUTE",
    "Line",
    "Series",
    "absent",
    "counter",
    "histogram",
    "key",
    "level",
    "node",
    "ramp",
    "restarted",
    "unscraped",
    "values",
]

#: A value by the seconds since the test's begin; `None` where there is no sample.
Line = Callable[[float], "float | None"]
#: Lines by the names of series.
Series = dict[str, Line]

NODE: Final = "node-1:8000"
ROUTE: Final = "/ws"
_COUNTERS: Final = ("_total", "_bucket", "_count", "_sum")


def level(first: float, *changes: tuple[float, float]) -> Line:
    """Return a gauge that has a value, and another one since each of these seconds."""

    def line(time: float) -> float:
        value = first
        for since, changed in changes:
            value = changed if time >= since else value
        return value

    return line


def ramp(first: float, *changes: tuple[float, float], pace: float = 0.0) -> Line:
    """Return a gauge that begins at a value, and moves at a pace a second since each of these."""

    def line(time: float) -> float:
        value, before, current = first, 0.0, pace
        for since, changed in (*changes, (math.inf, 0.0)):
            value += current * (max(min(time, since), before) - before)
            before, current = since, changed
        return value

    return line


def counter(pace: float = 0.0, *changes: tuple[float, float]) -> Line:
    """Return a counter that grows at a pace a second, and at another one since each of these."""
    return ramp(0, *changes, pace=pace)


def absent(line: Line, since: float, until: float = math.inf) -> Line:
    """Return a line without samples for a while."""
    return lambda time: None if since <= time < until else line(time)


def key(name: str, *, instance: str = NODE, job: str = "chat", **labels: str) -> str:
    """Return the name of a series."""
    told = {"instance": instance, "job": job} | labels
    inner = ",".join(f'{label}="{value}"' for label, value in sorted(told.items()))
    return f"{name}{{{inner}}}"


def histogram(name: str, seen: Mapping[float, Line], **labels: str) -> Series:
    """Return the series of a histogram of the catalogue.

    Args:
        name: Its name.
        seen: How often each value was observed, as counters.
        labels: Its labels.
    """
    bounds = next(each.bounds for each in CATALOGUE if each.name == name)

    def total(most: float) -> Line:
        lines = [line for value, line in seen.items() if value <= most]
        return lambda time: sum(line(time) or 0 for line in lines)

    def weighed(time: float) -> float:
        return sum(value * (line(time) or 0) for value, line in seen.items())

    made = {
        key(f"{name}_bucket", le=_bound(bound), **labels): total(bound)
        for bound in (*bounds, math.inf)
    }
    return (
        made
        | {key(f"{name}_count", **labels): total(math.inf)}
        | {key(f"{name}_sum", **labels): weighed}
    )


def node(
    instance: str = NODE,
    *,
    job: str = "chat",
    connections: Line | None = None,
    connects: Line | None = None,
    closes: Line | None = None,
    messages: Line | None = None,
    heartbeats: Mapping[float, Line] | None = None,
    handlers: Mapping[float, Line] | None = None,
    started: Line | None = None,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> Series:
    """Return what a healthy node exposes, and `up`, which Prometheus adds.

    Args:
        instance: Its name.
        job: Its job.
        connections: Open ones; default 100.
        connects: Accepted handshakes; default one in ten seconds.
        closes: Closes by clients, code 1001; default as many.
        messages: In, and as many out; default 5 a second.
        heartbeats: By seconds; default 5 a second, fast.
        handlers: Handler times by seconds; default those of the messages, fast.
        started: When the process started; default a day before.
        labels: Of all of them, such as ``worker``.
    """
    connections = connections or level(100)
    connects = connects or counter(0.1)
    messages = messages or counter(5)
    zero = level(0)

    def of(name: str, line: Line, **more: str) -> Series:
        return {key(name, instance=instance, job=job, **labels, **more): line}

    def seen(name: str, lines: Mapping[float, Line], **more: str) -> Series:
        return histogram(name, lines, instance=instance, job=job, **labels, **more)

    made = {key("up", instance=instance, job=job): level(1)}
    made |= of("ws_observe_info", level(1), version="1.0", transport="uvicorn-wsproto")
    made |= of("process_start_time_seconds", started or level(-86400))
    made |= of("process_open_fds", lambda time: 20 + (connections(time) or 0))
    made |= of("process_max_fds", level(65536))
    made |= of("ws_connections_active", connections, route=ROUTE)
    made |= of("ws_connects_total", connects, route=ROUTE)
    made |= seen("ws_handshake_duration_seconds", {0.02: connects}, route=ROUTE)
    for reason in HANDSHAKE_FAILURES:
        made |= of("ws_handshake_failures_total", zero, route=ROUTE, reason=reason)
    for code, author, reason in _ZERO_CLOSES:
        line = (closes or connects) if (code, author) == ("1001", "client") else zero
        told = {"code": code, "closed_by": author, "reason": reason}
        made |= of("ws_closes_total", line, route=ROUTE, **told)
    for direction in ("in", "out"):
        made |= of("ws_messages_total", messages, route=ROUTE, direction=direction)
        made |= of("ws_queue_depth", zero, route=ROUTE, direction=direction)
    made |= seen("ws_handler_duration_seconds", handlers or {0.004: messages}, route=ROUTE)
    made |= seen("ws_heartbeat_rtt_seconds", heartbeats or {0.03: counter(5)}, route=ROUTE)
    made |= of("ws_heartbeat_timeouts_total", zero, route=ROUTE)
    made |= seen("ws_send_buffer_bytes", {0: counter(20)}, route=ROUTE)
    made |= of("ws_send_waiting_max_seconds", zero, route=ROUTE)
    made |= of("ws_tcp_connections", connections, state="established")
    made |= of("ws_tcp_connections", zero, state="close_wait")
    made |= seen("event_loop_lag_seconds", {0.0005: counter(2)})
    for part in ERROR_PARTS:
        made |= of("ws_observe_errors_total", zero, part=part)
    return made


def unscraped(series: Series, since: float, until: float = math.inf) -> Series:
    """Return a node's series with `up` 0, and nothing else, for a while."""
    return {
        name: _fallen(line, since, until) if name.startswith("up{") else absent(line, since, until)
        for name, line in series.items()
    }


def restarted(series: Series, at: float, down: float = 30.0) -> Series:
    """Return a node's series where its process ended, and another one is there after a while."""
    back = at + down

    def counted(line: Line) -> Line:
        return lambda time: _less(line(time), line(back)) if time >= back else line(time)

    def since(line: Line) -> Line:
        return lambda time: back if time >= back else line(time)

    made = {}
    for name, line in series.items():
        if name.partition("{")[0].endswith(_COUNTERS):
            line = counted(line)
        if name.startswith("process_start_time_seconds"):
            line = since(line)
        made[name] = line
    return unscraped(made, at, back)


def values(line: Line, step: float, count: int) -> str:
    """Return a line's samples as promtool writes them, with runs of equal steps in short."""
    parts: list[str] = []
    samples = [line(index * step) for index in range(count)]
    index = 0
    while index < count:
        first = samples[index]
        if first is None:
            gone = index > 0 and samples[index - 1] is not None
            parts.append("stale" if gone else "_")
            index += 1
            continue
        end, pace = _run(samples, index)
        # An exponent would be read as the end of the number.
        sign = "-" if pace < 0 else "+"
        parts.append(f"{_plain(first)}{sign}{_plain(abs(pace))}x{end - index}")
        index = end + 1
    return " ".join(parts)


def _run(samples: list[float | None], begin: int) -> tuple[int, float]:
    """Return the last index of a run of equal steps, and the step."""
    first = samples[begin]
    second = samples[begin + 1] if begin + 1 < len(samples) else None
    if first is None or second is None:
        return begin, 0.0
    pace, end = second - first, begin + 1
    while end + 1 < len(samples):
        following = samples[end + 1]
        if following is None or abs(first + pace * (end + 1 - begin) - following) > 1e-6:
            break
        end += 1
    return end, pace


def _bound(value: float) -> str:
    return str(floatToGoString(value))  # type: ignore[no-untyped-call]


def _plain(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _less(value: float | None, begin: float | None) -> float | None:
    return None if value is None or begin is None else value - begin


def _fallen(line: Line, since: float, until: float) -> Line:
    return lambda time: 0.0 if since <= time < until else line(time)
