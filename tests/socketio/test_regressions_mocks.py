"""Applications whose tests put mocks, and values of any kind, where the library has its own."""

from __future__ import annotations

from unittest import mock

import socketio
from prometheus_client import CollectorRegistry

from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import total


def test_mocked_engine_leaves_the_server_as_it_is(make: Make, registry: CollectorRegistry) -> None:
    """A mock in the place of a class is none that anything can be an instance of."""
    with mock.patch("socketio.server.engineio.AsyncServer"):
        server = make(server=socketio.AsyncServer())
        handler = mock.Mock()
        server.on("connect", handler)
    assert {"connect": handler} == server.handlers["/"]
    assert 0 == total(registry, "ws_observe_errors_total", part="socketio")


async def test_mocked_ack_ids_are_given_the_callback_itself(make: Make) -> None:
    """What an application, or its tests, put in the place of a manager's method sees the same."""
    server = make()
    peer = await Peer.join(server)
    callback = mock.Mock()
    server.manager._generate_ack_id = mock.Mock(return_value=7)
    await server.emit("question", to=peer.sids["/"], callback=callback)
    server.manager._generate_ack_id.assert_called_once_with(peer.sids["/"], callback)


def test_packet_class_is_equal_to_that_which_was_given(make: Make) -> None:
    """By which an application can tell what it has configured."""

    class Own(socketio.packet.Packet):
        pass

    assert Own == make(serializer=Own).packet_class
    assert socketio.packet.Packet == make().packet_class
    assert make().packet_class not in (Own, None)
    assert 1 == len({make().packet_class, make().packet_class, socketio.packet.Packet})


async def test_life_on_a_mocked_engine_is_counted(make: Make, registry: CollectorRegistry) -> None:
    """Whatever stands for sessions and environments there."""
    mocked = mock.AsyncMock(sockets=mock.MagicMock(), generate_id=mock.Mock(return_value="1"))
    mocked.on = mocked.start_background_task = mock.Mock()
    with mock.patch("socketio.server.engineio.AsyncServer", return_value=mocked):
        server = make(server=socketio.AsyncServer(async_handlers=False))
    server.on("connect", mock.Mock())
    await server._handle_eio_connect("123", "environ")
    await server._handle_eio_message("123", "0")
    await server._handle_eio_disconnect("123", "transport close")
    assert 1 == total(registry, "socketio_connects_total", outcome="accepted")
    assert 1 == total(registry, "socketio_disconnects_total", reason="transport_close")
    assert 0 == total(registry, "ws_observe_errors_total", part="socketio")
