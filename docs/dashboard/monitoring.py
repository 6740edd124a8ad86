"""The monitoring itself."""

from __future__ import annotations

from typing import Final

from .panels import BAD, FINE, Panel, Query, Row, above
from .promql import by_node, gauge, rate, series

__all__ = ["MONITORING"]

MONITORING: Final = Row(
    1100,
    "The monitoring itself: can all this be believed?",
    (
        Panel(
            id=1101,
            title="Scrapes",
            kind="state-timeline",
            queries=by_node(gauge("up", how="min")),
            unit="short",
            text="Whether Prometheus can scrape each node.",
            good="up.",
            bad="DOWN: everything else on this page is about the others only.",
            words={0: ("DOWN", BAD), 1: ("up", FINE)},
        ),
        Panel(
            id=1102,
            title="Scrape time",
            queries=(
                Query(gauge("scrape_duration_seconds", how="max"), "{{instance}}"),
                Query(gauge("ws_observe_scrape_seconds", how="max"), "{{instance}} inside"),
            ),
            unit="s",
            text="How long a scrape took for Prometheus, and how much of it the exposition.",
            good="below 100 ms.",
            bad="near the scrape timeout. Where the inside is small, the event loop was busy.",
            steps=above(1, 5),
        ),
        Panel(
            id=1103,
            title="Series scraped",
            queries=by_node(gauge("scrape_samples_scraped")),
            unit="short",
            text="Samples in one scrape of each node.",
            good="steady after the first hour.",
            bad="it only grows: a label without a bound, of the application's own metrics.",
        ),
        Panel(
            id=1104,
            title="Own errors",
            queries=(Query(rate("ws_observe_errors_total", by="part"), "{{part}}"),),
            unit="cps",
            text="Failures inside the monitoring, hooks and callbacks of the application included.",
            good="none.",
            bad="any: that part is switched off, and what it shows here is missing. The log has "
            "one line on it.",
            steps=above(0.001),
            empty="none",
        ),
        Panel(
            id=1105,
            title="Dropped labels",
            queries=(Query(rate("ws_observe_labels_dropped_total", by="label"), "{{label}}"),),
            unit="cps",
            text="Label values that became `other`, so that there are never too many series.",
            good="none.",
            bad="`route`: more routes than `Settings.max_routes`, or somebody probes.",
            empty="none",
        ),
        Panel(
            id=1106,
            title="What runs",
            kind="table",
            queries=(
                Query(
                    f"count by (instance, version, transport) ({series('ws_observe_info')})",
                    "processes",
                ),
            ),
            unit="short",
            text="The version of the library on each node, and which server it can look into.",
            good="one version.",
            bad="several versions for long: a deploy that stopped half way. `unknown`: the "
            "server's own objects cannot be read, and the closes are what ASGI tells.",
            columns={"instance": "node", "version": "version", "transport": "server"},
        ),
    ),
)
