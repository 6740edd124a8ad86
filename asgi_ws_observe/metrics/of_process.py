"""Metrics of the process: its event loop, and the monitoring itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .. import __version__
from ..store import LAG_BOUNDS, Store
from .instruments import Instrument, Point

__all__ = ["INSTRUMENTS"]


def _lag(store: Store) -> Iterator[Point]:
    yield (), store.lag


def _lag_max(store: Store) -> Iterator[Point]:
    yield (), store.lag_max()


def _own_errors(store: Store) -> Iterator[Point]:
    for part, count in store.own_errors.items():
        yield (part,), count


def _dropped(store: Store) -> Iterator[Point]:
    for label, count in store.dropped_labels.items():
        yield (label,), count


def _scrape(store: Store) -> Iterator[Point]:
    yield (), store.scrape_seconds


def _up(store: Store) -> Iterator[Point]:
    if store.worker is not None:
        yield (), int(store.answers)


def _info(store: Store) -> Iterator[Point]:
    for transport in list(store.transports) or ["none"]:
        yield (__version__, transport), 1


INSTRUMENTS: Final[tuple[Instrument, ...]] = (
    Instrument(
        "event_loop_lag_seconds",
        "histogram",
        "s",
        (),
        "How late the event loop called a timer.",
        "Is the loop blocked?",
        _lag,
        LAG_BOUNDS,
    ),
    Instrument(
        "event_loop_lag_max_seconds",
        "gauge",
        "s",
        (),
        "The largest lag of the last 30 to 60 seconds.",
        "Was the loop blocked just now?",
        _lag_max,
    ),
    Instrument(
        "ws_observe_errors",
        "counter",
        "{error}",
        ("part",),
        "Failures inside the monitoring itself, hooks and callbacks included.",
        "Is the monitoring lying?",
        _own_errors,
    ),
    Instrument(
        "ws_observe_labels_dropped",
        "counter",
        "{value}",
        ("label",),
        "Label values that became `other`.",
        "Is a bound too small, or somebody probing?",
        _dropped,
    ),
    Instrument(
        "ws_observe_scrape_seconds",
        "gauge",
        "s",
        (),
        "How long the previous exposition took.",
        "Is the monitoring slow?",
        _scrape,
    ),
    Instrument(
        "ws_observe_worker_up",
        "gauge",
        "{worker}",
        (),
        "Whether this worker process answered; 0 for one that lives and did not. Absent where "
        "there are no siblings.",
        "Does one worker hang?",
        _up,
    ),
    Instrument(
        "ws_observe",
        "info",
        "",
        ("version", "transport"),
        "The version of this library, and the kind of server that WebSockets came from.",
        "What runs here, and can it be seen below ASGI?",
        _info,
    ),
)
