"""THE table of what can go wrong.

Alert rules, Alertmanager's inhibitions, the runbook, links into the dashboard and `diagnose` are
made of it. To add one put it into the table of its side; tests demand a case in which it fires and
one in which it is silent, and the laboratory says whether it makes such a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .expressions import BAD_CLOSES, render
from .of_bus import BUS_SIGNALS
from .of_capacity import CAPACITY_SIGNALS
from .of_clients import CLIENT_SIGNALS
from .of_leaks import LEAK_SIGNALS
from .of_network import NETWORK_SIGNALS
from .of_node import NODE_SIGNALS
from .of_objectives import OBJECTIVE_RECORDINGS, OBJECTIVE_SIGNALS
from .of_processes import PROCESS_SIGNALS
from .signal import Recording, Signal
from .thresholds import at_scale

__all__ = ["RECORDINGS", "SIGNALS", "consequences", "expression"]

#: All of them.
SIGNALS: Final[tuple[Signal, ...]] = (
    *CLIENT_SIGNALS,
    *NETWORK_SIGNALS,
    *NODE_SIGNALS,
    *LEAK_SIGNALS,
    *PROCESS_SIGNALS,
    *CAPACITY_SIGNALS,
    *BUS_SIGNALS,
    *OBJECTIVE_SIGNALS,
)

#: What several of them are made of.
RECORDINGS: Final[tuple[Recording, ...]] = (
    Recording(
        name="instance:ws_closes_lost:rate5m",
        expr="sum by (job, instance) (rate(ws_closes_total"
        '{code="1006",closed_by=~"network|unknown",reason!="ping_timeout"}[5m]))',
    ),
    Recording(
        name="instance:ws_closes_bad:rate5m",
        expr=f"sum by (job, instance) (rate({BAD_CLOSES}[5m]))",
    ),
    Recording(
        name="instance:ws_closes_bad:per_connection",
        # After a deploy the nodes have unlike numbers of connections.
        expr=f"sum by (job, instance) (rate({BAD_CLOSES}[5m]))"
        " / (sum by (job, instance) (max_over_time(ws_connections_active[5m])) > 0)",
    ),
    Recording(
        name="instance:ws_handshake_failures:rate5m",
        expr="sum by (job, instance) (rate(ws_handshake_failures_total"
        '{reason=~"rejected|denied|error"}[5m]))',
    ),
    Recording(
        name="instance:ws_heartbeat_rtt_seconds:p90",
        # Without the nodes that had no heartbeat, which would make every sum NaN.
        expr="histogram_quantile(0.9, sum by (job, instance, le) "
        "(rate(ws_heartbeat_rtt_seconds_bucket[5m]))) >= 0",
    ),
    Recording(
        name="instance:event_loop_lag_seconds:p99",
        # Of the worst worker: a blocked loop measures its lag seldom, and is lost in a sum.
        expr="max by (job, instance) (histogram_quantile(0.99, sum by (job, instance, worker, le) "
        "(rate(event_loop_lag_seconds_bucket[5m]))) >= 0)",
    ),
    *OBJECTIVE_RECORDINGS,
)


def expression(
    template: str,
    values: Mapping[str, float],
    *,
    job: str | None = None,
    scale: float = 1.0,
    inline: bool = False,
) -> str:
    """Return the query that a signal's or a recording's template makes.

    Args:
        template: `Signal.expr` or `Recording.expr`.
        values: The thresholds.
        job: Ask for the series of this job only.
        scale: What times are multiplied by.
        inline: Write recorded series as what they are made of, for where nothing records them.
    """
    if inline:
        for recording in RECORDINGS:
            template = template.replace(recording.name, f"({recording.expr})")
    return render(template.strip(), at_scale(values, scale), job=job, scale=scale)


def consequences(name: str) -> frozenset[str]:
    """Return the names of all signals that follow from one, at any distance, without itself."""
    by_name = {signal.name: signal for signal in SIGNALS}
    found: set[str] = set()
    waiting = [name]
    while waiting:
        for each in by_name[waiting.pop()].explains:
            if each not in found:
                found.add(each)
                waiting.append(each)
    return frozenset(found - {name})
