"""Span attributes: what a scope and a record say, under OpenTelemetry's names where one exists.

Never the query string, and no header but the user agent.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import urlsplit

from ..connection import Connection
from ..labels import UNMATCHED, safe_text

__all__ = [
    "SPAN_ATTRIBUTES",
    "close_attributes",
    "handshake_attributes",
    "routed_name",
    "total_attributes",
]

#: Attribute -> what it is. The reference page is made from this.
SPAN_ATTRIBUTES: Final = {
    "http.route": "the path template",
    "url.path": "the path as requested, without the query string",
    "url.scheme": "`ws` or `wss`",
    "client.address": "the peer's address, as the server gives it",
    "server.address": "the host that the client asked for",
    "server.port": "its port",
    "user_agent.original": "the client's user agent, 256 characters at most",
    "network.protocol.name": "`websocket`",
    "http.response.status_code": "101, 403, 500, or the status of a denial response",
    "error.type": "the exception's class",
    "ws.connection.id": "the connection's id, as in the log lines",
    "ws.subprotocol": "what the application accepted",
    "ws.outcome": "`normal`, `going_away`, `abnormal`, `error`, `application`, `rejected`, "
    "`denied`",
    "ws.close_code": "the close code",
    "ws.close_text": "the close frame's reason, control characters escaped",
    "ws.closed_by": "`client`, `server`, `network` or `unknown`",
    "ws.close_reason": "the cause of the close or of the failed handshake, of a closed set",
    "ws.connection.part": "2 and up for the spans that follow after `max_span_seconds`",
    "ws.messages.untraced": "messages received so far that have no span",
    "ws.handler_time.max": "the longest handler time so far, seconds",
    "ws.messages.in": "messages received",
    "ws.messages.out": "messages sent",
    "ws.bytes.in": "payload bytes received",
    "ws.bytes.out": "payload bytes sent",
    "ws.wire.bytes.in": "bytes received over TCP, the handshake and encryption included",
    "ws.wire.bytes.out": "bytes sent over TCP, likewise",
    "ws.compression": "the extension that compresses messages, or `none`",
    "ws.heartbeat.rtt": "the last ping's round trip, seconds",
    "ws.write_buffer.bytes": "bytes that had not reached the client at the end",
    "ws.message.type": "the message's type; 50 distinct ones, then `other`",
    "ws.message.bytes": "payload bytes",
    "ws.message.opcode": "`binary`; a text message, which most are, has none",
}


def routed_name(name: str, route: str) -> str:
    """Return a span's name with its route, if there is one."""
    return name if route == UNMATCHED else f"{name} {route}"


def handshake_attributes(connection: Connection) -> dict[str, Any]:
    """Return what is known when the handshake begins."""
    scope = connection.scope
    headers = _first_headers(scope, (b"host", b"user-agent"))
    attributes: dict[str, Any] = {
        "ws.connection.id": connection.id,
        "network.protocol.name": "websocket",
        "url.scheme": safe_text(scope.get("scheme", "ws"), 8),
        "url.path": safe_text(scope.get("path", ""), 1024),
    }
    if client := scope.get("client"):
        attributes["client.address"] = safe_text(client[0], 64)
    host, port = _server(headers.get(b"host"), scope)
    if host:
        attributes["server.address"] = safe_text(host)
        if port is not None:
            attributes["server.port"] = port
    if agent := headers.get(b"user-agent"):
        attributes["user_agent.original"] = safe_text(agent)
    return attributes


def close_attributes(connection: Connection) -> dict[str, Any]:
    """Return what is known when the connection is over or the handshake failed."""
    attributes: dict[str, Any] = {
        "ws.outcome": connection.outcome,
        "ws.close_reason": connection.reason,
    }
    if connection.close_code is None:
        if connection.status is not None:
            attributes["http.response.status_code"] = connection.status
        return attributes
    attributes["ws.close_code"] = connection.close_code
    attributes["ws.closed_by"] = connection.closed_by
    if connection.close_text:
        attributes["ws.close_text"] = connection.close_text
    return attributes


def total_attributes(connection: Connection) -> dict[str, Any]:
    """Return the counts, and what the application set, at the end."""
    fields = connection.fields
    own = {f"app.{name}" if name in SPAN_ATTRIBUTES else name: fields[name] for name in fields}
    counts = {
        "ws.messages.in": connection.messages_in,
        "ws.messages.out": connection.messages_out,
        "ws.bytes.in": connection.bytes_in,
        "ws.bytes.out": connection.bytes_out,
        "ws.handler_time.max": connection.slowest,
    }
    return own | counts | _seen_below(connection)


def _seen_below(connection: Connection) -> dict[str, Any]:
    """Return what a probe saw; nothing where there is none."""
    seen: dict[str, Any] = {}
    if connection.wire_in:
        seen["ws.wire.bytes.in"] = connection.wire_in
        seen["ws.wire.bytes.out"] = connection.wire_out
    if connection.compression is not None:
        seen["ws.compression"] = connection.compression or "none"
    if connection.heartbeat_rtt is not None:
        seen["ws.heartbeat.rtt"] = connection.heartbeat_rtt
    if connection.write_buffer is not None:
        seen["ws.write_buffer.bytes"] = connection.write_buffer
    return seen


def _first_headers(scope: MutableMapping[str, Any], names: tuple[bytes, ...]) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for name, value in scope.get("headers", ()):
        if name in names and name not in found:
            found[name] = value.decode("latin-1")
    return found


def _server(host: str | None, scope: MutableMapping[str, Any]) -> tuple[str | None, int | None]:
    """Return name and port from the Host header, else from the server."""
    if host:
        try:
            parts = urlsplit("//" + host)
            default = 443 if scope.get("scheme") == "wss" else 80
            return parts.hostname, default if parts.port is None else parts.port
        except ValueError:
            return None, None
    server = scope.get("server")
    return (server[0], server[1]) if server else (None, None)
