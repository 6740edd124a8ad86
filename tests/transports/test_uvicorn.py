"""uvicorn's three implementations on both event loops, in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from uvicorn.config import WS_PROTOCOLS
from uvicorn.importer import import_from_string

from asgi_ws_observe.probe import Probe
from asgi_ws_observe.transports import uvicorn as module
from tests.servers.harness import IMPLEMENTATIONS, serving
from tests.servers.raw import BINARY, TEXT, RawClient, close_frame, frame
from tests.support import wait_until
from tests.transports import (
    Observed,
    Stepped,
    authority,
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

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The `websockets` implementation is deprecated"),
]
every_implementation = pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
every_loop = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


#: Path -> what the application does, what the client does, and how that ends.
ENDS: dict[str, tuple[Any, Callable[[RawClient], None], tuple[str, str, str]]] = {
    "/close": (listening, sending(close_frame(1000)), ("1000", "client", "normal")),
    "/empty": (listening, sending(close_frame(None)), ("1005", "client", "normal")),
    "/reset": (listening, RawClient.reset, ("1006", "network", "tcp_reset")),
    "/finish": (listening, finishing, ("1006", "network", "eof")),
    "/big": (listening, sending(frame(BINARY, bytes(2000))), ("1009", "server", "too_big")),
    "/text": (listening, sending(frame(TEXT, b"\xff")), ("1007", "server", "bad_data")),
    "/opcode": (listening, sending(frame(7, b"")), ("1002", "server", "protocol_error")),
    "/closing": (closing, RawClient.read_to_end, ("4xxx", "server", "application")),
    "/returning": (returning, RawClient.read_to_end, ("1006", "server", "no_close")),
    "/raising": (raising, RawClient.read_to_end, ("1006", "server", "handler_error")),
}


@every_implementation
@every_loop
def test_every_end_is_told_as_it_was(
    implementation: str, loop: str, registry: CollectorRegistry
) -> None:
    """Close frames with their authors, and what ended a connection that had none."""
    observed = Observed({path: app for path, (app, *_) in ENDS.items()}, registry)
    with serving(observed.app, implementation, loop=loop, ws_max_size=1000) as address:
        for path, (_, act, _) in ENDS.items():
            client = RawClient(address, path)
            client.read_until(b"\r\n\r\n")
            act(client)
            client.close()
        observed.wait_for_ends(len(ENDS))
    expected = {path: [end] for path, (*_, end) in ENDS.items()}
    if implementation == "wsproto":
        # It fails a connection without a close frame.
        for path in ("/text", "/opcode"):
            expected[path] = [("1006", *expected[path][0][1:])]
    assert expected == observed.closes()


@every_implementation
@every_loop
def test_what_is_there_when_the_server_stops(
    implementation: str, loop: str, registry: CollectorRegistry
) -> None:
    """An open connection is closed with 1012; who waits for the handshake's answer gets 500."""
    apps = {"/open": listening, "/hesitating": hesitating, "/gone": hesitating, "/no": rejecting}
    observed = Observed(apps, registry)
    with serving(observed.app, implementation, loop=loop) as address:
        refused = RawClient(address, "/no")
        refused.read_to_end()
        gone = RawClient(address, "/gone")
        wait_until(lambda: "/gone" in observed.connections)
        gone.reset()
        observed.wait_for_ends(2)
        client, waiting = RawClient(address, "/open"), RawClient(address, "/hesitating")
        client.opened()
        wait_until(lambda: len(observed.connections) == 4)
        handshake = observed.connections["/hesitating"]
        assert not observed.on_loop(handshake.abort)
        reader = threading.Thread(target=client.read_to_end)
        reader.start()
    reader.join(15)
    observed.wait_for_ends(4)
    for each in (refused, client, waiting):
        each.close()
    assert 1012 == client.close_code
    assert {"/open": [("1012", "server", "server_shutdown")]} == observed.closes()
    failures = {"/no": ["rejected"], "/gone": ["abandoned"], "/hesitating": ["cancelled"]}
    assert failures == observed.failures()


