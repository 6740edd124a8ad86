"""Gauges from live tables: what is there now, also while somebody changes it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from engineio import packet
from prometheus_client import CollectorRegistry

from tests.socketio.conftest import Make
from tests.socketio.peers import Peer
from tests.support import sample, total


async def test_connections_are_told_by_transport_and_namespace(
    make: Make, registry: CollectorRegistry
) -> None:
    """One client can be in several namespaces."""
    sio = make(namespaces=["/", "/chat"])
    first, second = await Peer.join(sio), await Peer.join(sio)
    await first.connect("/chat")
    first.session.upgraded = True

    found = {
        (namespace, transport): sample(
            registry, "socketio_connections_active", namespace=namespace, transport=transport
        )
        for namespace in ("/", "/chat")
        for transport in ("polling", "websocket")
    }
    expected = {
        ("/", "polling"): 1,
        ("/", "websocket"): 1,
        ("/chat", "polling"): 0,
        ("/chat", "websocket"): 1,
    }
    assert expected == found
    await second.leave()
    assert 2 == total(registry, "socketio_connections_active")


async def test_client_whose_transport_is_gone_is_an_orphan(
    make: Make, registry: CollectorRegistry
) -> None:
    """Its session is closed, or not there any more."""
    sio = make()
    first, second = await Peer.join(sio), await Peer.join(sio)
    first.session.closed = True
    del sio.eio.sockets[second.eio_sid]
    assert 2 == sample(registry, "socketio_orphan_sids", namespace="/")
    assert 0 == total(registry, "socketio_connections_active")


async def test_rooms_are_told_by_size(make: Make, registry: CollectorRegistry) -> None:
    """Number, members and the largest; a client's own room is none."""
    sio = make()
    peers = [await Peer.join(sio) for _ in range(4)]
    for place, peer in enumerate(peers):
        await sio.enter_room(peer.sids["/"], "room:big")
        if place < 2:
            await sio.enter_room(peer.sids["/"], "room:small")
    found = [
        sample(registry, name, namespace="/", category="room:{id}")
        for name in ("socketio_rooms", "socketio_room_members", "socketio_room_size")
    ]
    assert [2, 6, 4] == found


async def test_queues_are_told_by_depth(make: Make, registry: CollectorRegistry) -> None:
    """All together, and the one with the most."""
    sio = make()
    peers = [await Peer.join(sio) for _ in range(2)]
    for peer in peers:
        peer.all()
    for peer, number in zip(peers, (2, 5), strict=True):
        for _ in range(number):
            await peer.session.send(packet.Packet(packet.MESSAGE, "x"))
    assert (7, 5) == (
        sample(registry, "engineio_queue_depth"),
        sample(registry, "engineio_queue_depth_max"),
    )


async def test_several_servers_add_up(make: Make, registry: CollectorRegistry) -> None:
    """Of one registry; the largest room is the largest of all."""
    for number in (1, 3):
        sio = make()
        for _ in range(number):
            peer = await Peer.join(sio)
            await sio.enter_room(peer.sids["/"], "room:1")
    assert 4 == total(registry, "socketio_connections_active")
    assert (2, 4, 3) == (
        total(registry, "socketio_rooms"),
        total(registry, "socketio_room_members"),
        total(registry, "socketio_room_size"),
    )
    assert None is sample(registry, "socketio_bus_listener_up")


async def test_clients_that_vanished_silently_are_forgotten(
    make: Make, registry: CollectorRegistry
) -> None:
    """The library's table is the truth: what it lost is not kept here for ever."""
    sio = make()
    kept, lost = await Peer.join(sio), await Peer.join(sio)
    sio.manager.basic_disconnect(lost.sids["/"], "/")
    registry.collect()
    assert 1 == total(registry, "socketio_connections_active")
    assert 0 == total(registry, "socketio_disconnects_total")
    await kept.leave()
    assert 1 == total(registry, "socketio_disconnects_total")


async def test_scrapes_from_a_thread_survive_changes(
    make: Make, registry: CollectorRegistry
) -> None:
    """A table that changes while it is read is read again."""
    sio = make()
    stop = threading.Event()
    failures: list[BaseException] = []

    def scrape() -> None:
        while not stop.is_set():
            try:
                total(registry, "socketio_connections_active")
            except BaseException as error:
                failures.append(error)

    reader = threading.Thread(target=scrape)
    reader.start()
    try:
        for number in range(300):
            peer = await Peer.join(sio)
            await sio.enter_room(peer.sids["/"], f"room:{number}")
            if number % 2:
                await peer.leave()
    finally:
        stop.set()
        reader.join()
    assert [] == failures
    assert 0 == sample(registry, "ws_observe_errors_total", part="socketio")


@pytest.mark.parametrize("failure", [RuntimeError, LookupError])
async def test_table_that_cannot_be_read_is_left_out(
    make: Make, registry: CollectorRegistry, failure: type[Exception]
) -> None:
    """A scrape shows the rest, and what failed is counted unless it was just a change."""

    class Changing(dict[str, Any]):
        def items(self) -> Any:
            raise failure

    sio = make()
    sio.manager.rooms = Changing()
    assert 0 == total(registry, "socketio_connections_active")
    errors = sample(registry, "ws_observe_errors_total", part="socketio") or 0
    assert (failure is LookupError) == (errors > 0)


async def test_room_that_is_closed_meanwhile_is_left_out(
    make: Make, registry: CollectorRegistry
) -> None:
    """Whoever reads from another thread may come too late."""

    class Closing(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return None if key == "room:1" else super().get(key, default)

    sio = make()
    peer = await Peer.join(sio)
    await sio.enter_room(peer.sids["/"], "room:1")
    sio.manager.rooms["/"] = Closing(sio.manager.rooms["/"])
    assert 0 == total(registry, "socketio_rooms")
    assert 1 == total(registry, "socketio_connections_active")
