"""Log lines: which, with which fields, on one line, for any formatter."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe import Connection, JSONFormatter, Settings
from asgi_ws_observe.hooks import OwnErrors
from asgi_ws_observe.logs import LOG_FIELDS, ConnectionLog, log_to_stderr_if_unconfigured
from asgi_ws_observe.observation import Observation
from asgi_ws_observe.states import Ending
from asgi_ws_observe.store import Store
from tests.support import ACCEPT, CONNECT, disconnect, scope, text

PACKAGE = logging.getLogger("asgi_ws_observe")


class Lines(logging.Handler):
    """Keep the records of the package's loggers, and what a formatter makes of them."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return what the JSON lines of an event say."""
        said = [json.loads(JSONFormatter().format(record)) for record in self.records]
        return [line for line in said if line["event"] == event]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What the package logs during a test."""
    handler = Lines()
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    yield handler
    PACKAGE.removeHandler(handler)


@contextmanager
def unconfigured() -> Iterator[None]:
    """Make logging as in a process where nobody configured it, though pytest has.

    No fixture, since pytest adds handlers between the fixtures and the test.
    """
    handlers, PACKAGE.handlers[:], PACKAGE.propagate = list(PACKAGE.handlers), [], False
    PACKAGE.setLevel(logging.NOTSET)
    try:
        yield
    finally:
        PACKAGE.handlers[:], PACKAGE.propagate = handlers, True


def run(
    *messages: dict[str, Any],
    error: BaseException | None = None,
    given: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
    seen: dict[str, Any] | None = None,
    **settings: Any,
) -> Store:
    """Let a connection live that is logged; time passes between the handshake and the rest."""
    defaults: dict[str, Any] = {"log_handler": "off", "connection_id": lambda given: "id-1"}
    chosen = Settings(**(defaults | settings))
    store = Store()
    observation = Observation(chosen, store, [ConnectionLog(chosen)], OwnErrors(store))
    connection = Connection(observation, given or scope(), 1.0)
    observation.hooks.call("started", connection)
    for name, value in (fields or {}).items():
        connection.set(name, value)
    for name, value in (seen or {}).items():
        setattr(connection, name, value)
    for now, message in enumerate(messages, 2):
        if message["type"] in ("websocket.connect", "websocket.receive", "websocket.disconnect"):
            connection.received(message, float(now))
        else:
            connection.sent(message, float(now), float(now))
    connection.ended(error, 10.0)
    return store


def test_one_line_at_accept_and_one_at_close(lines: Lines) -> None:
    """Together they say all there is to know, without the empty fields."""
    sent = {"type": "websocket.send", "text": "größe"}
    run(CONNECT, ACCEPT | {"subprotocol": "v2"}, text("ab"), sent, disconnect(4000, "bye"))

    logger = {"level": "INFO", "logger": "asgi_ws_observe.connection"}
    common = {"connection_id": "id-1", "route": "unmatched", "client_address": "192.0.2.7"} | logger
    open_only = {"event": "ws_open", "subprotocol": "v2", "handshake_duration": 2.0}
    close_only = {"event": "ws_close", "outcome": "application", "code": 4000, "duration": 3.0}
    close_only |= {"closed_by": "client", "reason": "application", "close_text": "bye"}
    close_only |= {"messages_in": 1, "messages_out": 1, "bytes_in": 2, "bytes_out": 7}
    said = [json.loads(JSONFormatter().format(record)) for record in lines.records]
    for line in said:
        assert timezone.utc == datetime.fromisoformat(line.pop("time")).tzinfo
    assert [common | open_only, common | close_only] == said


def test_durations_are_rounded_to_microseconds(lines: Lines) -> None:
    """More digits would only make lines longer."""
    settings, store = Settings(log_handler="off"), Store()
    hooks = [ConnectionLog(settings)]
    connection = Connection(Observation(settings, store, hooks, OwnErrors(store)), scope(), 0.0)
    connection.sent(ACCEPT, 1 / 3, 1 / 3)
    connection.received(disconnect(), 1.0)

    assert [0.333333] == [line["handshake_duration"] for line in lines.named("ws_open")]
    assert [0.666667] == [line["duration"] for line in lines.named("ws_close")]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"type": "websocket.close"}, {"outcome": "rejected", "reason": "rejected", "status": 403}),
        (
            {"type": "websocket.http.response.start", "status": 429},
            {"outcome": "denied", "reason": "denied", "status": 429},
        ),
        (disconnect(1006), {"outcome": "rejected", "reason": "abandoned"}),
    ],
)
def test_failed_handshake_has_a_line_with_its_status(
    lines: Lines, answer: dict[str, Any], expected: dict[str, Any]
) -> None:
    """And no code, no duration, and no line that says it was open."""
    run(CONNECT, answer)

    (line,) = lines.named("ws_close")
    assert expected == {name: line.get(name) for name in expected}
    assert not {"code", "duration", "bytes_in", "messages_out"} & set(line)
    assert ("status" in expected) == ("status" in line)
    assert 1 == len(lines.records)


def test_error_has_a_line_with_its_traceback(lines: Lines) -> None:
    """At level ERROR, before the line of the close."""
    run(CONNECT, ACCEPT, text("a"), error=ValueError("broken"))

    assert ["INFO", "ERROR", "INFO"] == [record.levelname for record in lines.records]
    (line,) = lines.named("ws_error")
    assert ("ValueError", 1) == (line["error_type"], line["messages_in"])
    assert "ValueError: broken" == line["exception"].splitlines()[-1]
    assert "message_type" not in line


def test_error_names_the_type_of_its_message(lines: Lines) -> None:
    """As the application called it, made harmless."""
    settings, store = Settings(log_handler="off"), Store()
    connection = Connection(
        Observation(settings, store, [ConnectionLog(settings)], OwnErrors(store)), scope(), 1.0
    )
    connection.message.type = "chat\n" * 20
    connection.ended(ValueError(), 2.0)

    (line,) = lines.named("ws_error")
    assert line["message_type"].startswith(r"chat\nchat")
    assert 64 == len(line["message_type"])


@pytest.mark.parametrize(
    ("settings", "events"),
    [
        ({"log_open": False}, ["ws_error", "ws_close"]),
        ({"log_close": False}, ["ws_open", "ws_error"]),
        ({"log_open": False, "log_close": False}, ["ws_error"]),
    ],
)
def test_lines_can_be_turned_off(lines: Lines, settings: dict[str, Any], events: list[str]) -> None:
    """Errors are always logged."""
    run(CONNECT, ACCEPT, error=ValueError(), **settings)

    assert events == [vars(record)["event"] for record in lines.records]


def test_level_of_the_logger_turns_lines_off(lines: Lines) -> None:
    """As with any other logger."""
    PACKAGE.setLevel(logging.ERROR)
    run(CONNECT, ACCEPT, error=ValueError())

    assert ["ws_error"] == [vars(record)["event"] for record in lines.records]


def test_node_is_in_every_line(lines: Lines) -> None:
    """Where it is set."""
    run(CONNECT, ACCEPT, error=ValueError(), node="eu-1")

    assert ["eu-1"] * 3 == [vars(record)["node"] for record in lines.records]


@pytest.mark.parametrize("client", [None, ()])
def test_server_without_a_peer_address_leaves_it_out(lines: Lines, client: Any) -> None:
    """As on a Unix socket."""
    run(CONNECT, ACCEPT, given=scope(client=client))

    assert ["ws_open", "ws_close"] == [vars(record)["event"] for record in lines.records]
    assert not any(hasattr(record, "client_address") for record in lines.records)


def test_fields_of_the_application_are_in_its_lines(lines: Lines) -> None:
    """A name that is ours, or the record's own, gets a prefix instead of replacing anything."""
    fields = {"user": "ann", "route": "mine", "msg": "mine", "time": 5, "level": "mine", "app": 1}
    store = run(CONNECT, ACCEPT, fields=fields)

    (line,) = lines.named("ws_close")
    assert "ann" == line["user"]
    assert ("unmatched", "INFO") == (line["route"], line["level"])
    assert {"app.route": "mine", "app.msg": "mine", "app.time": 5, "app.level": "mine"} == {
        name: value for name, value in line.items() if name.startswith("app.") and name != "app.app"
    }
    assert 0 == store.own_errors["logs"]


