"""What is ranked first, what follows from it, and what is said of it."""

from __future__ import annotations

from typing import Any, Final

import pytest

from asgi_ws_observe.operations.diagnosis import _NODES, Diagnosis, diagnose
from asgi_ws_observe.operations.promql import Value
from asgi_ws_observe.operations.signals import SIGNALS, expression
from asgi_ws_observe.operations.thresholds import DEFAULTS

BY_NAME: Final = {signal.name: signal for signal in SIGNALS}
NODES: Final = expression(_NODES, {})


class Answering:
    """Answers of a fleet in which some signals are on.

    Args:
        on: Values of signals, by their names; what is not there is off.
        others: Answers to other queries, by the query.
        history: Whether it knows what was.
        options: As those of `expression`.
    """

    def __init__(
        self,
        on: dict[str, list[Value]],
        others: dict[str, list[Value]] | None = None,
        history: bool = True,
        **options: Any,
    ) -> None:
        self.history = history
        self.asked: list[str] = []
        self._answers = {
            expression(BY_NAME[name].expr, DEFAULTS, inline=True, **options): values
            for name, values in on.items()
        } | (others or {})

    async def ask(self, query: str) -> list[Value]:
        """Return what is known."""
        self.asked.append(query)
        return self._answers.get(query, [])


def at(instance: str, value: float = 1.0, **labels: str) -> Value:
    """Return the value of an instance."""
    return Value({"job": "chat", "instance": instance, **labels}, value)


def fleet(value: float = 1.0) -> Value:
    """Return the value of all instances together."""
    return Value({"job": "chat"}, value)


def names(found: Diagnosis) -> list[str]:
    """Return what was found, in its order."""
    return [finding.signal.name for finding in found.findings]


async def test_nothing_is_found_where_all_is_well() -> None:
    """Every signal was asked for, and progress was told to the end."""
    told: list[tuple[int, int]] = []
    found = await diagnose(Answering({}), progress=lambda *steps: told.append(steps))
    assert ([], "", []) == (found.findings, found.side, found.unchecked)
    assert len(SIGNALS) == found.checked
    total = len(SIGNALS) + 1
    assert [(done, total) for done in range(1, total + 1)] == told
    assert {"side": "", "findings": [], "checked": len(SIGNALS), "unchecked": [], "nodes": {}} == (
        found.as_dict()
    )


async def test_what_needs_history_is_left_out_where_there_is_none() -> None:
    """And is named."""
    found = await diagnose(Answering({}, history=False))
    expected = [signal.name for signal in SIGNALS if signal.history]
    assert expected == found.unchecked
    assert len(SIGNALS) - len(expected) == found.checked


async def test_cause_comes_before_what_follows_from_it() -> None:
    """What follows at the same instance is no finding of its own."""
    on = {
        "WebSocketSlowHandlers": [at("a:1", 2, route="/ws")],
        "WebSocketHandlerBudgetBurns": [fleet(0.2)],
        "WebSocketEventLoopBlocked": [at("a:1", 0.5)],
    }
    found = await diagnose(Answering(on))
    assert ["WebSocketEventLoopBlocked"] == names(found)
    assert "node" == found.side
    assert ["WebSocketSlowHandlers", "WebSocketHandlerBudgetBurns"] == found.findings[0].follows


async def test_same_signal_elsewhere_is_a_finding_of_its_own() -> None:
    """One node's event loop says nothing of another node's handlers."""
    on = {
        "WebSocketSlowHandlers": [at("a:1", 2, route="/ws"), at("b:1", 3, route="/ws")],
        "WebSocketEventLoopBlocked": [at("a:1", 0.5)],
    }
    first, second = (await diagnose(Answering(on))).findings
    assert ["a:1"] == [place.labels["instance"] for place in first.places]
    assert ["b:1"] == [place.labels["instance"] for place in second.places]
    assert ["WebSocketSlowHandlers"] == first.follows


async def test_nothing_follows_from_a_cause_elsewhere() -> None:
    """What is on at other instances only is not named with it."""
    on = {
        "WebSocketSlowHandlers": [at("b:1", 3, route="/ws")],
        "WebSocketEventLoopBlocked": [at("a:1", 0.5)],
    }
    found = await diagnose(Answering(on))
    assert ["WebSocketEventLoopBlocked", "WebSocketSlowHandlers"] == names(found)
    assert [[], []] == [finding.follows for finding in found.findings]


