"""Span attributes: what a scope says, without its secrets, and never too much of it."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_ws_observe import Connection
from asgi_ws_observe.tracing.attributes import (
    SPAN_ATTRIBUTES,
    close_attributes,
    handshake_attributes,
    total_attributes,
)
from tests.support import scope


def record(**more: Any) -> Connection:
    """Return the record of a connection with this scope."""
    return Connection(None, scope(**more), 0.0)


def of_host(host: bytes | None, **more: Any) -> tuple[Any, Any]:
    """Return address and port of the server as a Host header gives them."""
    headers = [] if host is None else [(b"host", host)]
    attributes = handshake_attributes(record(headers=headers, **more))
    return attributes.get("server.address"), attributes.get("server.port")


def test_handshake_has_stable_names() -> None:
    """A plain handshake is described under OpenTelemetry's names."""
    expected = {
        "ws.connection.id": "",
        "network.protocol.name": "websocket",
        "url.scheme": "wss",
        "url.path": "/rooms/7",
        "client.address": "192.0.2.7",
        "server.address": "example.org",
        "server.port": 8000,
        "user_agent.original": "Client/1.0",
    }
    headers = [(b"host", b"example.org:8000"), (b"user-agent", b"Client/1.0")]
    connection = record(path="/rooms/7", scheme="wss", headers=headers)
    assert expected == handshake_attributes(connection)


def test_query_and_headers_never_appear() -> None:
    """Tokens in the query string, cookies and other headers stay out of every attribute."""
    headers = [
        (b"host", b"user:s3cret@example.org"),
        (b"authorization", b"Bearer s3cret"),
        (b"cookie", b"session=s3cret"),
        (b"sec-websocket-key", b"s3cret"),
        (b"sec-websocket-protocol", b"bearer, s3cret"),
        (b"origin", b"https://s3cret.example.org"),
        (b"x-forwarded-for", b"s3cret"),
        (b"x-host", b"s3cret"),
    ]
    connection = record(query_string=b"token=s3cret", headers=headers)
    everything = {
        **handshake_attributes(connection),
        **close_attributes(connection),
        **total_attributes(connection),
    }
    assert "s3cret" not in repr(everything)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (b"example.org", ("example.org", 80)),
        (b"example.org:8000", ("example.org", 8000)),
        (b"EXAMPLE.org:8000", ("example.org", 8000)),
        (b"example.org:", ("example.org", 80)),
        (b"192.0.2.1:8000", ("192.0.2.1", 8000)),
        (b"[2001:db8::1]:8000", ("2001:db8::1", 8000)),
        (b"[2001:db8::1]", ("2001:db8::1", 80)),
        (b"user:password@example.org:8000", ("example.org", 8000)),
        (b"example.org/path?query#fragment", ("example.org", 80)),
        # Not to be believed, and not a reason to fail.
        (b"example.org:port", (None, None)),
        (b"example.org:99999", (None, None)),
        (b"example.org:-1", (None, None)),
        (b"[2001:db8::1", (None, None)),
        (b":8000", (None, None)),
        # Missing or empty: what the server says of itself.
        (None, ("127.0.0.1", 8000)),
        (b"", ("127.0.0.1", 8000)),
    ],
)
def test_host_header_gives_the_server(
    host: bytes | None, expected: tuple[str | None, int | None]
) -> None:
    """Name and port come from the Host header, in whatever form it is, else from the server."""
    assert expected == of_host(host)


def test_default_port_follows_the_scheme() -> None:
    """Without a port in the header it is that of the scheme."""
    assert ("example.org", 443) == of_host(b"example.org", scheme="wss")


def test_first_host_header_counts() -> None:
    """A second Host header changes nothing."""
    headers = [(b"host", b"one.example"), (b"host", b"two.example")]
    assert "one.example" == handshake_attributes(record(headers=headers))["server.address"]


@pytest.mark.parametrize("server", [None, ("/run/app.sock", None)])
def test_server_without_a_port_has_none(server: Any) -> None:
    """A Unix socket has a path and no port, and an unknown server nothing."""
    assert (server and server[0], None) == of_host(None, server=server)


def test_bare_scope_gives_the_little_it_has() -> None:
    """The ASGI specification makes most keys optional."""
    connection = Connection(None, {"type": "websocket", "path": "/ws"}, 0.0)
    assert {
        "ws.connection.id": "",
        "network.protocol.name": "websocket",
        "url.scheme": "ws",
        "url.path": "/ws",
    } == handshake_attributes(connection)


def test_lengths_are_bounded() -> None:
    """A client cannot make a span large."""
    connection = record(
        path="/" + "p" * 9999,
        scheme="s" * 9999,
        client=("c" * 9999, 1),
        headers=[(b"host", b"h" * 9999), (b"user-agent", b"u" * 9999)],
    )
    attributes = handshake_attributes(connection)
    assert {
        "url.path": 1024,
        "url.scheme": 8,
        "client.address": 64,
        "server.address": 256,
        "user_agent.original": 256,
    } == {name: len(value) for name, value in attributes.items() if str(value).endswith("…")}


def test_control_characters_are_escaped() -> None:
    """What comes from a client cannot forge a line where a span is printed."""
    connection = record(path="/a\r\nb", headers=[(b"user-agent", b"\x1b[31mred")])
    attributes = handshake_attributes(connection)
    assert (r"/a\r\nb", r"\x1b[31mred") == (
        attributes["url.path"],
        attributes["user_agent.original"],
    )