#: Attribute of the record -> what a probe has seen.
SEEN: dict[str, Any] = {"wire_in": 900, "wire_out": 80, "compression": "permessage-deflate"}
SEEN |= {"heartbeat_rtt": 0.0123456789, "write_buffer": 7}
#: Their fields.
BELOW = {"wire_bytes_in", "wire_bytes_out", "compression", "heartbeat_rtt", "write_buffer_bytes"}


def test_line_of_a_close_has_what_was_seen_below_asgi(lines: Lines) -> None:
    """Times to the microsecond; the line of the opening has nothing of it."""
    run(CONNECT, ACCEPT, disconnect(), seen=SEEN)

    (line,) = lines.named("ws_close")
    expected = {"wire_bytes_in": 900, "wire_bytes_out": 80, "compression": "permessage-deflate"}
    expected |= {"heartbeat_rtt": 0.012346, "write_buffer_bytes": 7}
    assert expected == {name: line[name] for name in BELOW}
    assert [set()] == [BELOW & set(each) for each in lines.named("ws_open")]


def test_line_of_a_close_says_that_there_is_nothing_to_see(lines: Lines) -> None:
    """An empty write buffer is a number, and no compression a fact."""
    run(CONNECT, ACCEPT, disconnect(), seen={"compression": "", "write_buffer": 0})

    (line,) = lines.named("ws_close")
    assert {"compression": "none", "write_buffer_bytes": 0} == {
        name: line[name] for name in BELOW & set(line)
    }


