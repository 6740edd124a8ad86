"""The helper for socket.io-client, in node and in a browser, against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import asgi_ws_observe
from tests.servers.clients import HERE, NODE_INSTALL
from tests.servers.processes import absent
from tests.socketio.plain_server import PlainServer, plain_server
from tests.socketio.test_carrier import SPAN, TRACE
from tests.test_demo_browser import browser  # noqa: F401 - a fixture

JAVASCRIPT: Final = Path(str(asgi_ws_observe.__file__)).parent / "socketio" / "javascript"
HELPER: Final = JAVASCRIPT / "socketio-observe.js"
MODULES: Final = HERE / "node_modules"
#: socket.io-client 4 and 3, by the names of their folders.
LIBRARIES: Final = ("socket.io-client", "socket.io-client-3")
PACKAGES: Final = (*LIBRARIES, "@opentelemetry/sdk-trace-base")
CLASSIC: Final = """<!doctype html>
<script src="/library/socket.io.min.js"></script>
<script src="/helper/socketio-observe.js"></script>
<script>
const { observe } = socketioObserve;
%s</script>
"""
MODULE: Final = """<!doctype html>
<script type="module">
import { io } from "/library/socket.io.esm.min.js";
import { observe } from "/helper/socketio-observe.mjs";
%s</script>
"""
TALK: Final = """
const told = [];
const socket = io({ transports: ["websocket"] });
observe(socket, { onTrace: (each) => told.push(each.traceId) });
socket.on("news", (...args) => { window.seen = { told, args, socket }; });
socket.on("connect", () => {
  socket.emit("echo", new Uint8Array([98]), () => {
    socket.emit("tell", "news", [1, {traceparent: "00-%s-%s-01"}]);
  });
});
"""
PAGES: Final = {"classic": CLASSIC, "module": MODULE}
each_library = pytest.mark.parametrize("library", LIBRARIES)


def needed() -> None:
    """Skip the test for want of node or of its packages."""
    if not (shutil.which("node") and all((MODULES / each).is_dir() for each in PACKAGES)):
        absent(f"node's socket.io-client is missing; get it with: {NODE_INSTALL}")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainServer]:
    """A server for the whole file, that has the browser's files too."""
    needed()
    pages = tmp_path_factory.mktemp("pages")
    for name, page in PAGES.items():
        (pages / f"{name}.html").write_text(page % (TALK % (TRACE, SPAN)), encoding="utf-8")
    module = JAVASCRIPT / "socketio-observe.mjs"
    files = {
        # The server does not know the type of these, and a browser wants to.
        f"/helper/{module.name}": {"filename": str(module), "content_type": "text/javascript"},
        "/helper": str(JAVASCRIPT),
        "/pages": str(pages),
        "/library": str(MODULES / "socket.io-client" / "dist"),
    }
    with plain_server(files) as server:
        yield server


@pytest.fixture
def server(served: PlainServer) -> PlainServer:
    """The server, with nothing in it."""
    served.clear()
    return served


class Seen:
    """What a scenario saw.

    Attributes:
        said: What it returned.
        spans: The finished spans, in the order of their ends.
    """

    def __init__(self, output: str) -> None:
        self.said: dict[str, Any] = json.loads(output)
        self.spans: list[dict[str, Any]] = self.said.pop("spans")

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the spans of this name."""
        return [span for span in self.spans if span["name"] == name]

    def one(self, name: str) -> dict[str, Any]:
        """Return the only span of this name."""
        (found,) = self.named(name)
        return found


def run(server: PlainServer, scenario: str, library: str = LIBRARIES[0]) -> Seen:
    """Let node do what a scenario says."""
    return play(scenario, server.url, library=library)


def play(scenario: str, url: str, *others: str, library: str = LIBRARIES[0]) -> Seen:
    """Let node do what a scenario says, with the server at this address, and perhaps others."""
    command = ["node", "socketio_client.js", url, library, str(HELPER), scenario, *others]
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )
    assert (0, "") == (done.returncode, done.stderr)
    return Seen(done.stdout)


def ids(carrier: Any) -> tuple[str, str]:
    """Return the two ids of a carrier that the server got."""
    assert {"traceparent"} == set(carrier)
    return parts(carrier["traceparent"])


def parts(header: str) -> tuple[str, str]:
    """Return the two ids of a ``traceparent``."""
    version, trace_id, span_id, flags = header.split("-")
    assert ("00", 32, 16, "01") == (version, len(trace_id), len(span_id), flags)
    return trace_id, span_id


def identity(span: dict[str, Any]) -> tuple[str, str]:
    """Return a span's two ids."""
    return span["trace"], span["span"]


