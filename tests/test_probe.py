"""The probe: what one that knows nothing answers, and what the record takes from one that does."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_ws_observe import Connection
from asgi_ws_observe.probe import Probe
from asgi_ws_observe.states import Ending, Verdict
from asgi_ws_observe.store import TRANSPORTS
from tests.support import ACCEPT, CONNECT, disconnect, scope
from tests.test_connection import Life, observations
from tests.test_connection_orders import CLOSE, close_of, failure_of, live

NOTHING = Ending()


class Watch:
    """Note which probes are looked at."""

    def __init__(self) -> None:
        self.probes: list[Probe] = []

    def add(self, probe: Probe) -> None:
        self.probes.append(probe)

    def remove(self, probe: Probe) -> None:
        if probe in self.probes:
            self.probes.remove(probe)


class Told(Probe):
    """A probe that tells the end, and sees what a test has it see."""

    tells_end = True

    def __init__(self, connection: Connection, watcher: Watch) -> None:
        super().__init__(connection, watcher)
        self.seen: Ending | None = Ending()
        self.can_abort = True

    def ending(self) -> Ending | None:
        return self.seen

    def abort(self) -> bool:
        return self.can_abort


class Seen(Life):
    """A life whose server is seen below ASGI."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.watch = Watch()
        self.probe = Told(self.connection, self.watch)
        self.connection.probe = self.probe

    def lose(self, ending: Ending = NOTHING) -> None:
        """Let the TCP connection end."""
        self.probe.seen = ending
        self.connection.lost(ending, self.now)


def make() -> tuple[Probe, Watch]:
    """Return a probe of a record that belongs to nothing, and what watches it."""
    watch = Watch()
    return Probe(Connection(None, {}, 1.0), watch), watch


def test_probe_is_watched_while_the_connection_is_open() -> None:
    """From accept to the end."""
    probe, watch = make()
    seen = [list(watch.probes)]
    probe.opened()
    seen.append(list(watch.probes))
    probe.finished()
    seen.append(list(watch.probes))

    assert [[], [probe], []] == seen


def test_handshake_that_failed_was_never_watched() -> None:
    """To be done with it is nothing that fails."""
    probe, watch = make()
    probe.finished()

    assert [] == watch.probes


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("ending", (), None),
        ("write_buffer", (), None),
        ("queue", (), None),
        ("compression", (), None),
        ("is_closing", (), False),
        ("is_paused", (), False),
        ("peer_is_gone", (), False),
        ("abort", (), False),
        ("look", (), None),
        ("ping", (b"payload",), None),
        ("fail", (), None),
        ("detach", (), None),
    ],
)
def test_unknown_server_gives_nothing(name: str, args: tuple[Any, ...], expected: object) -> None:
    """Every question is answered, and nothing is done."""
    probe, watch = make()

    assert expected is getattr(probe, name)(*args)
    assert [] == watch.probes


def test_unknown_server_has_no_heartbeat_and_no_end() -> None:
    """What ASGI tells is the end; nothing is written to what is not known."""
    probe, _ = make()

    assert (False, False, None) == (probe.tells_end, probe.can_ping, probe.server_heartbeat)
    assert (False, 0.0) == (probe.waiting, probe.pinged_at)
    assert "unknown" == probe.kind
    assert probe.kind in TRANSPORTS


def test_word_of_an_unknown_server_is_taken_as_it_is() -> None:
    """There is nothing to put right."""
    verdict = Verdict(1005, "", "client", "normal")

    assert verdict is make()[0].correct(verdict)


# What it tells the record of an open connection.


def test_probe_is_watched_from_accept_to_the_end() -> None:
    """Not while the handshake goes on, and not when the application goes on for longer."""
    life = Seen()
    seen = [list(life.watch.probes)]
    life.opened()
    seen.append(list(life.watch.probes))
    live(life, disconnect())
    seen.append(list(life.watch.probes))
    life.lose()
    seen.append(list(life.watch.probes))

    assert [[], [life.probe], [life.probe], []] == seen


def test_heartbeat_is_counted_by_route() -> None:
    """The record keeps the last one for its log line and its span."""
    life = Seen().opened()
    before = life.connection.heartbeat_rtt
    for rtt in (0.5, 0.25):
        life.connection.heartbeat(rtt, 0.0)

    assert (None, 0.25) == (before, life.connection.heartbeat_rtt)
    assert (2, 0.75) == (observations(life.numbers.rtt), life.numbers.rtt.sum)
    assert {} == life.numbers.rtt.exemplars