@every_implementation
def test_servers_own_pings_are_measured(implementation: str, registry: CollectorRegistry) -> None:
    """Each answer is a round trip; a pong that answers nothing is none."""
    observed = Observed({"/a": listening}, registry)
    options: dict[str, Any] = {"ws_ping_interval": 0.1, "ws_ping_timeout": 20.0}
    with (
        serving(observed.app, implementation, **options) as address,
        connected(address, "/a") as client,
    ):
        rtt = observed.numbers("/a").rtt
        client.pong(b"unsolicited")
        with reading(client):
            wait_until(lambda: sum(rtt.counts) >= 3)
        observed.wait_for_ends(1)
    assert 0 < rtt.sum


@every_implementation
def test_peer_that_answers_no_ping_of_the_server(
    implementation: str, registry: CollectorRegistry
) -> None:
    """The end is the network's, though the server sends a close frame; the ping is counted."""
    observed = Observed({"/a": listening}, registry)
    options: dict[str, Any] = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.1}
    with (
        serving(observed.app, implementation, **options) as address,
        connected(address, "/a", pongs=False) as client,
    ):
        client.read_to_end()
        client.close()
        observed.wait_for_ends(1)
    assert 1011 == client.close_code
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()
    assert 1 == observed.numbers("/a").heartbeat_timeouts


@every_implementation
def test_own_pings_are_measured(implementation: str, registry: CollectorRegistry) -> None:
    """Where the server does not ping, or more rarely than wanted."""
    observed = Observed({"/a": listening}, registry, heartbeat_interval=0.1)
    with (
        serving(observed.app, implementation, ws_ping_interval=20.0) as address,
        connected(address, "/a") as client,
    ):
        rtt = observed.numbers("/a").rtt
        client.pong(b"unsolicited")
        with reading(client):
            wait_until(lambda: sum(rtt.counts) >= 3)
        observed.wait_for_ends(1)
    assert 3 <= client.got.count(b"wso\0")
    assert 0 == observed.numbers("/a").heartbeat_timeouts


@every_implementation
def test_peer_that_answers_no_ping_of_our_own_is_ended(
    implementation: str, registry: CollectorRegistry
) -> None:
    """With the close frame that the server itself would send."""
    observed = Observed(
        {"/a": listening},
        registry,
        heartbeat_interval=0.1,
        heartbeat_timeout=0.1,
        heartbeat_close=True,
    )
    with (
        serving(observed.app, implementation, ws_ping_interval=None) as address,
        connected(address, "/a", pongs=False) as client,
    ):
        client.read_to_end()
        client.close()
        observed.wait_for_ends(1)
    assert 1011 == client.close_code
    assert b"heartbeat timeout" in client.got
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()
    assert 1 == observed.numbers("/a").heartbeat_timeouts


@every_implementation
@every_loop
def test_peer_that_reads_nothing_is_seen_and_aborted(
    implementation: str, loop: str, registry: CollectorRegistry
) -> None:
    """What waits for it is known, at the end too; the handler that waits in `send()` is freed."""
    observed = Observed({"/a": flooding}, registry)
    with (
        serving(observed.app, implementation, loop=loop, ws_per_message_deflate=False) as address,
        connected(address, "/a"),
    ):
        connection = observed.connections["/a"]
        probe: Probe = connection.probe
        wait_until(lambda: (observed.on_loop(probe.write_buffer) or 0) > 2**16)
        wait_until(lambda: connection.sending)
        assert not observed.on_loop(probe.is_closing)
        observed.on_loop(probe.look)
        assert 0 < connection.wire_in < connection.wire_out
        unsent, aborted = observed.on_loop(lambda: (probe.write_buffer(), connection.abort()))
        observed.wait_for_ends(1)
        assert not observed.on_loop(connection.abort)
    assert {"/a": [("1006", "server", "no_close")]} == observed.closes()
    assert (True, unsent) == (aborted, connection.write_buffer)
    assert 0 == connection.sending


@every_implementation
def test_peer_that_reads_nothing_is_ended_by_the_heartbeat(
    implementation: str, registry: CollectorRegistry
) -> None:
    """The close frame cannot be written, so it is aborted."""
    observed = Observed(
        {"/a": flooding},
        registry,
        heartbeat_interval=0.1,
        heartbeat_timeout=0.2,
        heartbeat_close=True,
    )
    with (
        serving(observed.app, implementation, ws_ping_interval=None) as address,
        connected(address, "/a"),
    ):
        observed.wait_for_ends(1)
    assert {"/a": [("1006", "network", "ping_timeout")]} == observed.closes()


