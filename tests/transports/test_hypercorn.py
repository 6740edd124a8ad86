"""hypercorn over HTTP/1.1 and HTTP/2, in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import perf_counter
from types import SimpleNamespace
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, ResponseReceived
from hypercorn.asyncio import serve
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.config import Config
from hypercorn.protocol.ws_stream import WSStream
from prometheus_client import CollectorRegistry

from asgi_ws_observe.probe import Probe
from tests.servers.raw import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    RawClient,
    close_frame,
    first_frame,
    frame,
)
from tests.support import sample, wait_until
from tests.transports import (
    Observed,
    Stepped,
    closing,
    closing_when_told,
    connected,
    finishing,
    flooding,
    hesitating,
    listening,
    raising,
    reading,
    rejecting,
    returning,
    sending,
)


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """Serve an application on a free port of the loopback and yield its ``host:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.errorlog = None
    for name, value in ({"graceful_timeout": 5} | options).items():
        setattr(config, name, value)
    stops: list[Callable[[], Any]] = []

    async def run() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        stops.append(lambda: loop.call_soon_threadsafe(stop.set))
        # It raises this where a connection outlives its patience.
        with suppress(asyncio.CancelledError):
            await serve(app, config, shutdown_trigger=stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        yield address
    finally:
        wait_until(lambda: stops)
        stops[0]()
        thread.join(15)
        assert not thread.is_alive()


#: Path -> what the application does, what the client does, and how that ends.
ENDS: dict[str, tuple[Any, Callable[[RawClient], None], tuple[str, str, str]]] = {
    "/close": (listening, sending(close_frame(1000)), ("1000", "client", "normal")),
    "/empty": (listening, sending(close_frame(None)), ("1005", "client", "normal")),
    "/reset": (listening, RawClient.reset, ("1006", "network", "tcp_reset")),
    "/finish": (listening, finishing, ("1006", "network", "eof")),
    "/big": (listening, sending(frame(BINARY, bytes(2000))), ("1009", "server", "too_big")),
    "/text": (listening, sending(frame(TEXT, b"\xff")), ("1006", "server", "bad_data")),
    "/opcode": (listening, sending(frame(7, b"")), ("1006", "server", "protocol_error")),
    "/closing": (closing, RawClient.read_to_end, ("4xxx", "server", "application")),
    # It sends 1011 for an application that did not close.
    "/returning": (returning, RawClient.read_to_end, ("1011", "server", "no_close")),
    "/raising": (raising, RawClient.read_to_end, ("1011", "server", "handler_error")),
}


def test_every_end_is_told_as_it_was(registry: CollectorRegistry) -> None:
    """Though the application is told 1006 whatever happens."""
    observed = Observed({path: app for path, (app, *_) in ENDS.items()}, registry)
    with serving(observed.app, websocket_max_message_size=1000) as address:
        for path, (_, act, _) in ENDS.items():
            with connected(address, path) as client:
                act(client)
        observed.wait_for_ends(len(ENDS))
    assert {path: [end] for path, (*_, end) in ENDS.items()} == observed.closes()


def test_what_is_there_when_the_server_stops(registry: CollectorRegistry) -> None:
    """It waits for a while, and then closes what is still open."""
    observed = Observed({"/open": listening, "/gone": hesitating, "/no": rejecting}, registry)
    with serving(observed.app, graceful_timeout=0.1) as address:
        refused = RawClient(address, "/no")
        refused.read_to_end()
        refused.close()
        gone = RawClient(address, "/gone")
        wait_until(lambda: "/gone" in observed.connections)
        gone.reset()
        observed.wait_for_ends(2)
        client = RawClient(address, "/open")
        client.opened()
    observed.wait_for_ends(3)
    client.close()
    assert [("server", "server_shutdown")] == [each[1:] for each in observed.closes()["/open"]]
    assert {"/no": ["rejected"], "/gone": ["abandoned"]} == observed.failures()


@pytest.mark.parametrize(
    ("options", "settings"),
    [({"websocket_ping_interval": 0.1}, {}), ({}, {"heartbeat_interval": 0.1})],
    ids=["the server's", "our own"],
)
def test_pings_are_measured(options: Any, settings: Any, registry: CollectorRegistry) -> None:
    """Each answer is a round trip; a pong that answers nothing is none."""
    observed = Observed({"/a": listening}, registry, **settings)
    with serving(observed.app, **options) as address, connected(address, "/a") as client:
        rtt = observed.numbers("/a").rtt
        client.pong(b"unsolicited")
        with reading(client):
            wait_until(lambda: sum(rtt.counts) >= 3)
        observed.wait_for_ends(1)
    assert {"/a": [("1000", "client", "normal")]} == observed.closes()
    # It pings, but ends nobody who does not answer.
    assert observed.connections["/a"].probe.server_heartbeat is None


def test_peer_that_answers_no_ping_is_ended(registry: CollectorRegistry) -> None:
    """With a close frame that says why."""
    observed = Observed(
        {"/a": listening},
        registry,
        heartbeat_interval=0.1,
        heartbeat_timeout=0.1,
        heartbeat_close=True,
    )
    with serving(observed.app) as address, connected(address, "/a", pongs=False) as client:
        client.read_to_end()
        observed.wait_for_ends(1)
    assert 1011 == client.close_code
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()


def test_close_that_the_peer_does_not_answer_stays_what_it_is(registry: CollectorRegistry) -> None:
    """The server would wait for ever."""
    observed = Observed(
        {"/a": closing_when_told},
        registry,
        heartbeat_interval=0.1,
        heartbeat_timeout=0.2,
        heartbeat_close=True,
    )
    with serving(observed.app) as address, connected(address, "/a") as client:
        client.send(frame(TEXT, b"close"))
        observed.wait_for_ends(1)
    assert {"/a": [("4xxx", "server", "application")]} == observed.closes()
    assert 0 == observed.numbers("/a").heartbeat_timeouts


def test_peer_that_reads_nothing_is_seen_and_aborted(registry: CollectorRegistry) -> None:
    """What waits for it is known; the handler that waits in `send()` is freed."""
    observed = Observed({"/a": flooding}, registry)
    with serving(observed.app) as address, connected(address, "/a"):
        connection = observed.connections["/a"]
        probe: Probe = connection.probe
        wait_until(lambda: connection.sending)
        wait_until(lambda: (observed.on_loop(probe.write_buffer) or 0) > 2**16)
        observed.on_loop(probe.look)
        assert 0 < connection.wire_in < connection.wire_out
        assert not observed.on_loop(probe.is_closing)
        unsent, aborted = observed.on_loop(lambda: (probe.write_buffer(), connection.abort()))
        observed.wait_for_ends(1)
        wait_until(lambda: not connection.sending)
    assert (True, unsent) == (aborted, connection.write_buffer)
    assert {"/a": [("1006", "server", "no_close")]} == observed.closes()


@pytest.mark.parametrize(
    ("offered", "expected"),
    [((), ""), (("Sec-WebSocket-Extensions: permessage-deflate",), "permessage-deflate")],
)
def test_compression_is_what_was_agreed(
    offered: Any, expected: str, registry: CollectorRegistry
) -> None:
    """Empty where the client did not offer it."""
    observed = Observed({"/a": listening}, registry)
    with serving(observed.app) as address:
        with connected(address, "/a", *offered) as client:
            sending(close_frame())(client)
        observed.wait_for_ends(1)
    assert expected == observed.connections["/a"].compression


QUEUE = 10


def test_round_trip_while_the_queue_is_full_is_kept_apart(registry: CollectorRegistry) -> None:
    """The server stops to read when the application has ten messages to take."""
    app = Stepped()
    observed = Observed({"/a": app}, registry, heartbeat_interval=0.1)
    with serving(observed.app) as address, connected(address, "/a") as client:
        connection, numbers = observed.connections["/a"], observed.numbers("/a")
        probe = connection.probe
        assert (0, False) == observed.on_loop(lambda: (probe.queue(), probe.is_paused()))
        for _ in range(QUEUE):
            client.send(frame(TEXT, b"hello"))
        wait_until(lambda: observed.on_loop(probe.queue) == QUEUE)
        assert not observed.on_loop(probe.is_paused)
        wait_until(lambda: probe.waiting)
        client.send(frame(TEXT, b"one more"))
        wait_until(lambda: observed.on_loop(probe.is_paused))
        client.read_until(probe._payload)
        wait_until(lambda: observed.on_loop(lambda: probe.paused_time(perf_counter())) > 0.02)
        app.permits.release(QUEUE + 1)
        wait_until(lambda: sum(numbers.rtt_paused.counts))
        wait_until(lambda: connection.messages_in == QUEUE + 1)
        assert (0, False) == observed.on_loop(lambda: (probe.queue(), probe.is_paused()))
        client.send(close_frame())
        app.permits.release()
        client.read_to_end()
        observed.wait_for_ends(1)
    assert {"/a": [("1000", "client", "normal")]} == observed.closes()


def test_queue_of_another_kind_still_works(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As trio's, which cannot be asked whether it is full."""
    spawn_app = TaskGroup.spawn_app

    async def spawn(*arguments: Any) -> Any:
        put = await spawn_app(*arguments)
        return lambda message: put(message)

    monkeypatch.setattr(TaskGroup, "spawn_app", spawn)
    observed = Observed({"/a": listening}, registry)
    with serving(observed.app) as address:
        with connected(address, "/a") as client:
            client.send(frame(TEXT, b"hello"))
            wait_until(lambda: observed.connections["/a"].messages_in)
            assert observed.on_loop(observed.connections["/a"].probe.queue) is None
            sending(close_frame())(client)
        observed.wait_for_ends(1)
    assert {"/a": [("1000", "client", "normal")]} == observed.closes()


def test_servers_object_is_left_as_it_was(registry: CollectorRegistry) -> None:
    """Its class, and the events and the queue that were listened to."""
    observed = Observed({"/a": listening}, registry)
    with serving(observed.app) as address:
        with connected(address, "/a") as client:
            client.send(frame(TEXT, b"hello"))
            wait_until(lambda: observed.connections["/a"].messages_in)
            stream = observed.connections["/a"].probe.server
            assert WSStream is not type(stream)
            sending(close_frame())(client)
        observed.wait_for_ends(1)
    assert WSStream is type(stream)
    assert "ws_probe" not in vars(stream)
    assert "events" not in vars(stream.connection)
    put: Any = stream.app_put
    assert isinstance(put.__self__, asyncio.Queue)


def test_probe_that_fails_harms_no_connection(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server cannot be asked for is missing, and reported."""

    def fail(*_: Any) -> Any:
        raise LookupError("the server has changed")

    monkeypatch.setattr("asgi_ws_observe.transports.hypercorn.HypercornProbe._watching", fail)
    monkeypatch.setattr("asgi_ws_observe.transports.hypercorn.HypercornProbe._freeze", fail)
    observed = Observed({"/a": listening}, registry)
    with serving(observed.app) as address:
        with connected(address, "/a") as client:
            client.send(frame(TEXT, b"hello"))
            wait_until(lambda: observed.connections["/a"].messages_in)
            sending(close_frame())(client)
        wait_until(lambda: observed.closes())
    assert 1000 == client.close_code
    assert 1 <= (sample(registry, "ws_observe_errors_total", part="probe") or 0)
    assert 1 == len(observed.closes()["/a"])


class H2Client:
    """A WebSocket over HTTP/2 (RFC 8441), in clear text.

    Attributes:
        frames: What came: opcodes and payloads.
        pongs: Whether it answers pings while it reads.
        status: That of the handshake's answer, empty before.
    """

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.partition(":")
        self._socket = socket.create_connection((host, int(port)), 10)
        self._connection = H2Connection(H2Configuration(header_encoding="utf-8"))
        self._connection.initiate_connection()
        self._stream = self._connection.get_next_available_stream_id()
        self._unparsed = b""
        self.frames: list[tuple[int, bytes]] = []
        self.pongs = True
        self.status = ""
        self._connection.send_headers(
            self._stream,
            [
                (":method", "CONNECT"),
                (":protocol", "websocket"),
                (":scheme", "http"),
                (":path", path),
                (":authority", "example.org"),
                ("sec-websocket-version", "13"),
            ],
        )
        self._flush()

    def _flush(self) -> None:
        self._socket.sendall(self._connection.data_to_send())

    def send(self, data: bytes) -> None:
        """Send one frame."""
        self._connection.send_data(self._stream, data)
        self._flush()

    def read_until(self, condition: Callable[[], object]) -> None:
        """Read until something holds; answer pings."""
        while not condition():
            for event in self._connection.receive_data(self._socket.recv(65536)):
                if isinstance(event, ResponseReceived):
                    self.status = str(dict[Any, Any](event.headers)[":status"])
                elif isinstance(event, DataReceived):
                    self._unparsed += event.data
            self._flush()
            while parsed := first_frame(self._unparsed):
                opcode, payload, self._unparsed = parsed
                self.frames.append((opcode, payload))
                if opcode == PING and self.pongs:
                    self.send(frame(PONG, payload))

    def close(self) -> None:
        """End the TCP connection."""
        self._socket.close()


@pytest.mark.parametrize("path", ["/client", "/server"])
def test_websocket_over_http2_is_seen_without_its_tcp_connection(
    path: str, registry: CollectorRegistry
) -> None:
    """Others share it, so that it is neither measured nor aborted; the rest is as ever."""
    observed = Observed(
        {"/client": listening, "/server": closing_when_told},
        registry,
        heartbeat_interval=0.1,
        look_interval=0.01,
    )
    with serving(observed.app) as address:
        client = H2Client(address, path)
        client.read_until(lambda: client.status)
        connection = observed.connections[path]
        assert "200" == client.status
        client.read_until(lambda: sum(observed.numbers(path).rtt.counts) >= 2)
        probe: Probe = connection.probe
        wait_until(lambda: connection.numbers.look.queue_in is not None)
        assert connection.numbers.look.buffer is None
        assert not observed.on_loop(connection.abort)
        assert not observed.on_loop(probe.peer_is_gone)
        # hypercorn fails over anything that comes for a stream which it has just ended.
        client.pongs = False
        client.send(close_frame(1000) if path == "/client" else frame(TEXT, b"close"))
        client.read_until(lambda: CLOSE in dict(client.frames))
        observed.wait_for_ends(1)
        client.close()
    end = ("1000", "client", "normal") if path == "/client" else ("4xxx", "server", "application")
    assert {path: [end]} == observed.closes()
    assert (0, None) == (connection.wire_in, connection.write_buffer)


def test_peer_over_http2_that_answers_no_ping_is_told(registry: CollectorRegistry) -> None:
    """Its stream is closed; the TCP connection, which others share, stays."""
    observed = Observed(
        {"/a": listening},
        registry,
        heartbeat_interval=0.1,
        heartbeat_timeout=0.1,
        heartbeat_close=True,
    )
    with serving(observed.app) as address:
        client = H2Client(address, "/a")
        wait_until(lambda: "/a" in observed.connections)
        wait_until(lambda: observed.numbers("/a").heartbeat_timeouts)
        client.read_until(lambda: CLOSE in dict(client.frames))
        client.send(close_frame(1011))
        observed.wait_for_ends(1)
        client.close()
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()


def test_stream_without_a_protocol_is_read_as_http2_is() -> None:
    """What hypercorn's classes hold on to may change."""
    from asgi_ws_observe.transports.hypercorn import HypercornProbe

    for stream in (SimpleNamespace(send=None), SimpleNamespace(send=[].append)):
        probe: Any = HypercornProbe(*(None, None, stream, None))
        assert probe.find_transport() is None
