"""Putting a probe on a server's object, taking it off, and what may go wrong between the two."""

from __future__ import annotations

import asyncio
import functools
import gc
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from websockets.frames import Frame, Opcode
from wsproto.events import Ping, Pong

from asgi_ws_observe import Settings, transports
from asgi_ws_observe.connection import Connection
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.probe import Probe
from asgi_ws_observe.store import Store
from asgi_ws_observe.transports import attach, base, find, observed_by_name
from asgi_ws_observe.transports.base import ServerProbe, spawn
from asgi_ws_observe.transports.legacy import LegacyProbe
from asgi_ws_observe.transports.sansio import SansIOProbe
from asgi_ws_observe.transports.wsproto import WSProtoProbe
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.servers.raw import PING, TEXT, RawClient, close_frame, frame
from tests.support import ACCEPT, Server, sample, scope, until, wait_until
from tests.transports import Observed, listening
from tests.transports.test_find import Server as Served
from tests.transports.test_find import WSProtocol

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
]
every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)

NORMAL = ("1000", "client", "normal")
WSPROTO = "uvicorn.protocols.websockets.wsproto_impl"
SANSIO = "uvicorn.protocols.websockets.websockets_sansio_impl"


class Around:
    """Stands between the server and the middleware, and notes the server's objects.

    Attributes:
        seen: Of each connection: the object, its class and its attributes before it is observed.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self.seen: list[tuple[Any, type, set[str]]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on."""
        if scope["type"] == "websocket":
            server = getattr(send, "__self__", None)
            self.seen.append((server, type(server), set(vars(server))))
        await self._app(scope, receive, send)


def live(address: str, path: str = "/a", *, pings: int = 0) -> RawClient:
    """Connect, answer pings, say something, close; return the client, which has finished."""
    client = RawClient(address, path)
    client.opened()
    while client.got.count(bytes([0x80 | PING])) < pings:
        client._read()
    client.send(frame(TEXT, b"hello"))
    client.send(close_frame())
    client.read_to_end()
    client.close()
    return client


@every_implementation
def test_servers_object_is_left_as_it_was(implementation: str, registry: CollectorRegistry) -> None:
    """It has what it has of itself, and its class."""
    apps = {"/a": listening, "/plain": listening}
    observed = Observed(apps, registry, heartbeat_interval=0.1, excluded_paths=["/plain"])
    around = Around(observed.app)
    with serving(around, implementation, ws_ping_interval=None) as address:
        live(address, pings=1)
        live(address, "/plain")
        observed.wait_for_ends(1)
        wait_until(lambda: len(around.seen) == 2)
    (server, cls, before), (plain, _, plain_before) = around.seen
    assert set(vars(plain)) - plain_before == set(vars(server)) - before
    assert type(plain) is cls is type(server)
    probe = observed.connections["/a"].probe
    assert probe.server is None
    probe.detach()  # once more does nothing
    assert {"/a": [NORMAL]} == observed.closes()


@every_implementation
def test_class_of_an_observed_object_looks_like_the_servers(
    implementation: str, registry: CollectorRegistry
) -> None:
    """Whoever logs it sees nothing else, and it is made once."""
    observed = Observed({"/a": listening}, registry)
    around = Around(observed.app)
    kinds = set()
    with serving(around, implementation) as address:
        for _ in range(2):
            client = RawClient(address, "/a")
            client.opened()
            kinds.add(type(observed.connections["/a"].probe.server))
            client.close()
        observed.wait_for_ends(2)
    (kind,) = kinds
    cls = around.seen[0][1]
    assert issubclass(kind, cls)
    assert kind is not cls
    assert repr(kind) == repr(cls)
    assert kind.__name__ == cls.__name__


def fail(*_: Any) -> Any:
    """Stand for a part of a server that has changed."""
    raise LookupError("the server has changed")