@every_implementation
def test_close_that_the_peer_does_not_answer_stays_what_it_is(
    implementation: str, registry: CollectorRegistry
) -> None:
    """The server has closed: no ping counts any more, and what does not end is aborted."""
    observed = Observed(
        {"/a": closing_when_told},
        registry,
        heartbeat_interval=0.1,
        heartbeat_timeout=0.5,
        heartbeat_close=True,
    )
    options: dict[str, Any] = {"ws_ping_interval": 0.1, "ws_ping_timeout": 0.2}
    with (
        serving(observed.app, implementation, **options) as address,
        connected(address, "/a", pongs=False) as client,
    ):
        client.read_until(b"\x89\x04")
        client.send(frame(TEXT, b"close"))
        observed.wait_for_ends(1)
    assert {"/a": [("4xxx", "server", "application")]} == observed.closes()
    assert 0 == observed.numbers("/a").heartbeat_timeouts


@every_implementation
def test_server_that_stops_while_a_close_has_no_answer(
    implementation: str, registry: CollectorRegistry
) -> None:
    """The first close decides."""
    observed = Observed({"/a": closing_when_told}, registry)
    with serving(observed.app, implementation) as address:
        client = RawClient(address, "/a")
        client.opened()
        client.send(frame(TEXT, b"close"))
        probe: Probe = observed.connections["/a"].probe
        wait_until(lambda: getattr(observed.on_loop(probe.ending), "sent", None))
    observed.wait_for_ends(1)
    client.close()
    assert {"/a": [("4xxx", "server", "application")]} == observed.closes()


def holds(seconds: float) -> None:
    """Wait until so much time has passed."""
    since = perf_counter()
    wait_until(lambda: perf_counter() > since + seconds)


@every_implementation
@pytest.mark.parametrize("late", [False, True])
def test_round_trip_while_the_server_reads_nothing_is_kept_apart(
    implementation: str, late: bool, registry: CollectorRegistry
) -> None:
    """Whether the ping is written before the server stops to read, or after."""
    app = Stepped()
    observed = Observed({"/a": app}, registry, heartbeat_interval=0.1)
    # One message fills the legacy implementation's queue; the others stop at one.
    options: dict[str, Any] = {"ws_ping_interval": None, "ws_max_queue": 1}
    full = 2 if implementation == "websockets" else 1
    with (
        serving(observed.app, implementation, **options) as address,
        connected(address, "/a") as client,
    ):
        connection, numbers = observed.connections["/a"], observed.numbers("/a")
        probe = connection.probe
        for times in range(1, 3):
            for number in range(full):
                if late and number == full - 1:
                    wait_until(lambda: probe.waiting)
                client.send(frame(TEXT, b"hello"))
            wait_until(lambda: observed.on_loop(probe.is_paused) and probe.waiting)
            assert 1 == observed.on_loop(probe.queue)
            client.read_until(probe._payload)
            holds(0.02)
            app.permits.release(full)
            wait_until(lambda: sum(numbers.rtt_paused.counts) >= times)  # noqa: B023
            wait_until(lambda: connection.messages_in == full * times)  # noqa: B023
        client.send(close_frame())
        app.permits.release()
        client.read_to_end()
        client.close()
        observed.wait_for_ends(1)
    assert 0.02 < numbers.rtt_paused.sum
    assert 0 == numbers.heartbeat_timeouts


@every_implementation
def test_pauses_during_one_round_trip_add_up(
    implementation: str, registry: CollectorRegistry
) -> None:
    """Several messages may come, alone or together, before the answer does."""
    app = Stepped()
    observed = Observed({"/a": app}, registry, heartbeat_interval=0.1)
    options: dict[str, Any] = {"ws_ping_interval": None, "ws_max_queue": 1}
    with (
        serving(observed.app, implementation, **options) as address,
        connected(address, "/a", pongs=False) as client,
    ):
        connection, numbers = observed.connections["/a"], observed.numbers("/a")
        wait_until(lambda: connection.probe.waiting)
        for times in range(1, 3):
            client.send(frame(TEXT, b"hello") + frame(TEXT, b"again"))
            wait_until(lambda: observed.on_loop(connection.probe.is_paused))
            holds(0.02)
            app.permits.release(2)
            wait_until(lambda: connection.messages_in == 2 * times)  # noqa: B023
        assert 0.04 < observed.on_loop(lambda: connection.probe.paused_time(perf_counter()))
        client.pong(connection.probe._payload)
        wait_until(lambda: sum(numbers.rtt_paused.counts))
        client.send(close_frame())
        app.permits.release()
        client.read_to_end()
        client.close()
        observed.wait_for_ends(1)
    assert 0 == sum(numbers.rtt.counts)


