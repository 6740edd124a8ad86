"""THE table of what a real-time service should expose, and which metrics of a page are that.

A metric belongs to a kind by the words of its name, its type and its labels. What looks alike and
is something else (the process, the machine, HTTP requests, a database) is refused with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from .pages import Family
from .words import name_of, words_of

__all__ = ["KINDS", "Kind", "Match", "match"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of real-time metrics.

    Attributes:
        name: What it is called.
        question: What it answers.
        required: Whether an audit fails without it.
        types: The types that count.
        words: One of these is in the name; earlier groups are better.
        states: With no better word than of the last group, one of these is in the name too.
        tail: All that may follow the last of these words; empty for anything.
        never: None of these is in the name.
        mistyped: What a metric of another type is.
        remedy: What to expose.
    """

    name: str
    question: str
    required: bool = False
    types: frozenset[str]
    words: tuple[frozenset[str], ...]
    states: frozenset[str] = frozenset()
    tail: frozenset[str] = frozenset()
    never: frozenset[str]
    mistyped: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Match:
    """A metric that has the words of a kind.

    Attributes:
        kind: The kind.
        family: The metric.
        refused: Why it does not count; empty where it counts.
        rank: How well it fits; lower is better.
    """

    kind: Kind
    family: Family
    refused: str
    rank: tuple[int, ...]


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


THROUGHPUT: Final = "message throughput"
ERRORS: Final = "errors"
LATENCY: Final = "latency percentiles"

_TIME: Final = _set(
    "latency latencies duration durations rtt roundtrip delay lag ping seconds "
    "sec milliseconds millis ms microseconds usec us time"
)
_FAILED: Final = _set(
    "error errors err errs failure failures failed fail fails exception "
    "exceptions timeout timeouts rejected rejections refused denied dropped drops "
    "lost invalid abnormal unexpected aborted overflow overflows discarded "
    "unroutable lettered"
)
_ENDED: Final = _set("close closes closed disconnect disconnects disconnected disconnections")
_BYTES: Final = _set("bytes octets kb kilobytes")

KINDS: Final = (
    Kind(
        name="active connections",
        question="Is anybody connected?",
        required=True,
        types=_set("gauge unknown"),
        words=(
            _set("websocket websockets ws socketio"),
            _set("connection connections conn conns socket sockets"),
            _set(
                "client clients session sessions subscriber subscribers user users peer peers "
                "player players viewer viewers channel channels"
            ),
        ),
        states=_set(
            "active connected online open current concurrent live established num number count"
        ),
        tail=_set(
            "active connected online open opened current currently concurrent live alive "
            "established count number num total used inprogress now"
        ),
        never=_set(
            "limit max min maximum capacity slow idle waiting pending reading writing "
            "rate closing blocked ratio avg average per tcp udp age timestamp created "
            "orphan queue queued buffer backlog message messages event events pool"
        )
        | (_TIME | _FAILED | _ENDED | _BYTES),
        mistyped="a {type} counts what happened, not what is open now",
        remedy="a gauge such as ws_connections_active: up at accept, down at the end",
    ),
    Kind(
        name=THROUGHPUT,
        question="Is traffic flowing?",
        types=_set("counter unknown histogram summary"),
        words=(
            _set("message messages msg msgs"),
            _set(
                "event events frame frames packet packets publication publications published "
                "publish notification notifications broadcast broadcasts emit emits"
            ),
            _set("delivered deliveries"),
        ),
        states=_set("received sent delivered published in out"),
        never=_set(
            "created timestamp store index queue queued pending buffer buffered backlog "
            "unacked ready unexpected reserved ack acks acked acknowledged"
        )
        | (_TIME | _FAILED),
        mistyped="a {type} has no rate",
        remedy="a counter such as ws_messages_total, with a label direction (in, out)",
    ),
    Kind(
        name="queue depth",
        question="Is it falling behind?",
        types=_set("gauge unknown histogram"),
        words=(
            _set("queue queued backlog outbox inbox mailbox"),
            _set("pending buffer buffered unacked unacknowledged undelivered"),
        ),
        tail=_set(
            "depth length len size count total current max now ready unacked messages "
            "msgs message events packets items bytes sends tasks frames"
        ),
        never=_set("capacity limit created timestamp workers consumers memory hits ratio rate")
        | (_TIME | _FAILED),
        mistyped="a {type} does not say how much waits now",
        remedy="a gauge such as ws_queue_depth: messages that are received or sent, and still wait",
    ),
    Kind(
        name=ERRORS,
        question="What fails, and how often?",
        types=_set("counter unknown"),
        words=(_FAILED,),
        never=_set("created timestamp last ratio rate percent") | _TIME,
        mistyped="a {type} forgets the errors between two scrapes",
        remedy="counters such as ws_errors_total, and ws_closes_total by close code",
    ),
    Kind(
        name=LATENCY,
        question="How long do the slowest wait?",
        types=_set("histogram summary gaugehistogram"),
        words=(
            _set("latency latencies rtt roundtrip ping lag"),
            _set("duration delay wait"),
            _TIME,
        ),
        never=_set("created timestamp lifetime age uptime startup"),
        mistyped="a {type} has no percentiles: a mean or the last value hides the slowest",
        remedy="a histogram such as ws_heartbeat_rtt_seconds or ws_handler_duration_seconds",
    ),
)