async def test_fleet_covers_its_instances_and_no_other_job() -> None:
    """A deploy of one fleet explains nothing of another."""
    other = Value({"job": "game", "instance": "c:1"}, 1.0)
    on = {
        "WebSocketFleetRestarted": [fleet(2)],
        "WebSocketNodeDown": [at("a:1", 0), other],
    }
    found = await diagnose(Answering(on))
    assert ["WebSocketNodeDown", "WebSocketFleetRestarted"] == names(found)
    assert [other.labels] == [place.labels for place in found.findings[0].places]


async def test_worst_and_most_telling_come_first() -> None:
    """Severity, then how much follows, then at how many places."""
    on = {
        "WebSocketQueueGrowing": [at("a:1", direction="in")],
        "WebSocketCloseWait": [at("a:1"), at("b:1")],
        "WebSocketHandlerErrors": [at("b:1")],
        "WebSocketDescriptorsLow": [at("c:1")],
        "WebSocketHandshakesSlow": [at("c:1")],
    }
    found = await diagnose(Answering(on))
    assert [
        "WebSocketDescriptorsLow",
        "WebSocketHandlerErrors",
        "WebSocketCloseWait",
        "WebSocketQueueGrowing",
    ] == names(found)


@pytest.mark.parametrize(
    ("job", "first"),
    [(None, "WebSocketQueueGrowing"), ("chat", "WebSocketCloseWait")],
)
async def test_what_has_lasted_comes_before_what_may_be_a_moments(
    job: str | None, first: str
) -> None:
    """An alert of another job says nothing where one job is asked for."""
    on = {
        "WebSocketQueueGrowing": [at("a:1", direction="in")],
        "WebSocketCloseWait": [at("a:1"), at("b:1")],
    }
    firing = Value({"alertname": "WebSocketQueueGrowing", "job": "other"}, 1.0)
    others = {'ALERTS{alertstate="firing"}': [firing]}
    options: dict[str, Any] = {"job": job} if job else {}
    found = await diagnose(Answering(on, others, **options), job=job)
    assert first == names(found)[0]


async def test_what_has_lasted_comes_before_what_is_worse_for_a_moment() -> None:
    """Whoever was woken looks for the alert that woke them."""
    on = {"WebSocketReconnectStorm": [fleet(9.0)], "WebSocketBusLosing": [at("a:1")]}
    firing = Value({"alertname": "WebSocketBusLosing", "job": "chat"}, 1.0)
    found = await diagnose(Answering(on, {'ALERTS{alertstate="firing"}': [firing]}))
    assert ["WebSocketBusLosing", "WebSocketReconnectStorm"] == names(found)


async def test_finding_says_the_number_the_place_and_the_next_command() -> None:
    """The largest value; where to look next, with the answers."""
    look = BY_NAME["WebSocketAbnormalCloses"].look
    queries = [asked.replace("<job>", "chat").replace("<instance>", "b:8000") for _, asked in look]
    others = {
        NODES: [Value({"job": "chat"}, 3.0)],
        queries[0]: [
            Value({"reason": "eof", "closed_by": "network"}, 0.5),
            Value({"reason": "tcp_reset", "closed_by": "network"}, 1.25),
        ],
    }
    on = {"WebSocketAbnormalCloses": [at("a:8000", 0.5), at("b:8000", 1.75)]}
    found = await diagnose(
        Answering(on, others), metrics={"b:8000": "https://b/metrics"}, url="http://p:9090"
    )
    (finding,) = found.findings
    assert "1.75 connections a second end without a close frame (1006)" == finding.says
    assert "2 of 3 nodes: a:8000, b:8000" == finding.spread
    assert (look[0][0], "1.25 reason=tcp_reset, 0.5 reason=eof") == finding.numbers[0]
    assert (look[1][0], "no data") == finding.numbers[1]
    assert "curl -s https://b/metrics | grep '^ws_closes_total.*code=\"1006\"'" == finding.command
    told = finding.as_dict()
    assert ("WebSocketAbnormalCloses", "network", "critical") == (
        told["signal"],
        told["side"],
        told["severity"],
    )
    assert {"job": "chat", "instance": "b:8000"} == told["places"][0]["labels"]
    assert {"question": look[1][0], "answer": "no data"} == told["numbers"][1]
    assert {"chat": 3} == found.nodes


