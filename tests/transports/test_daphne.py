"""daphne in a thread: one for all of these tests, since Twisted's reactor starts only once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.websocket.compress import PerMessageDeflateOfferAccept
from prometheus_client import CollectorRegistry

from asgi_ws_observe.probe import Probe
from asgi_ws_observe.transports.daphne import DaphneProbe
from tests.servers.raw import BINARY, TEXT, RawClient, close_frame, frame
from tests.support import ACCEPT, sample, wait_until
from tests.transports import (
    Observed,
    Stepped,
    authority,
    closing,
    connected,
    finishing,
    hesitating,
    listening,
    raising,
    reading,
    rejecting,
    returning,
    sending,
)

# Of Twisted's TLS.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


class Daphne:
    """A server that serves what a test puts there.

    Attributes:
        app: The application.
        server: daphne's own object.
        trust: What a client of the encrypted port needs.
    """

    def __init__(self, directory: Path) -> None:
        # It chooses Twisted's reactor when it is imported.
        from daphne.server import Server  # type: ignore[import-untyped]

        self.trust, pem = authority(directory)
        self.app: Any = None
        self.server = Server(
            self._run,
            endpoints=[
                "tcp:port=0:interface=127.0.0.1",
                f"ssl:port=0:interface=127.0.0.1:privateKey={pem}",
            ],
            signal_handlers=False,
            verbosity=0,
        )
        self._thread = threading.Thread(target=self.server.run, daemon=True)
        self._thread.start()
        wait_until(lambda: len(self.server.listening_addresses) == 2)
        self.address, self.encrypted = (
            f"127.0.0.1:{port}" for _, port in self.server.listening_addresses
        )

    async def _run(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)

    def stop(self) -> None:
        """End the server, for good."""
        from twisted.internet import reactor

        at_once: Any = reactor
        at_once.callFromThread(self.server.stop)
        self._thread.join(15)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def daphne(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daphne]:
    """The server."""
    daphne = Daphne(tmp_path_factory.mktemp("daphne"))
    yield daphne
    daphne.stop()


Observe = Callable[..., Observed]


@pytest.fixture
def observe(daphne: Daphne, registry: CollectorRegistry) -> Iterator[Observe]:
    """Puts an application there, which is observed."""
    made: list[Observed] = []

    def observe(handlers: Any, **settings: Any) -> Observed:
        made.append(Observed(handlers, registry, **settings))
        daphne.app = made[-1].app
        return made[-1]

    yield observe
    for each in made:
        each.on_loop(each.app._runtime.stop)


BIG = frame(BINARY, bytes(1000), size=2**21)
#: Path -> what the application does, what the client does, and how that ends.
ENDS: dict[str, tuple[Any, Callable[[RawClient], None], tuple[str, str, str]]] = {
    "/close": (listening, sending(close_frame(1000)), ("1000", "client", "normal")),
    "/empty": (listening, sending(close_frame(None)), ("1005", "client", "normal")),
    "/reason": (listening, sending(close_frame(4000, "größer")), ("4xxx", "client", "application")),
    "/reset": (listening, RawClient.reset, ("1006", "network", "tcp_reset")),
    "/finish": (listening, finishing, ("1006", "network", "eof")),
    # It fails a connection without a close frame.
    "/big": (
        listening,
        sending(BIG),
        ("1006", "server", "too_big"),
    ),
    "/text": (listening, sending(frame(TEXT, b"\xff")), ("1006", "server", "bad_data")),
    "/opcode": (listening, sending(frame(7, b"")), ("1006", "server", "protocol_error")),
    "/closing": (closing, RawClient.read_to_end, ("4xxx", "server", "application")),
    # It waits for the client, whatever the application does.
    "/returning": (returning, sending(close_frame(1000)), ("1000", "client", "normal")),
    "/raising": (raising, RawClient.read_to_end, ("1011", "server", "handler_error")),
}


def test_every_end_is_told_as_it_was(daphne: Daphne, observe: Observe) -> None:
    """Close frames with their authors, and what ended a connection that had none."""
    observed = observe({path: app for path, (app, *_) in ENDS.items()})
    for path, (_, act, _) in ENDS.items():
        with connected(daphne.address, path) as client:
            act(client)
    observed.wait_for_ends(len(ENDS))
    assert {path: [end] for path, (*_, end) in ENDS.items()} == observed.closes()


def test_handshake_that_fails_is_told_as_it_was(daphne: Daphne, observe: Observe) -> None:
    """Refused, or given up by the client."""
    observed = observe({"/gone": hesitating, "/no": rejecting})
    refused = RawClient(daphne.address, "/no")
    refused.read_to_end()
    refused.close()
    gone = RawClient(daphne.address, "/gone")
    wait_until(lambda: "/gone" in observed.connections)
    assert not observed.on_loop(observed.connections["/gone"].abort)
    gone.reset()
    observed.wait_for_ends(2)
    assert {"/no": ["rejected"], "/gone": ["abandoned"]} == observed.failures()


def test_own_pings_are_measured(daphne: Daphne, observe: Observe) -> None:
    """The server pings more rarely."""
    observed = observe({"/a": listening}, heartbeat_interval=0.1)
    with connected(daphne.address, "/a") as client:
        probe = observed.connections["/a"].probe
        assert 20.0 == observed.on_loop(lambda: probe.server_heartbeat)
        with reading(client):
            wait_until(lambda: sum(observed.numbers("/a").rtt.counts) >= 3)
        observed.wait_for_ends(1)
    assert 0 == observed.numbers("/a").heartbeat_timeouts


def test_servers_ping_is_measured_by_its_own_answer(daphne: Daphne, observe: Observe) -> None:
    """A pong that answers nothing, before it or meanwhile, is no round trip."""
    observed = observe({"/a": listening})
    with connected(daphne.address, "/a", pongs=False) as client:
        connection, rtt = observed.connections["/a"], observed.numbers("/a").rtt
        protocol = connection.probe.server
        client.pong(b"before")
        observed.on_loop(protocol._sendAutoPing)
        payload = protocol.autoPingPending
        client.read_until(payload)
        client.pong(b"meanwhile")
        client.send(frame(TEXT, b"seen"))
        wait_until(lambda: connection.messages_in)
        before = sum(rtt.counts)
        client.pong(payload)
        client.send(frame(TEXT, b"seen"))
        wait_until(lambda: connection.messages_in == 2)
        client.pong(payload)
        sending(close_frame())(client)
        observed.wait_for_ends(1)
    assert (0, 1) == (before, sum(rtt.counts))


def test_peer_that_answers_no_ping_of_the_server(daphne: Daphne, observe: Observe) -> None:
    """The network has ended it."""
    observed = observe({"/a": listening})
    with connected(daphne.address, "/a", pongs=False) as client:
        protocol = observed.connections["/a"].probe.server
        protocol.autoPingTimeout = 0.1
        observed.on_loop(protocol._sendAutoPing)
        client.read_to_end()
        observed.wait_for_ends(1)
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()
    assert 1 == observed.numbers("/a").heartbeat_timeouts


def test_peer_that_answers_no_ping_of_our_own_is_ended(daphne: Daphne, observe: Observe) -> None:
    """With a close frame that says why."""
    settings: dict[str, Any] = {"heartbeat_interval": 0.1, "heartbeat_timeout": 0.1}
    observed = observe({"/a": listening}, heartbeat_close=True, **settings)
    with connected(daphne.address, "/a", pongs=False) as client:
        client.read_to_end()
        observed.wait_for_ends(1)
    assert 1011 == client.close_code
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()


async def pouring(receive: Any, send: Any) -> None:
    """Send much at once, which the server takes whether or not the client reads."""
    await receive()
    await send(ACCEPT)
    for _ in range(32):
        await send({"type": "websocket.send", "bytes": bytes(2**19)})
    while (await receive())["type"] == "websocket.receive":
        pass


@pytest.mark.parametrize("encrypted", [False, True])
def test_peer_that_reads_nothing_is_seen_and_aborted(
    encrypted: bool, daphne: Daphne, observe: Observe
) -> None:
    """Everything waits in the server, since it never stops an application from sending."""
    observed = observe({"/a": pouring})
    address, trust = (daphne.encrypted, daphne.trust) if encrypted else (daphne.address, None)
    with connected(address, "/a", trust=trust):
        connection = observed.connections["/a"]
        probe: Probe = connection.probe
        wait_until(lambda: connection.messages_out == 32)
        assert 2**20 < observed.on_loop(probe.write_buffer)
        observed.on_loop(probe.look)
        assert 0 < connection.wire_in < connection.wire_out
        assert not observed.on_loop(lambda: probe.is_closing() or probe.peer_is_gone())
        unsent, aborted = observed.on_loop(lambda: (probe.write_buffer(), connection.abort()))
        observed.wait_for_ends(1)
        assert not observed.on_loop(connection.abort)
    assert (True, unsent) == (aborted, connection.write_buffer)
    assert {"/a": [("1006", "server", "no_close")]} == observed.closes()


def test_encrypted_connection_ends_as_any_other(daphne: Daphne, observe: Observe) -> None:
    """Twisted's TLS is a protocol between two others."""
    observed = observe({"/a": listening})
    with connected(daphne.encrypted, "/a", trust=daphne.trust) as client:
        client.send(frame(TEXT, b"hello"))
        wait_until(lambda: observed.connections["/a"].messages_in)
        observed.on_loop(observed.connections["/a"].probe.look)
        sending(close_frame())(client)
    observed.wait_for_ends(1)
    assert {"/a": [("1000", "client", "normal")]} == observed.closes()
    assert 0 < observed.connections["/a"].wire_in