@every_implementation
def test_peer_that_left_while_the_server_read_nothing(
    implementation: str, registry: CollectorRegistry
) -> None:
    """The kernel knows it when the connection ends, though the server never saw it."""
    app = Stepped()
    observed = Observed({"/a": app}, registry)
    with (
        serving(observed.app, implementation, ws_max_queue=1) as address,
        connected(address, "/a") as client,
    ):
        probe = observed.connections["/a"].probe
        for _ in range(3):
            client.send(frame(TEXT, b"hello"))
        wait_until(lambda: observed.on_loop(probe.is_paused))
        assert not observed.on_loop(probe.peer_is_gone)
        client.finish()

        def is_known() -> bool:
            # `websockets` goes on reading, so that the server may know it first.
            return bool(probe.peer_is_gone() or probe.is_closing())

        wait_until(lambda: observed.on_loop(is_known))
        app.leave.set()
        observed.wait_for_ends(1)
    assert {"/a": [("1006", "network", "eof")]} == observed.closes()


@every_implementation
@pytest.mark.parametrize(
    ("offered", "agreed"), [((), ""), (("Sec-WebSocket-Extensions: permessage-deflate",),) * 2]
)
def test_compression_is_what_was_agreed(
    implementation: str, offered: Any, agreed: Any, registry: CollectorRegistry
) -> None:
    """Empty where the client did not offer it."""
    observed = Observed({"/a": listening}, registry)
    with serving(observed.app, implementation) as address:
        with connected(address, "/a", *offered) as client:
            sending(close_frame())(client)
        observed.wait_for_ends(1)
    expected = "permessage-deflate" if agreed else ""
    assert expected == observed.connections["/a"].compression


@every_implementation
@every_loop
def test_encrypted_connection_is_seen_as_well(
    implementation: str, loop: str, registry: CollectorRegistry, tmp_path: Path
) -> None:
    """What is encrypted already but not sent is known as well."""
    trust, pem = authority(tmp_path)
    observed = Observed({"/a": flooding, "/b": listening}, registry)
    with serving(observed.app, implementation, loop=loop, ssl_certfile=str(pem)) as address:
        with connected(address, "/b", trust=trust) as client:
            sending(close_frame())(client)
        with connected(address, "/a", trust=trust):
            connection = observed.connections["/a"]
            probe: Probe = connection.probe
            wait_until(lambda: (observed.on_loop(probe.write_buffer) or 0) > 2**16)
            unsent, aborted = observed.on_loop(lambda: (probe.write_buffer(), connection.abort()))
            observed.wait_for_ends(2)
    assert {
        "/a": [("1006", "server", "no_close")],
        "/b": [("1000", "client", "normal")],
    } == observed.closes()
    assert (True, unsent) == (aborted, connection.write_buffer)


# The opt-in class.

AUTO = "asgi_ws_observe.transports.uvicorn:Auto"


