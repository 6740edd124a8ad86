"""Several nodes of the demo with a real Redis or NATS between them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.fanout.brokers import nats_server
from tests.fanout.redis_servers import RedisServer, single
from tests.support import wait_until
from tests.test_demo_browser import browser, enter, say
from tests.test_demo_cli import Demo, demo, run

__all__ = ["browser"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis."""
    with single(tmp_path / "redis") as each:
        yield each


@contextmanager
def nodes(*arguments: str) -> Iterator[tuple[Demo, Demo]]:
    """Run two nodes, which know each other, until the end of the block."""
    with demo("--node", "east", *arguments) as east, demo("--node", "west", *arguments) as west:
        wait_until(lambda: all(["east", "west"] == about(each)["nodes"] for each in (east, west)))
        yield east, west


def about(node: Demo) -> dict[str, Any]:
    """Return what a node says about itself."""
    found: dict[str, Any] = json.loads(node.get("/about"))
    return found


class Client:
    """Somebody in the lobby of a node."""

    def __init__(self, websocket: ClientConnection, name: str) -> None:
        self._websocket = websocket
        self.tell(type="join", name=name)

    def tell(self, **message: Any) -> None:
        """Send a message."""
        self._websocket.send(json.dumps(message))

    def hear(self, kind: str, when: Callable[[dict[str, Any]], Any] = bool) -> dict[str, Any]:
        """Return the next message of a kind that fits; skip the others."""
        while True:
            event: dict[str, Any] = json.loads(self._websocket.recv(timeout=20))
            if event["type"] == kind and when(event):
                return event

    def leave(self) -> None:
        """Close."""
        self._websocket.close()


@contextmanager
def client(node: Demo, name: str) -> Iterator[Client]:
    """Be in the lobby of a node until the end of the block."""
    with connect(f"{node.ws}/rooms/lobby") as websocket:
        yield Client(websocket, name)


def test_message_reaches_the_other_node(server: RedisServer) -> None:
    """It comes with its node's name; who is where is known everywhere, until their node dies."""
    with nodes("--redis", server.url) as (east, west):
        assert {"system": "redis", "up": True} == about(east)["bus"]
        with client(east, "Ada") as ada, client(west, "Grace") as grace:
            assert "east" == ada.hear("welcome")["node"]
            ada.hear("join", lambda event: {"Ada", "Grace"} == set(event["members"]))
            ada.tell(type="chat", text="hello")
            heard = grace.hear("chat")
            assert ("Ada", "hello", "east") == (heard["name"], heard["text"], heard["node"])
            assert "hello" == ada.hear("chat")["text"]
            assert {"lobby": 2} == {key: n for key, n in about(west)["rooms"].items() if n}

            with connect(f"{west.ws}/rooms/lobby") as taken:
                taken.send(json.dumps({"type": "join", "name": "Ada"}))
                with pytest.raises(Exception, match="4002"):
                    taken.recv(timeout=20)

            west.end(signal.SIGKILL)
            assert ["Ada"] == ada.hear("members")["members"]
        wait_until(lambda: about(east)["nodes"] == ["east"])


def test_chat_outlives_the_redis(server: RedisServer) -> None:
    """While Redis is away each node talks to itself and says so; then all hear each other again."""
    with (
        nodes("--redis", server.url) as (east, west),
        client(east, "Ada") as ada,
        client(west, "Grace") as grace,
    ):
        grace.hear("welcome")
        server.kill()
        wait_until(lambda: not about(east)["bus"]["up"])
        ada.tell(type="chat", text="anybody?")
        assert "anybody?" == ada.hear("chat")["text"]
        assert "The bus is down: only this node heard that." == ada.hear("notice")["text"]

        server.start()
        wait_until(lambda: about(east)["bus"]["up"] and about(west)["bus"]["up"], 20)
        ada.tell(type="chat", text="again")
        assert "again" == grace.hear("chat")["text"]
        grace.tell(type="chat", text="here")
        assert "here" == ada.hear("chat", lambda event: event["node"] == "west")["text"]
        assert east.events("ws_fanout_down")
        assert not east.events("ws_close")
        assert not west.events("ws_close")