def test_queue_of_the_application_is_counted(daphne: Daphne, observe: Observe) -> None:
    """It has no bound."""
    app = Stepped()
    observed = observe({"/a": app})
    with connected(daphne.address, "/a") as client:
        probe: Probe = observed.connections["/a"].probe
        for _ in range(30):
            client.send(frame(TEXT, b"hello"))
        wait_until(lambda: observed.on_loop(probe.queue) == 30)
        assert not observed.on_loop(probe.is_paused)
        app.permits.release(31)
        wait_until(lambda: observed.on_loop(probe.queue) == 0)
        sending(close_frame())(client)
        observed.wait_for_ends(1)


def accepting(offers: Any) -> Any:
    """Agree to what a client offers first."""
    return PerMessageDeflateOfferAccept(offers[0])  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("accept", [None, accepting])
def test_compression_is_what_was_agreed(accept: Any, daphne: Daphne, observe: Observe) -> None:
    """daphne itself agrees to none."""
    observed = observe({"/a": listening})
    factory = daphne.server.ws_factory
    original = factory.perMessageCompressionAccept
    if accept:
        factory.perMessageCompressionAccept = accept
    try:
        with connected(
            daphne.address, "/a", "Sec-WebSocket-Extensions: permessage-deflate"
        ) as client:
            sending(close_frame())(client)
        observed.wait_for_ends(1)
    finally:
        factory.perMessageCompressionAccept = original
    assert ("permessage-deflate" if accept else "") == observed.connections["/a"].compression