def test_header_bytes_need_no_encoding() -> None:
    """Any byte is a character: nothing a client sends can raise."""
    headers = [(b"user-agent", b"caf\xe9 \xff")]
    assert "café ÿ" == handshake_attributes(record(headers=headers))["user_agent.original"]


def test_failed_handshake_has_its_status() -> None:
    """A rejection has an outcome, a reason and a status, and no close code."""
    connection = record()
    connection.outcome, connection.reason, connection.status = "rejected", "not_found", 403
    assert {
        "ws.outcome": "rejected",
        "ws.close_reason": "not_found",
        "http.response.status_code": 403,
    } == close_attributes(connection)


def test_abandoned_handshake_has_no_status() -> None:
    """A client that left before the answer got none."""
    connection = record()
    connection.outcome, connection.reason = "rejected", "abandoned"
    assert {"ws.outcome": "rejected", "ws.close_reason": "abandoned"} == close_attributes(
        connection
    )


def test_close_has_code_and_author() -> None:
    """A close says who closed, with which code; the text only where there is one."""
    connection = record()
    connection.status, connection.close_code, connection.closed_by = 101, 4001, "client"
    connection.outcome = connection.reason = "application"
    expected = {
        "ws.outcome": "application",
        "ws.close_reason": "application",
        "ws.close_code": 4001,
        "ws.closed_by": "client",
    }
    assert expected == close_attributes(connection)
    connection.close_text = "kicked"
    assert expected | {"ws.close_text": "kicked"} == close_attributes(connection)


def test_totals_have_counts_and_fields() -> None:
    """The end has the counts and what the application set."""
    connection = record()
    connection.messages_in, connection.messages_out = 1, 2
    connection.bytes_in, connection.bytes_out = 30, 40
    connection.slowest = 0.5
    connection.set("tenant", "acme")
    connection.set("seats", 7)
    assert {
        "ws.messages.in": 1,
        "ws.messages.out": 2,
        "ws.bytes.in": 30,
        "ws.bytes.out": 40,
        "ws.handler_time.max": 0.5,
        "tenant": "acme",
        "seats": 7,
    } == total_attributes(connection)


@pytest.mark.parametrize("name", ["ws.messages.in", "ws.bytes.out"])
def test_field_cannot_forge_a_count(name: str) -> None:
    """An application's field of the name of a count does not replace the count."""
    connection = record()
    connection.set(name, 999)
    assert 0 == total_attributes(connection)[name]


def seen() -> Connection:
    """Return the record of a connection that a probe has told everything about."""
    connection = record(headers=[(b"host", b"example.org"), (b"user-agent", b"Client/1.0")])
    connection.wire_in, connection.wire_out = 900, 80
    connection.compression, connection.heartbeat_rtt = "permessage-deflate", 0.25
    connection.write_buffer = 7
    return connection


#: Attributes that only a probe gives.
BELOW = {
    "ws.wire.bytes.in": 900,
    "ws.wire.bytes.out": 80,
    "ws.compression": "permessage-deflate",
    "ws.heartbeat.rtt": 0.25,
    "ws.write_buffer.bytes": 7,
}


def test_totals_have_what_was_seen_below_asgi() -> None:
    """Beside the counts, and without replacing one."""
    expected = total_attributes(record()) | BELOW
    assert expected == total_attributes(seen())


def test_totals_leave_out_what_was_not_seen() -> None:
    """Where no probe tells, a span is as it was."""
    assert set() == set(BELOW) & set(total_attributes(record()))


def test_totals_say_that_there_is_nothing_to_see() -> None:
    """An empty write buffer is a number, no compression a fact, and nothing sent a number too."""
    connection = record()
    connection.compression, connection.write_buffer = "", 0
    connection.wire_in = 1
    expected: dict[str, object] = {"ws.wire.bytes.in": 1, "ws.wire.bytes.out": 0}
    expected |= {"ws.compression": "none", "ws.write_buffer.bytes": 0}
    assert expected == {
        name: value for name, value in total_attributes(connection).items() if name in BELOW
    }


@pytest.mark.parametrize("name", BELOW)
def test_field_cannot_forge_what_was_seen(name: str) -> None:
    """An application's field of that name gets a prefix, also where nothing was seen."""
    for connection in (record(), seen()):
        connection.set(name, "forged")
        attributes = total_attributes(connection)
        assert "forged" == attributes[f"app.{name}"]
        assert "forged" != attributes.get(name)


def test_every_attribute_is_documented() -> None:
    """What is set on a connection's span stands in the reference's table."""
    connection = seen()
    connection.close_code, connection.close_text = 1000, "bye"
    failed = record()
    failed.status = 403
    used = {
        *handshake_attributes(connection),
        *close_attributes(connection),
        *close_attributes(failed),
        *total_attributes(connection),
    }
    assert set() == used - set(SPAN_ATTRIBUTES)
    assert {
        *("http.route", "error.type", "ws.subprotocol", "ws.connection.part"),
        "ws.messages.untraced",
        *("ws.message.type", "ws.message.bytes", "ws.message.opcode"),
    } == set(SPAN_ATTRIBUTES) - used