def attributes(operation: str | None, event: str | None, namespace: str = "/") -> dict[str, str]:
    """Return the attributes of a span that failed at nothing."""
    found = {
        "messaging.system": "socket.io",
        "messaging.destination.name": namespace,
        "messaging.socket.io.namespace": namespace,
    }
    if operation is not None:
        found["messaging.operation.type"] = operation
    if event is not None:
        found["messaging.socket.io.event_name"] = event
    return found


# Connecting.


@each_library
def test_connection_is_a_span_that_the_server_is_told_of(server: PlainServer, library: str) -> None:
    """In ``auth``, since a browser sets no headers."""
    seen = run(server, "connect", library)
    span = seen.one("connect /")
    assert [identity(span)] == [ids(each) for each in server.auth]
    assert seen.one("work")["span"] == span["parent"]
    assert ("CLIENT", attributes(None, None), False) == (
        span["kind"],
        span["attributes"],
        span["failed"],
    )


@each_library
def test_reconnection_is_a_trace_of_its_own(server: PlainServer, library: str) -> None:
    """Linked to the first, beside what the application has changed in its ``auth``."""
    seen = run(server, "reconnect", library)
    first, second = seen.named("connect /")
    assert [identity(first), identity(second)] == [
        parts(each["traceparent"]) for each in server.auth
    ]
    assert ["1", "2"] == [each["token"] for each in server.auth]
    assert first["parent"] is not None
    assert (None, [first["span"]]) == (second["parent"], second["links"])
    assert {"token": "2"} == seen.said["auth"]


@each_library
def test_auth_of_every_kind_is_kept(server: PlainServer, library: str) -> None:
    """A function, nothing, an object, an own ``traceparent``; or there is no trace at all."""
    run(server, "auth", library)
    function, nothing, given, own, without = server.auth
    assert {"turn", "traceparent"} == set(function)
    assert {"traceparent"} == set(nothing)
    assert {"token", "traceparent"} == set(given)
    assert [{"traceparent": "mine"}, {"token": "none"}] == [own, without]


@each_library
def test_connection_that_fails_is_a_failure(server: PlainServer, library: str) -> None:
    """Refused by the application, by the machine, or given up."""
    seen = run(server, "refused", library)
    refused = seen.one("connect /closed")
    assert "closed" == seen.said["error"]
    assert ("ConnectError", True) == (refused["attributes"]["error.type"], refused["failed"])
    types = [each["attributes"]["error.type"] for each in seen.named("connect /")]
    assert ["TransportError", "AbortError", "CloseError"] == types


@each_library
def test_namespaces_of_one_connection_are_apart(server: PlainServer, library: str) -> None:
    """Each has its spans."""
    seen = run(server, "namespaces", library)
    assert {"connect /", "connect /chat"} == {
        each["name"] for each in seen.spans if each["name"].startswith("connect")
    }
    sent = seen.named("send echo")
    assert ["/", "/chat"] == [each["attributes"]["messaging.destination.name"] for each in sent]
    assert [identity(each) for each in sent] == [ids(args[-1]) for args in server.args("echo")]


# Sending.