@pytest.mark.parametrize("answer", [ACCEPT, {"type": "websocket.close"}])
def test_line_of_a_close_leaves_out_what_was_not_seen(lines: Lines, answer: dict[str, Any]) -> None:
    """Where no probe tells, a line is as it was; and a failed handshake was never open."""
    failed = answer is not ACCEPT
    run(CONNECT, answer, seen=SEEN if failed else None)

    assert [set()] == [BELOW & set(each) for each in lines.named("ws_close")]


def test_line_of_a_close_comes_when_the_connection_is_lost(lines: Lines) -> None:
    """The application may go on for long; what it takes then is in no line."""
    settings, store = Settings(log_handler="off"), Store()
    hooks = [ConnectionLog(settings)]
    connection = Connection(Observation(settings, store, hooks, OwnErrors(store)), scope(), 1.0)
    connection.sent(ACCEPT, 2.0, 2.0)
    connection.received(text("a"), 3.0)
    connection.lost(Ending(lost_by="tcp_reset"), 4.0)
    connection.received(text("late"), 5.0)
    connection.ended(None, 6.0)

    (line,) = lines.named("ws_close")
    assert (1006, "tcp_reset", 2.0, 1) == (
        *(line["code"], line["reason"], line["duration"], line["messages_in"]),
    )


def test_every_field_of_a_line_is_in_the_table(lines: Lines) -> None:
    """The reference page is made of it."""
    run(
        CONNECT, ACCEPT, text("a"), disconnect(4000, "bye"), error=ValueError(), node="a", seen=SEEN
    )

    for record in lines.records:
        line = json.loads(JSONFormatter().format(record))
        known = {"time", "level", "logger", "exception", *LOG_FIELDS[line["event"]]}
        assert set(line) <= known


ANY_TEXT = st.text(st.characters(exclude_categories=()))
CONTROL = {chr(code) for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}


@given(reason=ANY_TEXT, subprotocol=ANY_TEXT, address=ANY_TEXT, field=ANY_TEXT)
def test_plain_line_has_no_control_characters_whatever_a_client_sends(
    reason: str, subprotocol: str, address: str, field: str
) -> None:
    """Nobody forges a line, or drives the terminal that it is read on."""
    handler = Lines()
    PACKAGE.addHandler(handler)
    PACKAGE.setLevel(logging.INFO)
    try:
        run(
            *(CONNECT, ACCEPT | {"subprotocol": subprotocol}, disconnect(4000, reason)),
            given=scope(client=(address, 1)),
            fields={"field": field},
        )
    finally:
        PACKAGE.removeHandler(handler)

    assert 2 == len(handler.records)
    for record in handler.records:
        line = logging.Formatter("%(asctime)s %(name)s %(message)s").format(record)
        assert not CONTROL & set(line)
        line.encode()
        assert not CONTROL & set(JSONFormatter().format(record))