@pytest.fixture
def auto(implementation: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is given to uvicorn, which would itself choose this implementation."""
    cls = import_from_string(WS_PROTOCOLS[implementation])
    monkeypatch.setattr("uvicorn.protocols.websockets.auto.AutoWebSocketsProtocol", cls)
    return AUTO


def behind_queues(app: Any) -> Any:
    """Return an application that runs another one in a task of its own, behind queues."""

    async def forward(take: Any, give: Any) -> None:
        message = None
        while message is None or message["type"] != "websocket.disconnect":
            message = await take()
            await give(message)

    async def pump(scope: Any, receive: Any, send: Any) -> None:
        inbox: asyncio.Queue[Any] = asyncio.Queue()
        outbox: asyncio.Queue[Any] = asyncio.Queue()
        pumps = [
            asyncio.create_task(forward(receive, inbox.put)),
            asyncio.create_task(forward(outbox.get, send)),
        ]
        await asyncio.create_task(app(scope, inbox.get, outbox.put))
        for each in pumps:
            each.cancel()

    return pump


@every_implementation
@pytest.mark.parametrize("opted", [False, True])
def test_server_behind_queues_is_found_where_its_class_was_chosen(
    implementation: str, opted: bool, auto: str, registry: CollectorRegistry
) -> None:
    """Otherwise it is unknown, and ASGI's word is all there is."""
    observed = Observed({"/a": listening}, registry)
    app = behind_queues(observed.app)
    with serving(app, auto if opted else implementation, ws_ping_interval=0.1) as address:
        with connected(address, "/a") as client:
            probe = observed.connections["/a"].probe
            server = getattr(probe, "server", None)
            cls = type(server)
            if opted:
                with reading(client):
                    wait_until(lambda: sum(observed.numbers("/a").rtt.counts))
            else:
                sending(close_frame())(client)
        observed.wait_for_ends(1)
    assert ("unknown" if not opted else f"uvicorn-{implementation}") == probe.kind
    # Its class is its own, and the next connection's object tells nobody.
    assert cls is type(server)
    assert probe is not getattr(server, "ws_probe", None)
    assert {"/a": [("1000", "client", "normal")]} == observed.closes()


@every_implementation
@pytest.mark.parametrize("end", [finishing, RawClient.reset, sending(close_frame()), None])
def test_connection_that_is_not_observed_lives_as_ever(
    implementation: str, end: Any, auto: str, registry: CollectorRegistry
) -> None:
    """The chosen class has nobody to tell then, whatever happens."""
    observed = Observed({"/a": listening}, registry, excluded_paths=["/a"])
    left = threading.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await observed.app(scope, receive, send)
        if scope["type"] == "websocket":
            left.set()

    with serving(app, auto, ws_ping_interval=0.1, ws_ping_timeout=0.1) as address:
        client = RawClient(address, "/a", pongs=end is not None)
        client.read_until(b"\x89\x04")
        client.send(frame(TEXT, b"hello"))
        (end or RawClient.read_to_end)(client)
        client.close()
        assert left.wait(10)
    assert {} == observed.closes()
    assert 0 == sum(observed.store.own_errors.values())


@every_implementation
def test_open_connection_that_is_not_observed_is_shut_down(
    implementation: str, auto: str, registry: CollectorRegistry
) -> None:
    """With the server's close frame."""
    observed = Observed({"/a": listening}, registry, excluded_paths=["/a"])
    with serving(observed.app, auto) as address:
        client = RawClient(address, "/a")
        client.opened()
        reader = threading.Thread(target=client.read_to_end)
        reader.start()
    reader.join(15)
    client.close()
    assert 1012 == client.close_code


@pytest.mark.parametrize("implementation", ["websockets-sansio"])
@pytest.mark.parametrize("broken", [False, True])
def test_handshake_that_reaches_no_application_is_counted(
    broken: bool, auto: str, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer is the server's, whether or not the counting fails."""
    observed = Observed({"/a": listening}, registry)
    if broken:
        monkeypatch.setattr("asgi_ws_observe.transports.uvicorn.Connection", len)
    with serving(observed.app, auto) as address:
        client = RawClient(address, "/a?b=c", without="Sec-WebSocket-Key")
        client.read_to_end()
        client.close()
        if not broken:
            observed.wait_for_ends(1)
    assert 400 == client.status
    assert ({} if broken else {"/a": ["bad_request"]}) == observed.failures()
    assert broken == observed.store.own_errors["probe"]
    assert 0 == observed.store.live


def test_class_is_made_of_what_uvicorn_would_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none where nothing is installed that speaks the protocol, and no other name."""
    choice = "uvicorn.protocols.websockets.auto.AutoWebSocketsProtocol"
    assert issubclass(
        import_from_string(AUTO), import_from_string(choice.replace(".Auto", ":Auto"))
    )
    monkeypatch.setattr(choice, None)
    assert module.Auto is None
    with pytest.raises(AttributeError, match="Manual"):
        _ = module.Manual