async def test_finding_of_a_fleet_has_no_spread_and_asks_the_prometheus() -> None:
    """Its command names what was asked."""
    on = {"WebSocketReconnectStorm": [fleet(25)]}
    (finding,) = (await diagnose(Answering(on), url="http://p:9090")).findings
    assert ("", "asgi-ws-observe top http://p:9090") == (finding.spread, finding.command)


@pytest.mark.parametrize(
    ("count", "spread"),
    [
        (1, "the only node: n0:1"),
        (5, "5 of 5 nodes: n0:1, n1:1, n2:1, n3:1, n4:1"),
        (7, "7 of 7 nodes: n0:1, n1:1, n2:1, n3:1, n4:1 and 2 more"),
    ],
)
async def test_spread_shows_five_nodes(count: int, spread: str) -> None:
    """And says how many more there are."""
    on = {"WebSocketCloseWait": [at(f"n{number}:1") for number in range(count)]}
    (finding,) = (await diagnose(Answering(on))).findings
    assert spread == finding.spread


async def test_answer_shows_five_values_and_no_zeros() -> None:
    """Unless there is nothing else; NaN is nothing."""
    (_, connections), (_, tcp) = BY_NAME["WebSocketDescriptorsLow"].look
    tcp = tcp.replace("<job>", "chat").replace("<instance>", "a:1")
    connections = connections.replace("<job>", "chat").replace("<instance>", "a:1")
    many = [Value({"state": f"s{number}"}, float(number)) for number in range(8)]
    others = {connections: [Value({}, 0.0), Value({}, float("nan"))], tcp: many}
    (finding,) = (
        await diagnose(Answering({"WebSocketDescriptorsLow": [at("a:1", 0.9)]}, others))
    ).findings
    assert [
        "0",
        "7 state=s7, 6 state=s6, 5 state=s5, 4 state=s4, 3 state=s3, 2 more",
    ] == [answer for _, answer in finding.numbers]


async def test_single_answer_is_told_with_all_its_labels() -> None:
    """But for the job, which is the same everywhere; seconds where they are seconds."""
    question, asked = BY_NAME["WebSocketSlowHandlers"].look[1]
    asked = asked.replace("<job>", "chat").replace("<route>", "/ws")
    others = {asked: [Value({"instance": "a:1", "job": "chat"}, 0.25)]}
    on = {"WebSocketSlowHandlers": [at("a:1", 2, route="/ws")]}
    (finding,) = (await diagnose(Answering(on, others))).findings
    assert (question, "250 ms instance=a:1") == finding.numbers[1]


async def test_label_may_have_any_character() -> None:
    """A quote ends no string, and a dollar is no threshold."""
    answers = Answering({"WebSocketSlowHandlers": [at("a:1", 2, route='/$x"{y}\\')]})
    (finding,) = (await diagnose(answers)).findings
    assert 'route="/$x\\"{y}\\\\"' in answers.asked[-1]
    assert "2" == finding.says.split()[-2]


async def test_instance_without_a_port_leaves_the_place_open() -> None:
    """Whoever types the command knows it."""
    (finding,) = (await diagnose(Answering({"WebSocketCloseWait": [at("node-a")]}))).findings
    assert "ss -tnp state close-wait '( sport = :<port> )'" == finding.command


async def test_job_and_scale_are_in_every_query() -> None:
    """As in the rules."""
    on = {"WebSocketCloseWait": [at("a:1", 30)]}
    answers = Answering(on, job="chat", scale=0.1)
    found = await diagnose(answers, job="chat", scale=0.1)
    assert ["WebSocketCloseWait"] == names(found)
    asked = [query for query in answers.asked if "ws_observe_info" in query]
    assert asked
    assert all('ws_observe_info{job="chat"}' in query for query in asked)