#: Words that show a metric to be of a real-time service, whatever else its name says.
_REALTIME: Final = _set(
    "ws wss websocket websockets socketio engineio sockjs signalr stomp realtime"
)
_TOLD_BY: Final = ("protocol", "transport", "scheme", "type", "kind", "upgrade")

_OWN: Final = _set("scrape exporter nginxexporter conntrack observe")
_STORES: Final = _set(
    "redis pg postgres postgresql pgbouncer mysql mongodb mongo memcached hikaricp sqlalchemy"
)
#: What a metric is of: by its first word, by any of its words, and whether a word of `_REALTIME`
#: outweighs that.
_OF_OTHERS: Final = (
    ("the monitoring itself", _set("promhttp prometheus alertmanager telemetry"), _OWN, False),
    ("a pool of threads", _set(""), _set("thread threads blocking executor"), False),
    ("the runtime, not of messages", _set(""), _set("eventloop loop gc"), False),
    ("work in the background", _set("job jobs batch cron"), _set("fsync compaction raft"), False),
    ("the process", _set("process python go jvm dotnet ruby php"), _set("erlang nodejs"), True),
    ("the machine", _set("node container kube windows machine"), _set("cgroup"), True),
    ("a database", _STORES, _set("database db sql query queries pool"), True),
    ("HTTP requests", _set(""), _set("http https request requests response rpc grpc"), True),
)
#: Metrics that do not count what their names say, by trial.
_KNOWN: Final[Mapping[str, str]] = {
    "granian_connections_active": "it leaves a WebSocket out from its upgrade on",
}
_PERCENTILE: Final = _set("p50 p90 p95 p99 p999 median percentile percentiles quantile")


def match(family: Family) -> list[Match]:
    """Return the kinds whose words a metric has, refused or not; none for most metrics."""
    words = words_of(name_of(family))
    if words[-1:] == ("created",):
        return []
    found = []
    for kind in KINDS:
        group = _group(kind, words)
        if group is None and kind.name == ERRORS and _counts_failures(family, words):
            group = 1
        # A unit alone says little: a time of day has one, too.
        if group == 2 and kind.name == LATENCY and family.type not in kind.types:
            group = None
        if group is not None:
            refused = _of_others(family, words) or _unfit(kind, family, words)
            realtime = not _is_realtime(family, words)
            stated = not kind.states & set(words)
            found.append(Match(kind, family, refused, (realtime, group, stated, len(words))))
    return found


def _group(kind: Kind, words: tuple[str, ...]) -> int | None:
    """Return which group of a kind's words a name has; `None` where it is not of the kind."""
    given = set(words)
    if kind.never & given:
        return None
    every = frozenset[str]().union(*kind.words)
    at = [index for index, word in enumerate(words) if word in every]
    if not at or (kind.tail and not set(words[at[-1] + 1 :]) <= kind.tail):
        return None
    group = next(number for number, each in enumerate(kind.words) if each & given)
    weak = kind.states and group and words[at[-1]] in kind.words[-1]
    return None if weak and not kind.states & given else group


def _counts_failures(family: Family, words: tuple[str, ...]) -> bool:
    """Return whether a counter's labels tell failures, such as the code of a close."""
    labels = {name for each in family.samples for name in each.labels}
    if family.type != "counter" or _BYTES & set(words):
        return False
    if _ENDED & set(words) and labels & {"code", "reason", "close_code", "status", "cause"}:
        return True
    told = ("outcome", "result", "status")
    values = {
        each.labels[name].lower() for each in family.samples for name in told if name in each.labels
    }
    return bool(values & _FAILED)


def _is_realtime(family: Family, words: tuple[str, ...]) -> bool:
    values = {each.labels.get(name, "").lower() for each in family.samples for name in _TOLD_BY}
    return bool(_REALTIME & (set(words) | values))


def _of_others(family: Family, words: tuple[str, ...]) -> str:
    """Return what else a metric is of; empty where it may be of real-time messages."""
    realtime = _is_realtime(family, words)
    for of, first, anywhere, outweighed in _OF_OTHERS:
        if (words[0] in first or anywhere & set(words)) and not (realtime and outweighed):
            return f"it is of {of}"
    return _KNOWN.get(family.name, "")


def _unfit(kind: Kind, family: Family, words: tuple[str, ...]) -> str:
    """Return why a metric's type or samples do not fit its kind; empty where they do."""
    mistyped = kind.mistyped.format(type=family.type)
    if kind.name == THROUGHPUT and family.type in ("counter", "unknown") and _BYTES & set(words):
        return "it counts bytes, not messages"
    if kind.name != LATENCY:
        return "" if family.type in kind.types else mistyped
    if _lifetime(words):
        return "it is how long connections live, not how long anybody waits"
    labels = {name for each in family.samples for name in each.labels}
    if family.type == "summary" and "quantile" not in labels:
        return "a summary without quantiles has a mean only"
    percentile = family.type == "gauge" and ("quantile" in labels or _PERCENTILE & set(words))
    return "" if family.type in kind.types or percentile else mistyped


def _lifetime(words: tuple[str, ...]) -> bool:
    lives = _set("connection connections session sessions websocket websockets ws socket client")
    return any(
        one in lives and other in ("duration", "durations", "seconds", "time")
        for one, other in pairwise(words)
    )
