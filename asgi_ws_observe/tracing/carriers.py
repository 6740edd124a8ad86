"""Trace context that comes from outside and goes outside, and who is believed.

A client can claim any trace: it could force sampling, or write into somebody else's trace. So what
a message or a query string carries is *linked* unless the settings say that it is the parent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.instrumentation.asgi import asgi_getter
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ..hooks import OwnErrors
from ..settings import TRUST_WORDS, Settings

__all__ = ["Origin", "Trust", "TrustReader", "inject_context", "remote_context", "upgrade_origin"]

_W3C: Final = TraceContextTextMapPropagator()
_EMPTY: Final = Context()
# Longer ones are of no known version; W3C asks for 512 characters of state to be passed on.
_MAX_PARENT: Final = 128
_MAX_STATE: Final = 512
_MAX_MEMBERS: Final = 32
# A query string is looked through only so far.
_MAX_QUERY: Final = 4096
_MAX_PARAMETERS: Final = 64
# The propagator takes version 00 and later ones, uppercase digits never.
_PARENT: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_KEY: Final = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER: Final = re.compile(rf"({_KEY})=[ -+\--<>-~]{{0,255}}[!-+\--<>-~]")

MessageType = TypeVar("MessageType")


@dataclass(frozen=True, slots=True)
class Trust:
    """What trace contexts from outside are for one connection.

    Attributes:
        header: That of the upgrade's headers: ``parent``, ``link`` or ``never``.
        client: That of the query string and of messages, likewise.
    """

    header: str
    client: str


_USUAL: Final = Trust("parent", "link")
_TRUST: Final = {word: Trust(word, word) for word in ("parent", "link", "never")} | {"auto": _USUAL}


class TrustReader:
    """Finds out whom to believe, once for each connection.

    Args:
        settings: `Settings.trust` counts.
    """

    def __init__(self, settings: Settings) -> None:
        self._given = settings.trust

    def of(self, scope: MutableMapping[str, Any], errors: OwnErrors) -> Trust:
        """Return what counts for a connection; nothing is believed where the callable fails."""
        given = self._given
        if isinstance(given, str):
            return _TRUST[given]
        try:
            word = given(scope) or "auto"
            if word not in TRUST_WORDS:
                raise ValueError(f"trust: got {word!r}; accepted: {', '.join(TRUST_WORDS)}")
            return _TRUST[word]
        except Exception as error:  # noqa: BLE001
            errors.report("trust", error, given, "this connection's client is not believed")
            return _TRUST["never"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from.

    Attributes:
        parent: The context of its span.
        links: What else it belongs to.
    """

    parent: Context
    links: tuple[Link, ...]


def upgrade_origin(scope: MutableMapping[str, Any], entry: Context, trust: Trust) -> Origin:
    """Return where a connection comes from, by its handshake.

    A span that is current already is the parent; then the headers, then the query parameter
    ``traceparent``, which is all that a browser can set.

    Args:
        scope: The connection's ASGI scope.
        entry: The context in which the middleware was called.
        trust: Who is believed.
    """
    parent = entry
    remotes: list[SpanContext] = []
    rooted = trace.get_current_span(entry).get_span_context().is_valid
    if not rooted and trust.header == "parent":
        parent = _extracted(scope, entry)
        rooted = parent is not entry and trace.get_current_span(parent).get_span_context().is_valid
    elif not rooted and trust.header == "link":
        remotes.extend(_found(_headers(scope)))
    if trust.client != "never":
        found = _found(_query(scope))
        if found and trust.client == "parent" and not rooted:
            parent = trace.set_span_in_context(trace.NonRecordingSpan(found[0]), entry)
        else:
            remotes.extend(found)
    return Origin(parent, tuple(map(Link, remotes)))


def remote_context(carrier: Mapping[str, Any]) -> SpanContext | None:
    """Return the span context that a carrier holds, `None` where it holds none that is valid.

    Args:
        carrier: ``traceparent`` and perhaps ``tracestate``, of the W3C's Trace Context.
    """
    parent, state = carrier.get("traceparent"), carrier.get("tracestate")
    if not isinstance(parent, str) or len(parent) > _MAX_PARENT or not _PARENT.fullmatch(parent):
        return None
    clean = {"traceparent": parent}
    if isinstance(state, str) and len(state) <= _MAX_STATE and _is_state(state):
        clean["tracestate"] = state
    found = trace.get_current_span(_W3C.extract(clean, _EMPTY)).get_span_context()
    return found if found.is_valid else None


def _is_state(text: str) -> bool:
    """Return whether the propagator takes this state; it logs a line for each that it does not."""
    members = [member.strip(" \t") for member in text.split(",")]
    return len(members) <= _MAX_MEMBERS and all(
        not member or _MEMBER.fullmatch(member) for member in members
    )


def inject_context(message: MessageType) -> MessageType:
    """Put the current trace context into an outgoing JSON object, and return it.

    The keys are ``traceparent`` and, where there is one, ``tracestate``, at the top level, as in
    CloudEvents' extension for distributed tracing. Without a current span, and where the message
    is no mapping, nothing changes.

    Args:
        message: What will be sent, such as ``{"type": "chat", "text": "hello"}``.
    """
    if isinstance(message, MutableMapping):
        if trace.get_current_span().get_span_context().is_valid:
            # A message that is passed on may have that of another trace.
            message.pop("tracestate", None)
        _W3C.inject(message)
    return message


def _extracted(scope: MutableMapping[str, Any], entry: Context) -> Context:
    """Return the context that the client's headers carry; the entry's where they are malformed."""
    try:
        return propagate.extract(dict(scope), entry, asgi_getter)
    except Exception:  # noqa: BLE001 - the getter raises on bytes that it cannot decode
        return entry


def _found(carrier: Mapping[str, str]) -> list[SpanContext]:
    found = remote_context(carrier)
    return [] if found is None else [found]


def _headers(scope: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of the W3C; the last of each, were there several."""
    return {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope.get("headers", ())
        if name in (b"traceparent", b"tracestate")
    }


def _query(scope: Mapping[str, Any]) -> dict[str, str]:
    query: bytes = scope.get("query_string") or b""
    if b"traceparent=" not in query or len(query) > _MAX_QUERY:
        return {}
    try:
        pairs = parse_qsl(query.decode("latin-1"), max_num_fields=_MAX_PARAMETERS)
    except ValueError:
        return {}
    return {name: value for name, value in reversed(pairs) if name in ("traceparent", "tracestate")}