@each_library
def test_events_are_spans_that_the_server_is_told_of(server: PlainServer, library: str) -> None:
    """Whatever they have for arguments; the application's own stay what they are."""
    seen = run(server, "send", library)
    names = ["volatile", "some", "none", "binary", "message"]
    given: list[list[Any]] = [["v"], [1, {"a": [None]}], [], [b"b"], ["hi"]]
    for name, args in zip(names, given, strict=True):
        span = seen.one(f"send {name}")
        (received,) = server.args(name)
        assert args == received[:-1]
        assert identity(span) == ids(received[-1])
        assert seen.one("work")["span"] == span["parent"]
        assert ("PRODUCER", attributes("send", name)) == (span["kind"], span["attributes"])
    if library == "socket.io-client":  # 3 has no listeners for what goes out
        heard = [each for each in seen.said["seen"] if each[0] in names]
        assert identity(seen.one("send nested")) == ids(server.args("nested")[0][-1])
        assert names == [event for event, *_ in heard][:5]
        assert [len(args) for args in given] == [len(args) for _, *args in heard][:5]
    assert [1, {"a": [None]}] in seen.said["seen"]


@each_library
def test_only_chosen_events_carry_context(server: PlainServer, library: str) -> None:
    """The spans are made for all of them."""
    seen = run(server, "chosen", library)
    assert [[1]] == server.args("other")
    first, second = server.args("echo")
    assert ([1], [2]) == (first[:-1], second)
    assert 2 == len(seen.named("send echo"))
    assert 1 == len(seen.named("send other"))


@each_library
def test_events_before_the_connection_keep_their_spans(server: PlainServer, library: str) -> None:
    """They are sent later, with the context that they had."""
    seen = run(server, "buffered", library)
    assert identity(seen.one("send first")) == ids(server.args("first")[0][-1])
    assert identity(seen.one("send echo")) == ids(server.args("echo")[0][-1])
    assert 2 == seen.said["answer"]


@each_library
def test_answer_is_a_span_from_the_event_on(server: PlainServer, library: str) -> None:
    """Child of the event's, and current in the callback."""
    seen = run(server, "ack", library)
    sent, answered = seen.one("send echo"), seen.one("ack echo")
    assert [True, 3, "a", answered["span"]] == seen.said["current"]
    assert sent["span"] == answered["parent"]
    assert ("CLIENT", attributes("settle", "echo")) == (answered["kind"], answered["attributes"])


def test_promises_and_timeouts_are_as_they_are_without_us(server: PlainServer) -> None:
    """An answer that does not come is a failure, and says why."""
    seen = run(server, "promise")
    assert ["a", "b"] == [seen.said["answer"], seen.said["later"]]
    timeout, lost = "operation has timed out", "socket has been disconnected"
    assert [timeout, timeout, lost] == seen.said["failures"]
    failures = [each["attributes"]["error.type"] for each in seen.named("ack silent")]
    assert ["TimeoutError", "TimeoutError", "DisconnectedError"] == failures
    assert [False, False] == [each["failed"] for each in seen.named("ack echo")]


def test_events_that_are_sent_again_are_one_span(server: PlainServer) -> None:
    """With the option ``retries``, each attempt carries the same context."""
    seen = run(server, "retries")
    assert [None, None] == seen.said["answers"]
    assert "operation has timed out" == seen.said["error"]
    tries = [ids(args[-1]) for args in server.args("silent")]
    assert [identity(seen.one("send silent"))] * 2 == tries
    assert "TimeoutError" == seen.one("ack silent")["attributes"]["error.type"]
    sent = {args[0]: ids(args[1]) for args in server.args("echo")}
    assert [sent[each] for each in ("early", "late", "unanswered", "last")] == [
        identity(each) for each in seen.named("send echo")
    ]
    assert 3 == len(seen.named("ack echo"))


def test_event_names_are_bounded(server: PlainServer) -> None:
    """A hundred of a socket's, then ``_other``."""
    seen = run(server, "names")
    names = [each["name"] for each in seen.spans if each["name"].startswith("send")]
    assert [f"send event {number}" for number in range(100)] == names[:100]
    assert ["send _other", "send _other", "send event 7"] == names[100:]


# Receiving.