def test_servers_object_is_left_as_it_was(daphne: Daphne, observe: Observe) -> None:
    """Its class, and nothing of ours."""
    from daphne.ws_protocol import WebSocketProtocol  # type: ignore[import-untyped]

    observed = observe({"/a": listening})
    with connected(daphne.address, "/a") as client:
        protocol = observed.connections["/a"].probe.server
        seen = type(protocol)
        sending(close_frame())(client)
        observed.wait_for_ends(1)
    assert (WebSocketProtocol, False) == (type(protocol), "ws_probe" in vars(protocol))
    assert seen is not WebSocketProtocol
    assert repr(seen) == repr(WebSocketProtocol)


def test_probe_that_fails_harms_no_connection(
    daphne: Daphne,
    observe: Observe,
    registry: CollectorRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is reported, and the connection ends as the server ends it."""

    def fail(*_: Any) -> Any:
        raise LookupError("the server has changed")

    for method in ("freeze", "is_server_ping", "paused_time"):
        monkeypatch.setattr(DaphneProbe, method, fail)
    observed = observe({"/a": listening}, look_interval=0)
    with connected(daphne.address, "/a") as client:
        observed.on_loop(observed.connections["/a"].probe.server._sendAutoPing)
        client.read_until(b"\x89")
        sending(close_frame())(client)
        wait_until(lambda: observed.closes())
    assert 1000 == client.close_code
    assert {"/a": [("1000", "client", "normal")]} == observed.closes()
    assert 1 <= (sample(registry, "ws_observe_errors_total", part="probe") or 0)


def by_hand(server: Any) -> Any:
    """Return a probe of what stands for a server's object, without a record."""
    nothing: Any = None
    return DaphneProbe(nothing, nothing, server, nothing)


def test_transport_of_another_kind_has_no_buffer_to_see() -> None:
    """Such as one that Twisted may have some day."""
    probe = by_hand(SimpleNamespace(transport=object()))
    probe._use_transport()
    assert (None, False) == (probe.write_buffer(), probe.peer_is_gone())


@pytest.mark.parametrize(
    ("sent", "cause", "expected"),
    [
        (None, "", "server_shutdown"),
        ((4000, ""), "", ""),
        (None, "too_big", "too_big"),
        ((4000, ""), "too_big", "too_big"),
    ],
)
def test_reactor_that_stops_ends_what_is_open(
    sent: Any, cause: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if it had been lost; what had begun before stays."""
    monkeypatch.setitem(sys.modules, "twisted.internet.reactor", SimpleNamespace(_stopped=True))
    probe = by_hand(SimpleNamespace())
    probe.sent, probe.cause = sent, cause
    probe.lost_for(ConnectionError())
    assert (expected, "") == (probe.cause, probe.lost_by)


def test_server_that_pings_without_a_timeout_ends_nobody() -> None:
    """It is no heartbeat then."""
    for interval, timeout, expected in ((20, 30, 20.0), (20, 0, None), (0, 30, None)):
        server = SimpleNamespace(
            server=SimpleNamespace(ping_interval=interval), autoPingTimeout=timeout
        )
        assert expected == by_hand(server).server_heartbeat