@pytest.mark.parametrize(
    ("implementation", "broken", "pings"),
    [
        *((each, "base:ServerProbe.write_buffer", 0) for each in IMPLEMENTATIONS),
        *((each, "base:ServerProbe.detach", 0) for each in IMPLEMENTATIONS),
        ("websockets-sansio", "uvicorn:UvicornProbe.paused_time", 2),
        ("wsproto", "uvicorn:UvicornProbe.paused_time", 2),
        ("websockets", "legacy:LegacyProbe.paused_time", 2),
    ],
)
def test_probe_that_fails_harms_no_connection(
    implementation: str,
    broken: str,
    pings: int,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported, the log has it once, and each connection ends once."""
    monkeypatch.setattr(f"asgi_ws_observe.transports.{broken.replace(':', '.')}", fail)
    observed = Observed({"/a": listening}, registry, look_interval=0)
    options: dict[str, Any] = {"ws_ping_interval": 0.1, "ws_ping_timeout": 20.0}
    with serving(observed.app, implementation, **options) as address:
        clients = [live(address, pings=pings), live(address, pings=pings)]
        wait_until(lambda: len(observed.closes().get("/a", [])) == 2)
    assert [1000, 1000] == [each.close_code for each in clients]
    assert 0 == observed.numbers("/a").active
    assert sample(registry, "ws_observe_errors_total", part="probe")
    assert 1 == caplog.text.count("what the server shows is incomplete")
    assert 0 == sample(registry, "ws_observe_errors_total", part="record")


def attaching(probe: Any) -> None:
    """Stand for a probe that puts itself on a server which it does not suit after all."""
    ServerProbe.attach(probe)
    fail()


@pytest.mark.parametrize(
    ("implementation", "broken", "stand_in"),
    [
        *((each, "uvicorn.UvicornProbe.attach", attaching) for each in IMPLEMENTATIONS),
        ("websockets-sansio", "uvicorn.Ending", fail),
        ("websockets", "uvicorn.Ending", fail),
    ],
)
def test_attaching_that_fails_is_undone(
    implementation: str,
    broken: str,
    stand_in: Any,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The connection is observed as ASGI alone shows it; so is one whose server shows no end."""
    monkeypatch.setattr(f"asgi_ws_observe.transports.{broken}", stand_in, raising=False)
    observed = Observed({"/a": listening}, registry)
    around = Around(observed.app)
    with serving(around, implementation) as address:
        live(address)
        wait_until(lambda: observed.closes())
        ((server, cls, _),) = around.seen
        assert cls is type(server)
        assert "ws_probe" not in vars(server)
    assert Probe is type(observed.connections["/a"].probe)
    assert {"/a": [NORMAL]} == observed.closes()
    assert 1 == sample(registry, "ws_observe_errors_total", part="probe")
    assert "the server is read as ASGI alone shows it" in caplog.text
    assert "the server has changed" in caplog.text
    assert {"unknown": None} == observed.store.transports


@pytest.mark.parametrize("kind", ["sansio", "wsproto"])
def test_attaching_to_an_object_without_a_connection_is_undone(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is missing, the object has its class and nothing of ours."""
    module = {"sansio": SANSIO, "wsproto": WSPROTO}[kind]
    cls = type("Changed", (Thing, Served), {"__module__": module})
    monkeypatch.setitem(find._names, cls, kind)
    server = cls()
    hand = Hand()
    assert Probe is type(hand.attach(server))
    assert (cls, {}) == (type(server), vars(server))
    assert 1 == hand.store.own_errors["probe"]


# By hand, without a server.


class Hand:
    """A record, and what attaching needs.

    Attributes:
        connection: The record, whose handshake was accepted.
        errors: Where failures go.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.errors = OwnErrors(self.store)
        observation = Observation(Settings(), self.store, (), self.errors)
        self.connection = Connection(observation, scope(), 0.0)
        self.connection.sent(ACCEPT, 0.0, 0.0)

    def add(self, probe: Probe) -> None:
        """Do without looks and heartbeats."""

    def remove(self, probe: Probe) -> None:
        """Likewise."""

    def attach(self, server: Any) -> Probe:
        """Return what is attached to a server."""
        return attach(
            self.connection,
            server.receive,
            server.send,
            store=self.store,
            watcher=self,
            errors=self.errors,
        )

    def probe(self, kind: Any, server: Any) -> Any:
        """Return a probe of a kind, attached to a server's object."""
        probe = kind(self.connection, self, server, self.errors)
        probe.attach()
        return probe


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches in vain of one test are not another one's."""
    monkeypatch.setattr(find, "_in_vain", set())


def test_unknown_server_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """In the log and in the metrics; with it, ASGI's word is all there is."""
    hand = Hand()
    with caplog.at_level("INFO", "asgi_ws_observe"):
        assert Probe is type(hand.attach(Server([])))
        assert Probe is type(hand.attach(Thing(receive=None, send=Hand())))
    assert {"unknown": None} == hand.store.transports
    assert 1 == caplog.text.count("no known WebSocket server behind tests.support.Server.send")


def test_unknown_callable_is_named_by_its_class(caplog: pytest.LogCaptureFixture) -> None:
    """Not every callable has a name of its own."""
    with caplog.at_level("INFO", "asgi_ws_observe"):
        Hand().attach(Thing(receive=None, send=functools.partial(print)))
    assert "no known WebSocket server behind functools.partial:" in caplog.text


def test_object_of_another_connection_is_left_alone() -> None:
    """Somebody may keep it for purposes of their own."""
    first, second, server = Hand(), Hand(), WSProtocol()
    server.pending_ping_payload = server.close_sent = None  # type: ignore[attr-defined]
    probe = first.attach(server)
    other = second.attach(server)
    other.detach()
    assert (WSProtoProbe, Probe) == (type(probe), type(other))
    assert probe is server.ws_probe  # type: ignore[attr-defined]


class Plain(ServerProbe):
    """A probe of anything."""

    @staticmethod
    def make_observed(cls: Any) -> Any:
        return type("Observed", (cls,), {})


class Pinging(Plain):
    """A probe of a server that pings with a payload of its own."""

    unwatched = 0

    def is_server_ping(self, payload: bytes) -> bool:
        return payload == b"theirs"

    def unwatch_reading(self) -> None:
        self.unwatched += 1


class Thing:
    """A server's object with what a test gives it."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Rigid:
    """A server's object that has no place for anything."""

    __slots__ = ()
    __module__ = "hypercorn.protocol.ws_stream"
    __qualname__ = "WSStream"

    async def send(self, message: Any) -> None:
        """Take anything."""


def test_class_that_cannot_be_replaced_is_reported_as_that(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What undoes the attaching does not hide why it failed."""
    monkeypatch.setattr(find, "_names", {})
    monkeypatch.setitem(transports._PROBES, "hypercorn", Plain)
    server = Rigid()
    assert Probe is type(Hand().attach(Thing(receive=None, send=server.send)))
    assert Rigid is type(server)
    failure = caplog.records[0].exc_info
    assert failure is not None
    assert TypeError is failure[0]


def test_probe_says_how_a_class_is_observed() -> None:
    """There is no way that suits every server; and no server's class has another name."""
    with pytest.raises(NotImplementedError):
        ServerProbe.make_observed(object)
    with pytest.raises(KeyError):
        observed_by_name(object)
    assert issubclass(observed_by_name(WSProtocol), WSProtocol)


async def test_failure_of_what_a_server_writes_in_a_task_is_nothing_new() -> None:
    """The connection has ended; the event loop's handler for exceptions never hears of it."""
    unhandled: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: unhandled.append(told))
    began: list[bool] = []

    async def fails() -> None:
        began.append(True)
        raise ConnectionError

    async def waits() -> None:
        began.append(True)
        await asyncio.Event().wait()

    others = set(base._tasks)
    spawn(fails())
    spawn(waits())
    await until(lambda: len(began) == 2 and len(base._tasks - others) == 1)
    (base._tasks - others).pop().cancel()
    await until(lambda: not base._tasks - others)
    gc.collect()
    assert [] == unhandled


def test_record_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes on."""
    hand = Hand()
    probe = hand.probe(Plain, Thing())
    monkeypatch.setattr(Connection, "lost", fail)
    probe.end()
    assert 1 == hand.store.own_errors["probe"]


def test_abort_needs_no_write_buffer() -> None:
    """What is not known then is unknown, and reported."""
    hand, aborted = Hand(), list[bool]()
    transport = Thing(
        get_extra_info=lambda name: None,
        get_write_buffer_size=fail,
        abort=lambda: aborted.append(True),
    )
    hand.connection.probe = probe = hand.probe(Plain, Thing(transport=transport))
    probe.opened()
    assert hand.connection.abort()
    assert [True] == aborted
    assert hand.connection.write_buffer is None
    assert 1 == hand.store.own_errors["probe"]


def test_two_pings_on_their_way_are_two_round_trips() -> None:
    """The server's and our own."""
    hand = Hand()
    probe = hand.probe(Pinging, Thing())
    probe.begin_server_ping()
    probe.begin_ping(b"ours")
    for payload in (b"nobody's", b"theirs", b"theirs", b"ours", b"ours"):
        probe.pong(payload)
    assert 2 == sum(hand.connection.numbers.rtt.counts)
    assert 1 == probe.unwatched


def test_server_without_pings_of_its_own_has_no_round_trips_of_them() -> None:
    """No pong answers what it does not write."""
    hand = Hand()
    probe = hand.probe(Plain, Thing())
    probe.begin_server_ping()
    probe.pong(b"anything")
    assert 0 == sum(hand.connection.numbers.rtt.counts)


def test_answer_after_the_end_is_nothing() -> None:
    """websockets' oldest layer may tell of it late."""
    hand = Hand()
    probe = LegacyProbe(hand.connection, hand, None, hand.errors)
    probe.answered(b"late", 1.0, 0.0)
    assert 0 == sum(hand.connection.numbers.rtt.counts)
    assert 0 == hand.store.own_errors["probe"]


def test_peers_first_close_frame_counts() -> None:
    """What follows it says nothing."""
    probe = Hand().probe(Plain, Thing())
    probe.frame_received(None, None, first=True)
    probe.frame_received(4000, "second", first=False)
    assert ((1005, ""), True) == (probe.ending().received, probe.ending().received_first)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionResetError(), "tcp_reset"),
        (BrokenPipeError(), "tcp_reset"),
        (TimeoutError(), "unknown"),
        (ValueError(), ""),
        (None, ""),
    ],
)
def test_error_tells_what_ended_the_tcp_connection(error: Any, expected: str) -> None:
    """The kernel may also have given up; what is no error of the network says nothing."""
    probe = Hand().probe(Plain, Thing())
    probe.freeze(error)
    assert expected == probe.ending().lost_by


