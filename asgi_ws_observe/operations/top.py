"""Nodes at a glance: the columns of ``top``, what they ask, and one look at all nodes."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from .expressions import duration
from .pages import AskError
from .sources import Source
from .thresholds import DEFAULTS

__all__ = ["COLUMNS", "Column", "Node", "Watch", "level"]

#: So many looks are kept for the lines of blocks.
_KEPT: Final = 120
#: Nodes that a Prometheus has seen within the hour, down or not.
_NODES: Final = (
    "max by (job, instance) (up) and on (job, instance) "
    "count by (job, instance) (last_over_time(ws_observe_info[1h]))"
)
_SAMPLED: Final = "max by (job, instance) (up)"
_CODES: Final = "sum by (job, instance, code) (rate(ws_closes_total[$rate]))"
#: Over this time at least percentiles are taken: heartbeats are seconds apart.
_LONG: Final = 60.0


#: Job and instance -> close code, or empty -> number.
_Numbers = dict[tuple[str, str], dict[str, float]]


@dataclass(frozen=True, slots=True)
class Column:
    """One number of each node.

    Attributes:
        name: What it is called, and sorted by.
        query: PromQL by node; ``$rate`` and ``$long`` are ranges.
        unit: Of the number.
        total: What the numbers of all nodes are together.
        rank: Which columns stay on a narrow terminal; the lowest longest.
        bad: A number like that is red, and half of it yellow; `None` for never.
    """

    name: str
    query: str
    unit: Literal["count", "rate", "bytes", "seconds"]
    total: Literal["sum", "max"]
    rank: int
    bad: float | None = None


def _rate(metric: str) -> str:
    return f"sum by (job, instance) (rate({metric}[$rate]))"


def _percentile(share: str, metric: str) -> str:
    inner = f"sum by (job, instance, le) (rate({metric}_bucket[$long]))"
    return f"histogram_quantile({share}, {inner})"


def _gauge(how: str, metric: str) -> str:
    return f"{how} by (job, instance) ({metric})"


_OUT: Final = 'ws_messages_total{direction="out"}'
_IN: Final = 'ws_messages_total{direction="in"}'
_BEATS: Final = "ws_heartbeat_rtt_seconds"

#: All of them, from left to right.
COLUMNS: Final = (
    Column("open", _gauge("sum", "ws_connections_active"), "count", "sum", 0),
    Column("limit", _gauge("sum", "ws_connections_limit"), "count", "sum", 5),
    Column("connects", _rate("ws_connects_total"), "rate", "sum", 1),
    Column("closes", _rate("ws_closes_total"), "rate", "sum", 2),
    Column("in", _rate(_IN), "rate", "sum", 3),
    Column("out", _rate(_OUT), "rate", "sum", 3),
    Column(
        *("p99", _percentile("0.99", "ws_handler_duration_seconds"), "seconds", "max", 4),
        DEFAULTS["handler_p99"],
    ),
    Column("rtt50", _percentile("0.5", _BEATS), "seconds", "max", 9, DEFAULTS["heartbeat_p99"]),
    Column("rtt99", _percentile("0.99", _BEATS), "seconds", "max", 6, DEFAULTS["heartbeat_p99"]),
    Column("buffers", _gauge("sum", "ws_send_buffer_current_bytes"), "bytes", "sum", 11),
    Column(
        *("fullest", _gauge("max", "ws_send_buffer_max_bytes"), "bytes", "max", 8),
        DEFAULTS["send_buffer_p95"],
    ),
    Column(
        *("queue", _gauge("sum", "ws_queue_depth"), "count", "sum", 7),
        DEFAULTS["queue_depth"],
    ),
    Column(
        *("lag", _gauge("max", "event_loop_lag_max_seconds"), "seconds", "max", 5),
        DEFAULTS["loop_lag_p99"],
    ),
)


@dataclass(slots=True)
class Node:
    """What is known of one node.

    Attributes:
        name: Its instance, with its job where there are several.
        up: Whether it answered at the last look.
        values: The number of each column; those that it has.
        codes: Closes per second by code, the most first; without codes that nobody closes with.
        past: What the columns ``open``, ``in`` and ``out`` were at the last looks, in order.
    """

    name: str
    up: bool = True
    values: dict[str, float] = field(default_factory=dict)
    codes: dict[str, float] = field(default_factory=dict)
    past: dict[str, deque[float]] = field(default_factory=dict)


class Watch:
    """Looks at nodes again and again.

    Args:
        source: Whom to ask.
        job: Nodes of this job only; `None` for all that have WebSockets.
        window: Seconds over which rates are.

    Attributes:
        nodes: The nodes, by name; one that is gone stays, and is not up.
        error: Why the last look failed; empty where it did not.
    """

    def __init__(self, source: Source, *, job: str | None = None, window: float = 60.0) -> None:
        self.nodes: dict[str, Node] = {}
        self.error = ""
        self._source = source
        self._job = job
        self._ranges = {
            "$rate": duration(window),
            "$long": duration(max(window, _LONG)),
        }

    async def look(self) -> None:
        """Take one look; where it fails the numbers stay those of the last one.

        Raises:
            AskError: It fails, and there was no other.
        """
        try:
            await self._look()
        except AskError as error:
            if not self.nodes:
                raise
            self.error = str(error)
        else:
            self.error = ""

    async def _look(self) -> None:
        nodes = _NODES if self._source.history else _SAMPLED
        queries = [nodes, _CODES, *(column.query for column in COLUMNS)]
        asked = (self._by_node(query) for query in queries)
        # The rest is waited for where one fails, so that nothing is under way afterwards.
        answers = await asyncio.gather(*asked, return_exceptions=True)
        up, codes, *columns = (_answer(each) for each in answers)
        jobs = {job for job, _ in up}
        seen = {}
        for key in sorted(up):
            name = key[1] if len(jobs) < 2 else f"{key[0]} {key[1]}"
            node = seen[name] = self.nodes.setdefault(name, Node(name))
            node.up = bool(up[key].get("", 0.0))
            node.values = {
                column.name: answer[key][""]
                for column, answer in zip(COLUMNS, columns, strict=True)
                if key in answer
            }
            node.codes = dict(sorted(codes.get(key, {}).items(), key=lambda each: -each[1]))
            node.codes = {code: rate for code, rate in node.codes.items() if rate > 0}
        for name, node in self.nodes.items():
            if name not in seen:
                node.up, node.values, node.codes = False, {}, {}
            _remember(node)

    async def _by_node(self, query: str) -> _Numbers:
        """Return the numbers of each node by code; without code under the empty one."""
        for name, range_ in self._ranges.items():
            query = query.replace(name, range_)
        found: _Numbers = {}
        for labels, value in await self._source.ask(query):
            job = labels.get("job", "")
            if self._job in (None, job) and math.isfinite(value):
                key = job, labels.get("instance", "")
                found.setdefault(key, {})[labels.get("code", "")] = value
        return found

    def sorted(self, by: str = "") -> list[Node]:
        """Return the nodes, those with the most of a column first, or by name."""
        nodes = list(self.nodes.values())
        if by:
            nodes.sort(key=lambda node: -node.values.get(by, -math.inf))
        return nodes

    def together(self) -> Node:
        """Return all nodes as one: sums, or the largest where a sum makes no sense."""
        nodes = list(self.nodes.values())
        whole = Node(f"{sum(node.up for node in nodes)} of {len(nodes)} up")
        for column in COLUMNS:
            found = [node.values[column.name] for node in nodes if column.name in node.values]
            if found:
                whole.values[column.name] = sum(found) if column.total == "sum" else max(found)
        if any(node.up and "limit" not in node.values for node in nodes):
            whole.values.pop("limit", None)
        for node in nodes:
            for code, rate in node.codes.items():
                whole.codes[code] = whole.codes.get(code, 0.0) + rate
        whole.codes = dict(sorted(whole.codes.items(), key=lambda each: -each[1]))
        whole.past = _sums(nodes)
        return whole


def _answer(found: _Numbers | BaseException) -> _Numbers:
    if isinstance(found, BaseException):
        raise found
    return found


def _remember(node: Node) -> None:
    for name in ("open", "in", "out"):
        past = node.past.setdefault(name, deque(maxlen=_KEPT))
        # Of a node that is up there is no rate only at its first look.
        if name in node.values or not node.up:
            past.append(node.values.get(name, 0.0))


def _sums(nodes: list[Node]) -> dict[str, deque[float]]:
    """Return the sums of what nodes were, look by look; they end together."""
    sums: dict[str, deque[float]] = {}
    for node in nodes:
        for name, past in node.past.items():
            known = sums.setdefault(name, deque())
            known.extendleft([0.0] * (len(past) - len(known)))
            for back, value in enumerate(reversed(past), 1):
                known[-back] += value
    return sums


def level(column: Column, value: float, values: Mapping[str, float]) -> str:
    """Return ``bad``, ``doubtful`` or nothing for a number of a node.

    Args:
        column: Which number.
        value: It.
        values: All numbers of the node.
    """
    bad = column.bad
    if column.name == "open" and values.get("limit"):
        bad = DEFAULTS["capacity"] * values["limit"]
    if bad is None or value * 2 < bad:
        return ""
    if column.name == "open":
        return "bad" if value >= bad else ""
    return "bad" if value >= bad else "doubtful"
