"""The demo's chat over Socket.IO, as a person starts it and as clients use it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import pytest
import socketio
from socketio.exceptions import ConnectionError as RefusedError

from demo_app.socketio.plan import ENDINGS, plan
from demo_app.socketio.protocol import ADMIN, ADMIN_TOKEN, TOKEN
from tests.fanout.redis_servers import found
from tests.support import wait_until
from tests.test_demo_cli import DEMO, ROOT, Demo, demo, run
from tests.test_demo_cluster import cluster, is_running


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    """A chat of one node; each test has rooms and people of its own."""
    with demo("socketio") as each:
        yield each


class Answers(Protocol):
    """What answers by HTTP."""

    def get(self, path: str) -> str:
        """Return what it answers."""
        ...


class Node:
    """One of several.

    Args:
        port: Where it listens.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def get(self, path: str) -> str:
        """Return what it answers."""
        with urllib.request.urlopen(self.url + path, timeout=30) as answer:
            return str(answer.read().decode())


class Client:
    """Somebody who is connected, and acknowledges what asks for it."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.socket = socketio.AsyncClient(reconnection=False)
        self._heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.socket.on("*", self._hear, namespace=namespace)

    def _hear(self, event: str, *data: Any) -> str:
        self._heard.put_nowait((event, data[0] if data else None))
        return "heard"

    @property
    def sid(self) -> str:
        """What the server calls it."""
        return str(self.socket.get_sid(self.namespace))

    async def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Emit, and return the acknowledgement."""
        answer: dict[str, Any] = await self.socket.call(
            event, data, namespace=self.namespace, timeout=20
        )
        return answer

    async def hear(self, event: str, when: Callable[[Any], Any] = bool) -> Any:
        """Return what comes next with an event, if it fits; skip all else."""
        while True:
            heard, data = await asyncio.wait_for(self._heard.get(), 20)
            if heard == event and when(data):
                return data


@asynccontextmanager
async def client(
    url: str, name: str = "", *, namespace: str = "/", token: str = TOKEN, room: str = ""
) -> AsyncIterator[Client]:
    """Be connected until the end of the block."""
    each = Client(namespace)
    try:
        await each.socket.connect(
            url,
            auth={"token": token, "name": name, "watch": True},
            transports=["websocket"],
            namespaces=[namespace],
            wait_timeout=20,
        )
        if room:
            assert room == (await each.ask("join", room=room))["room"]
        yield each
    finally:
        await closed(each.socket)


async def closed(each: socketio.AsyncClient) -> None:
    """Leave nothing of a client open."""
    await each.shutdown()
    if each.eio.http is not None:
        await each.eio.http.close()


def number(node: Answers, name: str, **labels: str) -> float:
    """Return the sum of a metric's samples that have these labels."""
    lines = [line for line in node.get("/metrics").splitlines() if line.startswith(f"{name}{{")]
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    return sum(float(line.split()[-1]) for line in lines if all(each in line for each in wanted))