class OldConnection:
    """What takes frames apart: websockets' has one method, wsproto's the other."""

    def __init__(self, *coming: Any) -> None:
        self.coming, self.taken = coming, list[Any]()

    def recv_frame(self, frame: Any) -> None:
        """Take a frame."""
        self.taken.append(frame)

    def events(self) -> Iterator[Any]:
        """Hand out what has come."""
        yield from self.coming


@pytest.mark.parametrize(
    ("kind", "module", "method"),
    [(SansIOProbe, SANSIO, "recv_frame"), (WSProtoProbe, WSPROTO, "events")],
)
def test_pongs_are_read_where_the_server_has_no_heartbeat(
    kind: Any, module: str, method: str
) -> None:
    """As before uvicorn 0.44 and 0.50. What does not answer our ping is no round trip."""
    hand = Hand()
    conn = OldConnection(Ping(b"wso"), Pong(b"other"), Pong(b"wso"))
    cls = type("Old", (Thing,), {"__module__": module})
    probe = hand.probe(kind, cls(conn=conn, read_paused=False, close_sent=False))
    probe.begin_ping(b"wso")
    if method == "events":
        assert list(conn.coming) == list(conn.events())
    else:
        for opcode, data in ((Opcode.PING, b"wso"), (Opcode.PONG, b"other"), (Opcode.PONG, b"wso")):
            assert hand.connection.heartbeat_rtt is None
            conn.recv_frame(Frame(opcode, data))
        assert 3 == len(conn.taken)
    assert 1 == sum(hand.connection.numbers.rtt.counts)
    assert not probe.waiting
    assert probe.server_heartbeat is None
    probe.detach()
    assert method not in vars(conn)