def test_node_starts_without_its_redis(tmp_path: Path) -> None:
    """It works alone, says in its log and on its page that the bus is down, and finds it later."""
    with single(tmp_path / "redis") as server:
        server.kill()
        with demo("--redis", server.url) as node, client(node, "Ada") as ada:
            assert not about(node)["bus"]["up"]
            assert node.events("ws_fanout_down")
            ada.tell(type="chat", text="alone")
            ada.hear("notice")
            server.start()
            wait_until(lambda: about(node)["bus"]["up"], 20)


def test_trace_goes_over_the_broker(server: RedisServer) -> None:
    """The speaker's message, the publishing and both nodes' deliveries are one trace."""
    with nodes("--redis", server.url, "--spans", "console") as (east, west):
        with client(east, "Ada") as ada, client(west, "Grace") as grace:
            trace = ada.hear("welcome")["trace"]
            ada.hear("join")
            ada.tell(type="chat", text="hello")
            grace.hear("chat")

        def found(node: Demo) -> set[tuple[str, int]]:
            spans = [json.loads(line) for line in list(node.printed) if line.startswith("{")]
            return {
                (span["name"], span["attributes"]["ws.fanout.recipients"])
                for span in spans
                if span["name"] == "ws.deliver" and span["context"]["trace_id"] == f"0x{trace}"
            }

        # Ada's own join goes to nobody on her node; west had nobody yet.
        wait_until(lambda: ("ws.deliver", 1) in found(east) & found(west), 30)
        names = {json.loads(line)["name"] for line in west.printed if line.startswith("{")}
        # Who is there is said every two seconds, without a span.
        assert {"ws.deliver", "redis.publish"} <= names
        assert not [line for line in west.printed if "demo_app.presence" in line]


def test_load_adds_the_nodes_up(server: RedisServer) -> None:
    """What clients of both nodes counted is what both /metrics show, and the bus lost nothing."""
    with nodes("--redis", server.url) as (east, west):
        urls = ["--url", east.ws, "--url", west.ws]
        done = run("load", *urls, "--clients", "24", "--seconds", "3")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "each delivered by 2" in done.stdout


def test_nats_carries_the_chat_as_well() -> None:
    """The same over NATS."""
    with nats_server() as server, nodes("--nats", server.url) as (east, west):
        assert {"system": "nats", "up": True} == about(east)["bus"]
        with client(east, "Ada") as ada, client(west, "Grace") as grace:
            ada.hear("join")
            grace.tell(type="chat", text="hello")
            assert "west" == ada.hear("chat")["node"]


def test_page_shows_node_and_bus(browser: Any, server: RedisServer) -> None:
    """The page names its node, where a message came from, and whether the bus is up."""
    with nodes("--redis", server.url) as (east, west):
        ada, grace = enter(browser, east, "Ada"), enter(browser, west, "Grace")
        ada.locator("#place-node", has_text="east").wait_for()
        ada.locator("#bus[data-bus=up]", has_text="redis up").wait_for()
        ada.locator("#members li", has_text="Grace").wait_for()
        say(grace, "hello")
        message = ada.locator(".message", has_text="hello")
        assert "west" == message.locator(".from.other").inner_text()
        server.kill()
        ada.locator("#bus[data-bus=down]", has_text="redis down").wait_for()
        ada.locator(".event.warn", has_text="The bus is down").wait_for()
        for window in (ada, grace):
            window.context.close()


def test_page_of_one_node_shows_memory(browser: Any) -> None:
    """Alone it names itself after its port, and no message says where it came from."""
    with demo() as running:
        ada = enter(browser, running, "Ada")
        ada.locator("#bus[data-bus=memory]", has_text="memory").wait_for()
        assert f"node-{running.url.rpartition(':')[2]}" == ada.inner_text("#place-node")
        say(ada, "hello")
        ada.locator(".message", has_text="hello").wait_for()
        assert not ada.locator(".message .from").is_visible()
        ada.context.close()