def traces(node: Answers) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the spans that a node has seen: by trace, by name."""
    sorted_out: dict[str, dict[str, dict[str, Any]]] = {}
    for span in json.loads(node.get("/seen"))["spans"]:
        sorted_out.setdefault(span["trace"], {})[span["name"]] = span
    return sorted_out


async def test_people_of_a_room_hear_each_other_and_are_counted(running: Demo) -> None:
    """What is said reaches the room, is kept for who comes later, and appears on /metrics."""
    async with (
        client(running.url, "Ada", room="tea") as ada,
        client(running.url, "Grace", room="tea") as grace,
        client(running.url, "Zoë", room="attic") as zoe,
    ):
        wanted = {"tea": 2, "attic": 1}.items()
        await ada.hear("present", lambda told: wanted <= told["rooms"].items())
        assert "at" in await ada.ask("say", text="hello everybody")
        assert "hello everybody" == (await grace.hear("said"))["text"]
        assert 2 == number(running, "socketio_room_size", category="room:{name}")
        said = await zoe.ask("join", room="tea")
        assert ["hello everybody"] == [each["text"] for each in said["history"]]
        assert {"left": "tea"} == await zoe.ask("leave")
        assert "error" in await zoe.ask("leave")
        assert "error" in await zoe.ask("say", text="anybody?")
    assert 1 == number(running, "socketio_emits_total", event="said")
    assert 0 == number(running, "socketio_emits_total", event="present")


async def test_private_messages_are_acknowledged(running: Demo) -> None:
    """To a user, and to a client by its sid; who is not there does not answer."""
    async with (
        client(running.url, "Björn") as bjorn,
        client(running.url, "Müge") as muge,
    ):
        answer = await bjorn.ask("whisper", to="Müge", text="psst")
        heard = await muge.hear("whispered")
        assert ("Björn", "psst") == (heard["name"], heard["text"])
        pinged = await bjorn.ask("ping-user", to=muge.sid)
        assert 0 < answer["ms"] < 10_000 > pinged["ms"] > 0
        assert (
            "Nobody did not hear that."
            == (await bjorn.ask("whisper", to="Nobody", text="psst"))["error"]
        )
    assert 1 == number(running, "socketio_acks_total", event="poke", outcome="ok")


@pytest.mark.parametrize(
    ("namespace", "auth", "outcome"),
    [
        ("/", {"token": "wrong", "name": "Ada"}, "refused"),
        ("/", {"token": TOKEN}, "refused"),
        ("/", None, "refused"),
        (ADMIN, {"token": TOKEN}, "refused"),
        ("/cellar", {"token": TOKEN}, "unknown_namespace"),
    ],
)
async def test_stranger_is_refused_and_counted(
    running: Demo, namespace: str, auth: Any, outcome: str
) -> None:
    """A wrong token, no name, or a namespace that is not theirs."""
    label = namespace if outcome == "refused" else "_other"
    labels = {"namespace": label, "outcome": outcome}
    before = number(running, "socketio_connects_total", **labels)
    each = socketio.AsyncClient(reconnection=False)
    with pytest.raises(RefusedError, match="failed to connect"):
        await each.connect(running.url, auth=auth, transports=["websocket"], namespaces=[namespace])
    assert before + 1 == number(running, "socketio_connects_total", **labels)


async def test_administrator_announces_and_disconnects(running: Demo) -> None:
    """In a namespace of its own, which reaches the clients of the other one."""
    async with (
        client(running.url, "Linus") as linus,
        client(running.url, namespace=ADMIN, token=ADMIN_TOKEN) as admin,
    ):
        assert {} == await admin.ask("announce", text="five minutes")
        assert "five minutes" == (await linus.hear("announced"))["text"]
        ended = asyncio.Event()
        linus.socket.on("disconnect", lambda *_: ended.set())
        await admin.ask("kick", sid=linus.sid)
        await asyncio.wait_for(ended.wait(), 20)
    assert 1 == number(running, "socketio_disconnects_total", reason="server_disconnect")


async def test_statistics_are_inside_the_trace_of_their_event(running: Demo) -> None:
    """The service's spans are below the event's; failed and unhandled events are seen as well."""
    async with client(running.url, "Noor", room="library") as noor:
        await noor.ask("say", text="silence please")
        counted = await noor.ask("statistics")
        assert (1, [["Noor", 1]]) == (counted["messages"], counted["most"])
        assert 0.01 == (await noor.ask("slow", seconds=0.01))["seconds"]
        await noor.socket.emit("nobody-listens")
        await noor.socket.emit("crash")
        # One after the other: the answer to this comes last.
        await noor.ask("leave")
    (trace,) = [each for each in traces(running).values() if "process statistics" in each]
    order = "process statistics", "statistics.of_room", "statistics.count"
    for above, below in pairwise(order):
        assert trace[above]["span"] == trace[below]["parent"]
    assert 1 == number(running, "socketio_events_total", event="_other", outcome="unhandled")
    wait_until(lambda: running.events("socketio_error"))
    (line,) = running.events("socketio_error")
    assert ("crash", "ChatError") == (line["event_name"], line["error_type"])
    lines = [json.loads(each["text"]) for each in json.loads(running.get("/seen"))["lines"]]
    assert [line["trace_id"]] == [
        each["trace_id"] for each in lines if each["event"] == "socketio_error"
    ]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
async def test_signal_ends_it_at_once_whatever_is_open(how: int) -> None:
    """With a poll that waits, an upgraded client and a handler at work: code 0, no traceback."""
    with demo("socketio") as node:
        sockets = [socketio.AsyncClient(reconnection=False) for _ in range(3)]
        for place, each in enumerate(sockets):
            transports = [["polling"], ["websocket"], None][place]
            await each.connect(
                node.url, auth={"token": TOKEN, "name": "Ada"}, transports=transports
            )
        await sockets[1].emit("slow", {"seconds": 5})
        await sockets[1].call("leave")
        wait_until(lambda: 3 == number(node, "socketio_connections_active"))
        loop = asyncio.get_running_loop()
        began = loop.time()
        assert 0 == await asyncio.to_thread(node.end, how)
        assert loop.time() - began < 4
        for each in sockets:
            await closed(each)
    assert "Traceback" not in "".join(node.logged)
    assert 3 == len(node.events("socketio_close"))


def test_load_equals_metrics(running: Demo) -> None:
    """What clients counted is what /metrics shows, to the byte; the other load does not fit."""
    done = run("load", "--socketio", "--url", running.url, "--seconds", "3", "--clients", "24")
    assert 0 == done.returncode, done.stdout + done.stderr
    assert re.search(r"All \d\d rows are equal\.", done.stdout)
    for _, did in ENDINGS.values():
        assert did in done.stdout
    wrong = run("load", "--url", running.ws)
    assert 2 == wrong.returncode
    assert "add --socketio" in wrong.stderr


def test_load_stops_at_once_on_interrupt(running: Demo) -> None:
    """Ctrl-C ends the load without a traceback."""
    before = number(running, "socketio_events_total")
    load = subprocess.Popen(
        [*DEMO, "load", "--socketio", "--url", running.url, "--seconds", "600"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until(lambda: number(running, "socketio_events_total") > before, 60)
        load.send_signal(signal.SIGINT)
        printed, _ = load.communicate(timeout=30)
    finally:
        load.kill()
        load.communicate()
    assert 130 == load.returncode
    assert "Stopped" in printed
    assert "Traceback" not in printed


def test_load_of_the_other_chat_says_what_is_wrong() -> None:
    """The load over Socket.IO does not drive the chat over WebSockets."""
    with demo() as other:
        done = run("load", "--socketio", "--url", other.ws)
    assert 2 == done.returncode
    assert "leave out --socketio" in done.stderr


def test_plan_is_decided_by_the_seed() -> None:
    """The same seed gives the same parts, and every ending is among them."""
    scripts = plan(40, 15, 1)
    assert scripts == plan(40, 15, 1)
    assert scripts != plan(40, 15, 2)
    assert set(ENDINGS) == {script.ending for script in scripts}
    for script in scripts:
        spoken = sum(line.pause + line.seconds for line in script.lines)
        assert script.start + spoken <= 15


def test_other_pages_cannot_read_what_was_seen(running: Demo) -> None:
    """Those of nodes on the same host can, since their page asks all of them."""

    def allowed(origin: str) -> str | None:
        request = urllib.request.Request(running.url + "/seen", headers={"origin": origin})
        with urllib.request.urlopen(request, timeout=20) as answer:
            value: str | None = answer.headers["access-control-allow-origin"]
            return value

    assert "http://127.0.0.1:1234" == allowed("http://127.0.0.1:1234")
    assert allowed("http://example.org:1234") is None
    assert allowed("null") is None


async def test_two_nodes_are_one_chat_and_one_trace(tmp_path: Path) -> None:
    """Rooms, private messages and a disconnect go over Redis; a signal ends everything."""
    found("redis-server")
    with cluster(tmp_path, "--nodes", "2", command=["socketio"]) as nodes:
        nodes.says("Ctrl-C ends all of it")
        broker = nodes.broker()
        first, second = (Node(nodes.port), Node(nodes.port + 1))
        async with (
            client(first.url, "Ada", room="lobby") as ada,
            client(second.url, "Grace", room="lobby") as grace,
        ):
            people = [[grace.sid, "Grace", "lobby"]]
            told = await ada.hear("present", lambda each: people == each["people"])
            assert second.port == told["port"]
            await ada.ask("say", text="hello")
            said = await grace.hear("said")
            assert (f"node-{first.port}", "hello") == (said["node"], said["text"])
            assert 0 < (await ada.ask("whisper", to="Grace", text="psst"))["ms"]
            assert 0 < (await grace.ask("ping-user", to=ada.sid))["ms"]
            assert 1 == (await grace.ask("statistics"))["messages"]
            wait_until(lambda: said["trace"] in traces(second))
            assert (
                traces(first)[said["trace"]]["send said"]["span"]
                == traces(second)[said["trace"]]["deliver said"]["parent"]
            )
            assert 0 == number(first, "socketio_emits_total", event="present")
        load = ["--url", first.url, "--url", second.url, "--clients", "16", "--seconds", "2"]
        done = await asyncio.to_thread(run, "load", "--socketio", *load)
        assert 0 == done.returncode, done.stdout + done.stderr
        assert "emits over the bus, to 1 more" in done.stdout
        assert 0 == await asyncio.to_thread(nodes.end, signal.SIGINT)
        assert nodes.is_over()
        assert not is_running(broker)
    assert "Traceback" not in "".join(line for line in nodes.printed if "ChatError" not in line)
