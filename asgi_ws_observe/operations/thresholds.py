"""The parameters of the signals, with defaults that suit most fleets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ..exceptions import SettingsError
from ..metrics.catalogue import CATALOGUE

__all__ = ["DEFAULTS", "THRESHOLDS", "Threshold", "at_scale", "parse_thresholds"]


@dataclass(frozen=True, slots=True)
class Threshold:
    """One parameter.

    Attributes:
        name: As expressions write it, after ``$``.
        default: The value where none is given.
        unit: Of the value.
        text: What it decides.
        time: How it changes where time is scaled: ``age`` with it, ``pace`` against it.
        histogram: The histogram of whose upper bounds it must be one.
        most: The largest value that makes sense.
    """

    name: str
    default: float
    unit: str
    text: str
    time: Literal["", "age", "pace"] = ""
    histogram: str = ""
    most: float = math.inf


#: All of them.
THRESHOLDS: Final = (
    Threshold("warm_up", 300, "s", "A process younger than this may be slow.", "age"),
    Threshold("expected_connections", 20, "", "A fleet with fewer connections is not missed."),
    Threshold(
        "gone_share", 0.1, "", "What is left of the connections of the last 10 minutes.", most=1
    ),
    Threshold("storm_factor", 5, "", "Connects, as a multiple of those of the quarter before."),
    Threshold("storm_per_second", 5, "/s", "Fewer connects than this are no storm."),
    Threshold("abnormal_per_second", 0.1, "/s", "Closes with 1006 by the network, each node."),
    Threshold("abnormal_share", 0.05, "", "The same, of all closes.", most=1),
    Threshold("heartbeat_p99", 5, "s", "The slowest per cent of heartbeats takes longer."),
    Threshold(
        "heartbeat_count", 200, "", "Fewer heartbeats in 5 minutes are too few for p99.", "age"
    ),
    Threshold("peers_factor", 3, "", "How many times as much as the mean of the other nodes."),
    Threshold("peers_heartbeat", 0.1, "s", "Heartbeats below this are fast, whatever peers do."),
    Threshold("peers_per_second", 0.05, "/s", "Fewer failures than this are no difference."),
    Threshold("half_open_share", 0.02, "", "Of the connections, in 5 minutes.", most=1),
    Threshold("half_open_count", 5, "", "Fewer heartbeat timeouts than this are noise."),
    Threshold("stall_connections", 5, "", "A node with fewer connections may be silent."),
    Threshold(
        "stall_per_second", 0.2, "/s", "Messages to expect by the half hour before the silence."
    ),
    Threshold("stall_steady", 0.7, "", "Of the hour before, the part with messages.", most=1),
    Threshold("send_buffer_p95", 1048576, "B", "What five per cent of the looks exceed."),
    Threshold("send_waiting", 30, "s", "A send() that waits longer hangs."),
    Threshold("engineio_queue", 1000, "", "Packets that wait for one client of Engine.IO."),
    Threshold("close_wait", 10, "", "Sockets that clients left and the process kept."),
    Threshold("leak_per_hour", 10, "/h", "Connections that come to stay.", "pace"),
    Threshold("leak_share", 0.005, "/h", "The same, of those that are open.", "pace", most=100),
    Threshold("queue_depth", 100, "", "Messages that wait in one process."),
    Threshold("handler_p99", 1, "s", "The slowest per cent of messages takes longer."),
    Threshold("handler_errors_per_second", 0.05, "/s", "Connections that an exception ended."),
    Threshold("loop_lag_p99", 0.25, "s", "How late one per cent of the timers is."),
    Threshold("handshake_failures", 0.1, "", "Of all handshakes.", most=1),
    Threshold("handshake_failures_per_second", 0.05, "/s", "Fewer failures are no outage."),
    Threshold("handshake_p95", 2, "s", "The slowest twentieth of handshakes takes longer."),
    Threshold("unused_connects", 5, "", "Connects that a node gets in 10 minutes.", "age"),
    Threshold(
        "restart_share", 0.6, "", "Connections of each node that it ended in a minute.", most=1
    ),
    Threshold("together", 10, "s", "Processes that start closer to each other are no roll-out."),
    Threshold("capacity", 0.9, "", "Of ws_connections_limit.", most=1),
    Threshold("descriptors", 0.8, "", "Of process_max_fds.", most=1),
    Threshold("probe_age", 30, "s", "A bus that did not bring a probe back for so long is silent."),
    Threshold("bus_lag_p99", 1, "s", "From publishing to delivery, by one clock."),
    Threshold("dropped_per_second", 0.1, "/s", "Messages that a full queue did not take."),
    Threshold("acks_pending", 100, "", "Fewer acknowledgements may wait."),
    Threshold("bad_sids_per_second", 1, "/s", "Requests of Engine.IO that reach another node."),
    Threshold("slo_events", 100, "", "In an hour; fewer decide about no objective."),
    Threshold("slo_handshakes", 0.999, "", "Handshakes that should succeed.", most=0.99999),
    Threshold("slo_closes", 0.95, "", "Closes that should not be abnormal.", most=0.99999),
    Threshold("slo_heartbeats", 0.99, "", "Heartbeats that should be fast.", most=0.99999),
    Threshold("slo_heartbeat_seconds", 1, "s", "That fast.", histogram="ws_heartbeat_rtt_seconds"),
    Threshold("slo_handlers", 0.99, "", "Messages that should be handled fast.", most=0.99999),
    Threshold("slo_handler_seconds", 1, "s", "That fast.", histogram="ws_handler_duration_seconds"),
)

_BY_NAME: Final = {threshold.name: threshold for threshold in THRESHOLDS}

#: The default of each.
DEFAULTS: Final[Mapping[str, float]] = {each.name: each.default for each in THRESHOLDS}


def parse_thresholds(pairs: Iterable[str]) -> dict[str, float]:
    """Return all thresholds, with those that are given as ``name=value`` in place of defaults.

    Raises:
        SettingsError: A name or a value is not accepted; says what is.
    """
    values = dict(DEFAULTS)
    for pair in pairs:
        name, separator, text = pair.partition("=")
        if name not in _BY_NAME or not separator:
            raise SettingsError(
                f"threshold: got {pair!r}, accepted is name=value with a name of "
                f"{', '.join(sorted(_BY_NAME))}"
            )
        values[name] = _checked(_BY_NAME[name], text)
    return values


def at_scale(values: Mapping[str, float], scale: float) -> dict[str, float]:
    """Return the thresholds for a time scale; one per hour is more in an hour that is shorter."""
    factors = {"": 1.0, "age": scale, "pace": 1 / scale}
    return {name: value * factors[_BY_NAME[name].time] for name, value in values.items()}


def _checked(threshold: Threshold, text: str) -> float:
    accepted = f"a number above 0{f' up to {threshold.most:g}' * math.isfinite(threshold.most)}"
    bounds = next((each.bounds for each in CATALOGUE if each.name == threshold.histogram), ())
    if bounds:
        accepted = f"an upper bound of {threshold.histogram}: {', '.join(map(str, bounds))}"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= threshold.most or math.isinf(value) or (bounds and value not in bounds):
        raise SettingsError(f"threshold {threshold.name}: got {text!r}, accepted is {accepted}")
    return value