@pytest.mark.parametrize(("paused", "apart"), [(0.0, 0), (0.005, 0), (0.0051, 1), (9.0, 1)])
def test_heartbeat_is_kept_apart_where_the_server_did_not_read(paused: float, apart: int) -> None:
    """Five milliseconds are no pause; more says nothing of the network."""
    life = Seen().opened()
    life.connection.span_context = "span"

    life.connection.heartbeat(9.5, paused)

    numbers = life.numbers
    assert (1 - apart, apart) == (observations(numbers.rtt), observations(numbers.rtt_paused))
    assert 9.5 == numbers.rtt.sum + numbers.rtt_paused.sum
    assert (None if apart else 9.5) == life.connection.heartbeat_rtt
    assert (1 - apart, 0) == (len(numbers.rtt.exemplars), len(numbers.rtt_paused.exemplars))


def test_heartbeat_of_a_sampled_connection_has_an_exemplar() -> None:
    """A slow bucket leads to a connection; each keeps its last."""
    life = Seen().opened()
    for context, rtt in (("first", 0.0001), ("slow", 0.3), ("slower", 0.4), (None, 0.45)):
        life.connection.span_context = context
        life.connection.heartbeat(rtt, 0.0)

    buckets = life.numbers.rtt
    places = [place for place, count in enumerate(buckets.counts) if count]
    assert ["first", "slower"] == [buckets.exemplars[place][0] for place in places]
    assert [0.0001, 0.4] == [buckets.exemplars[place][1] for place in places]


def test_heartbeat_without_an_answer_is_counted() -> None:
    """It says nothing of the round trip."""
    life = Seen().opened()
    life.connection.heartbeat_missed()

    assert (1, 0) == (life.numbers.heartbeat_timeouts, observations(life.numbers.rtt))
    assert life.connection.heartbeat_rtt is None


def test_bytes_on_the_wire_are_counted_by_what_was_added() -> None:
    """The kernel counts since the connection began; a round trip of zero is none."""
    life = Seen().opened()
    for look in ((300, 200, 0.0), (300, 200, 0.25), (1300, 250, 0.5)):
        life.connection.wired(*look)

    numbers = life.numbers
    assert (1300, 250) == (life.connection.wire_in, life.connection.wire_out)
    assert (1300, 250) == (numbers.wire_in, numbers.wire_out)
    assert (2, 0.75) == (observations(numbers.tcp_rtt), numbers.tcp_rtt.sum)


def test_bytes_on_the_wire_of_two_connections_add_up() -> None:
    """Each adds its own."""
    life = Seen().opened()
    other = Connection(life.observation, scope(), life.now)
    other.sent(ACCEPT, life.now, life.now)
    for connection in (life.connection, other, life.connection, other):
        connection.wired(connection.wire_in + 10, connection.wire_out + 1, 0.0)

    assert (40, 4) == (life.numbers.wire_in, life.numbers.wire_out)


@pytest.mark.parametrize(("size", "counts"), [(None, []), (0, [0]), (70000, [2])])
def test_write_buffer_at_the_end_is_counted(size: int | None, counts: list[int]) -> None:
    """Where it is known, an empty one too."""
    life = Seen().opened()
    life.connection.write_buffer = size
    life.lose()

    assert counts == [place for place, each in enumerate(life.numbers.buffer.counts) if each]
    assert (size or 0) == life.numbers.buffer.sum


# Abort.


def test_aborted_connection_is_closed_by_the_server() -> None:
    """That is known at once; it ends when the TCP connection does."""
    life = Seen().opened()
    aborted = life.connection.abort()
    before = (life.connection.closed_by, life.connection.reason, life.numbers.active)
    life.lose()
    life.end(OSError("gone"))

    assert (True, "server", "no_close", 1) == (aborted, *before)
    assert (1006, "server", "no_close", "abnormal") == close_of(life)


def test_abort_after_a_close_changes_nothing_but_the_end() -> None:
    """Who closed first stays who closed."""
    life = live(Seen(), CONNECT, ACCEPT, CLOSE | {"code": 4000})

    assert life.connection.abort()
    assert (4000, "server", "application") == (
        *(life.connection.close_code, life.connection.closed_by, life.connection.reason),
    )


def test_handshake_that_is_aborted_is_abandoned() -> None:
    """There is no close of what was never open."""
    life = live(Seen(), CONNECT)
    aborted = life.connection.abort()
    before = life.connection.closed_by
    life.lose()

    assert (True, "") == (aborted, before)
    assert ("rejected", "abandoned", None) == failure_of(life)


@pytest.mark.parametrize("probe", ["none", "unknown", "unable"])
def test_abort_says_where_it_is_not_possible(probe: str) -> None:
    """Without a probe, on an unknown server, or too early."""
    life = Seen().opened()
    life.probe.can_abort = False
    if probe != "unable":
        life.connection.probe = Probe(life.connection, life.watch) if probe == "unknown" else None

    assert not life.connection.abort()
    assert (None, "", "accepted") == (
        *(life.connection.close_code, life.connection.closed_by, life.connection.outcome),
    )