def test_plain_line_shows_the_control_characters_of_a_close_text(lines: Lines) -> None:
    """They are evidence."""
    run(CONNECT, ACCEPT, disconnect(4000, "a\nERROR forged\x1b[2J"))

    line = lines.records[-1].getMessage()
    assert line.startswith("ws_close connection_id=id-1 route=unmatched ")
    assert r'close_text="a\\nERROR forged\\x1b[2J" ' in line


def test_plain_line_has_one_value_a_field(lines: Lines) -> None:
    """A close text cannot pass for other fields."""
    run(CONNECT, ACCEPT, disconnect(4000, "x code=1011"))

    assert 'close_text="x code=1011" ' in lines.records[-1].getMessage()


def test_record_factory_with_a_field_of_the_same_name(lines: Lines) -> None:
    """Our value stands in our lines, and nothing fails."""
    factory = logging.getLogRecordFactory()

    def with_trace_id(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        record.route = "theirs"
        return record

    logging.setLogRecordFactory(with_trace_id)
    try:
        run(CONNECT, ACCEPT, disconnect(4000))
    finally:
        logging.setLogRecordFactory(factory)

    assert ["unmatched", "unmatched"] == [vars(each)["route"] for each in lines.records]


def test_structlog_gets_the_fields(lines: Lines) -> None:
    """`ExtraAdder` takes them from the record."""
    run(CONNECT, ACCEPT, disconnect(4000), fields={"user": "ann"})
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )

    line = json.loads(formatter.format(lines.records[-1]))

    assert ("ws_close", 4000, "client", "ann") == (
        *(line["event"], line["code"], line["closed_by"], line["user"]),
    )


def test_json_lines_go_to_stderr_where_nobody_configured_logging(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Once, however many connections and middlewares there are."""
    with unconfigured():
        for _ in range(2):
            run(CONNECT, ACCEPT, disconnect(), log_handler="auto")
        assert 1 == len(PACKAGE.handlers)

    said = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert ["ws_open", "ws_close"] * 2 == said


def test_no_handler_is_added_where_it_is_off(capsys: pytest.CaptureFixture[str]) -> None:
    """Silence is a choice."""
    with unconfigured():
        run(CONNECT, ACCEPT, disconnect(), log_handler="off")
        assert [] == PACKAGE.handlers

    assert "" == capsys.readouterr().err


def test_logging_that_is_configured_after_start_up_counts() -> None:
    """An application may do so in its lifespan; the first connection decides."""
    handler = Lines()
    with unconfigured():
        log = ConnectionLog(Settings(log_handler="auto"))
        PACKAGE.addHandler(handler)
        log.started(Connection(None, {}, 0.0))
        assert [handler] == PACKAGE.handlers


@pytest.mark.parametrize("name", ["asgi_ws_observe", "asgi_ws_observe.connection"])
def test_a_level_means_that_logging_is_configured(name: str) -> None:
    """Somebody has thought about this logger."""
    logger = logging.getLogger(name)
    with unconfigured():
        logger.setLevel(logging.WARNING)
        with_level = log_to_stderr_if_unconfigured()
        logger.setLevel(logging.NOTSET)
        without_level = log_to_stderr_if_unconfigured()

    assert (False, True) == (with_level, without_level)


@pytest.mark.parametrize(
    ("configured", "expected"), [("logging.basicConfig()", "False"), ("", "True")]
)
def test_handler_of_the_root_logger_means_that_logging_is_configured(
    configured: str, expected: str
) -> None:
    """In a process without pytest's handlers."""
    code = (
        f"import logging; {configured}\n"
        "from asgi_ws_observe.logs import log_to_stderr_if_unconfigured as log\n"
        "print(log(), log())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert f"{expected} False\n" == done.stdout