@each_library
def test_listening_belongs_to_the_senders_trace(server: PlainServer, library: str) -> None:
    """The carrier is taken off, for every kind of listener."""
    seen = run(server, "process", library)
    spans = seen.named("process news")
    expected = [(1, 1), (2, 1), (0, None), (1, None), (1, "asked")]
    assert [each["span"] for each in spans] == [span for *_, span in seen.said["seen"]]
    told = [(count, first) for count, first, _ in seen.said["seen"]]
    assert [1, 2, 0, 1, 1] == [count for count, _ in told]
    assert [each for each in expected if each[1] is not None] == [told[0], told[1], told[4]]
    assert [1, 2, 0, 1, 1] == [len(args) for _, *args in seen.said["any"]]
    assert [SPAN, SPAN, SPAN, None, SPAN] == [each["parent"] for each in spans]
    assert [TRACE] * 4 == [spans[number]["trace"] for number in (0, 1, 2, 4)]
    assert ("CONSUMER", attributes("process", "news")) == (spans[0]["kind"], spans[0]["attributes"])
    assert ["asked"] == server.answers


@each_library
def test_server_that_is_not_believed_is_linked(server: PlainServer, library: str) -> None:
    """Its carrier is taken off all the same."""
    seen = run(server, "untrusted", library)
    span = seen.one("process news")
    assert (None, [SPAN]) == (span["parent"], span["links"])
    assert [1] == seen.said["args"]


@each_library
def test_listeners_failure_goes_on(server: PlainServer, library: str) -> None:
    """The span has it; so does who emits a reserved event."""
    seen = run(server, "fails", library)
    span = seen.one("process news")
    assert ["of the application"] == seen.said["unhandled"]
    assert ("TypeError", True) == (span["attributes"]["error.type"], span["failed"])
    assert ["exception"] == span["events"]
    assert '"connect" is a reserved event name' == seen.said["reserved"]
    assert [] == seen.named("send connect")


# Without an SDK, in trouble, and undone.


@each_library
@pytest.mark.parametrize("scenario", ["idsonly", "nosdk"])
def test_without_an_sdk_the_server_gets_new_ids(
    server: PlainServer, library: str, scenario: str
) -> None:
    """The application is told of them."""
    seen = run(server, scenario, library)
    connect, event = seen.said["told"][:2]
    assert ("connect", "/") == (connect["event"], connect["namespace"])
    assert connect["traceId"] == ids(server.auth[0])[0]
    assert ("echo", ids(server.args("echo")[0][-1])[0]) == (event["event"], event["traceId"])
    assert connect["traceId"] != event["traceId"]
    assert [1] == seen.said.get("args", [1])
    assert [] == seen.spans


@each_library
def test_trouble_of_the_api_stays_there(server: PlainServer, library: str) -> None:
    """Nothing is raised, and everything arrives."""
    seen = run(server, "broken", library)
    assert ([1], []) == (seen.said["args"], seen.said["unhandled"])
    assert [1] == server.args("echo")[0][:1]


@each_library
def test_socket_is_left_as_it_was(server: PlainServer, library: str) -> None:
    """Somebody else's method above keeps working; nothing is traced any more."""
    seen = run(server, "stop", library)
    assert {"before", "same", "left", "clean", "again"} == {
        name for name, value in seen.said.items() if value is True
    }
    assert [[1]] == server.args("echo")
    assert ["connect /"] == [each["name"] for each in seen.spans]
    assert [True, False] == [each is not None for each in server.auth]


# In a browser.


@pytest.mark.parametrize("page", PAGES)
def test_browser_talks_in_traces(
    server: PlainServer,
    browser: Any,  # noqa: F811
    page: str,
) -> None:
    """As a classic script and as a module."""
    window = browser.new_context().new_page()
    window.set_default_timeout(20_000)
    failures: list[str] = []
    window.on("pageerror", lambda error: failures.append(str(error)))
    window.goto(f"{server.url}/pages/{page}.html")
    window.wait_for_function("window.seen")
    told, args = (window.evaluate(f"window.seen.{name}") for name in ("told", "args"))
    window.evaluate("window.seen.socket.disconnect(), null")
    window.context.close()
    assert [] == failures
    assert [1] == args
    (echo,) = server.args("echo")
    assert b"b" == echo[0]
    assert [ids(server.auth[0])[0], ids(echo[1])[0]] == told[:2]
