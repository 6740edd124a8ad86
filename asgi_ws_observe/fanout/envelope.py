"""What a message carries over a broker: trace context, publish time, publisher and sequence.

A broker that knows only payloads (Redis Pub/Sub) gets them inside, as JSON: `inject`. One that has
headers (NATS, Kafka, RabbitMQ) gets them there: `inject_headers`. `parse` reads both, and leaves
alone whatever is neither, since a broker carries what others publish as well.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
from opentelemetry.trace import SpanContext

from ..tracing.carriers import inject_context, remote_context
from ..tracing.payload import context_in
from .fields import NOTHING, checked, fields_in, from_texts, texts_of, to_texts

__all__ = ["Envelope", "inject", "inject_headers", "parse"]

_META: Final = "_ws"
_BODY: Final = "body"
_KIND: Final = "ws-body"
_OWN: Final = frozenset({_META, "traceparent", "tracestate"})
_UNTRUSTED: Final = object()


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message as it came, and what is known of its way.

    Everything but `body` and `raw` is `None` where the message does not say it, or not validly.

    Attributes:
        body: What was published, of its type: a JSON value, `str` or `bytes`. For a payload of
            somebody else's, the payload itself, as `bytes`.
        context: The span context of who published it.
        time: When it was published, by the publisher's wall clock, seconds since the epoch.
        clock: The same by `time.perf_counter` of the publisher's process, seconds. It means
            something to that process only, which measures its own echo by it.
        publisher: Who published it: 1 to 64 printable characters.
        sequence: Its number among the publisher's messages, from 1.
        raw: The payload as it came.
    """

    body: Any
    context: SpanContext | None
    time: float | None
    clock: float | None
    publisher: str | None
    sequence: int | None
    raw: bytes

    def json(self) -> Any:
        """Return the body as a JSON value; text and bytes are parsed.

        So one line reads what nodes with and without this library publish.

        Raises:
            ValueError: The body is no JSON.
        """
        return orjson.loads(self.body) if isinstance(self.body, (str, bytes)) else self.body

    def text(self) -> str:
        """Return the body as text: bytes are UTF-8, and any other value becomes JSON.

        Raises:
            ValueError: The bytes are no UTF-8, or orjson does not take the value: somebody else's
                may be nested deeper than the 254 levels that it writes.
        """
        if isinstance(self.body, str):
            return self.body
        if isinstance(self.body, bytes):
            return self.body.decode()
        try:
            return orjson.dumps(self.body).decode()
        except TypeError as error:
            raise ValueError(f"body: {error}") from error


def inject(
    body: Any,
    *,
    publisher: str | None = None,
    sequence: int | None = None,
    time: float | None = None,
    clock: float | None = None,
    key: str | None = None,
) -> bytes:
    """Return a payload that carries a message and the current trace context.

    A JSON object keeps its keys at the top level and gets ``traceparent``, ``tracestate`` (where
    there is one) and ``_ws`` beside them, so that a node without this library reads what it always
    did. Everything else, and an object that has one of those keys itself, goes under ``body``;
    bytes go as base64 under ``body_base64``, as CloudEvents' JSON format has ``data_base64``.

    What orjson turns into JSON comes back as JSON: a tuple as a list, a dataclass as an object, a
    number that is not finite as ``null``.

    Args:
        body: What is published: a JSON value, `str` or `bytes`.
        publisher: Who publishes, 1 to 64 printable characters.
        sequence: The message's number, 1 to 2**63 - 1.
        time: Seconds since the epoch; now by default.
        clock: `time.perf_counter` now.
        key: Under which every body goes, ``body`` being its default where it has to.

    Raises:
        TypeError: orjson does not take the body: no JSON value, a key that is no `str`, a lone
            surrogate, an integer of more than 64 bits, or deeper than 254 levels.
        ValueError: One of the other arguments is not what parse() would accept.
    """
    meta = checked(publisher, sequence, time, clock)
    name = _BODY if key is None else key
    if name in _OWN:
        raise ValueError(f"key: got {name!r}; accepted: any but {', '.join(sorted(_OWN))}")
    if isinstance(body, (bytes, bytearray, memoryview)):
        name += "_base64"
        meta["base64"] = name
        content = {name: b64encode(bytes(body)).decode()}
    elif key is None and isinstance(body, dict) and _OWN.isdisjoint(body):
        content = body
    else:
        meta["key"] = name
        content = {name: body}
    return orjson.dumps({**content, **inject_context({}), _META: meta})


def inject_headers(
    body: Any,
    *,
    publisher: str | None = None,
    sequence: int | None = None,
    time: float | None = None,
    clock: float | None = None,
) -> tuple[bytes, dict[str, str]]:
    """Return a payload that is the message alone, and headers with the current trace context.

    They are ``traceparent``, ``tracestate``, ``ws-time``, ``ws-clock``, ``ws-publisher`` and
    ``ws-sequence``, without those that are unknown, and ``ws-body``: ``json`` or ``text``, none
    for bytes.

    Args:
        body: What is published: a JSON value, `str` or `bytes`.
        publisher: Who publishes, 1 to 64 printable characters.
        sequence: The message's number, 1 to 2**63 - 1.
        time: Seconds since the epoch; now by default.
        clock: `time.perf_counter` now.

    Raises:
        TypeError: orjson does not take the body.
        ValueError: The text has a lone surrogate, or another argument is not what parse() would
            accept.
    """
    headers: dict[str, str] = inject_context({})
    headers |= to_texts(checked(publisher, sequence, time, clock))
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), headers
    headers[_KIND] = "text" if isinstance(body, str) else "json"
    return body.encode() if isinstance(body, str) else orjson.dumps(body), headers


def parse(
    payload: bytes | bytearray | memoryview | str,
    *,
    headers: Mapping[str, Any] | Iterable[tuple[str, Any]] | None = None,
) -> Envelope:
    """Return a message that came over a broker. It never raises.

    A payload of somebody else's is the body as it is; its trace context is read where it is a
    JSON object that has one at the top level, as in CloudEvents, or under ``_otel`` or
    ``_traceContext``. With headers that say who published, when, or as what number, the payload is
    the body alone. Headers with nothing but a trace context come from others (an instrumented
    client) and count where the payload has no envelope with its own.

    Args:
        payload: As the broker's client gives it; text becomes UTF-8.
        headers: As the broker's client gives them: a mapping, or pairs. Names in any case, values
            `str` or UTF-8 `bytes`; others are ignored. The last of a name counts.
    """
    raw = payload if type(payload) is bytes else _as_bytes(payload)
    outer = None
    if headers is not None:
        texts = texts_of(headers)
        outer, fields = remote_context(texts), from_texts(texts)
        if fields is not None:
            return Envelope(_body_of(raw, texts.get(_KIND)), outer, *fields, raw)
    value = _object(raw)
    if value is None:
        return Envelope(raw, outer, *NOTHING, raw)
    meta = value.get(_META)
    if not isinstance(meta, dict):
        meta = {}
    fields = fields_in(meta)
    if fields is not None:
        context = remote_context(value) or outer
        body = _body(value, meta)
        if body is not _UNTRUSTED:
            return Envelope(body, context, *fields, raw)
    return Envelope(raw, outer or context_in(value), *NOTHING, raw)


def _body_of(raw: bytes, kind: str | None) -> Any:
    """Return what was published beside headers, the payload where it is not what they say."""
    try:
        if kind == "json":
            return orjson.loads(raw)
        return raw.decode() if kind == "text" else raw
    except ValueError:
        return raw


def _as_bytes(payload: bytes | bytearray | memoryview | str) -> bytes:
    # A lone surrogate is no UTF-8; so it is no JSON either, and delivered.
    return payload.encode("utf-8", "surrogatepass") if isinstance(payload, str) else bytes(payload)


def _object(raw: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a payload is, `None` where it is none or carries nothing."""
    # Most of what others publish carries nothing, and is not to be parsed twice.
    if raw[:1] != b"{" or (b'"_ws"' not in raw and b'"traceparent"' not in raw):
        return None
    try:
        value: dict[str, Any] = orjson.loads(raw)
    except ValueError:
        return None
    return value


def _body(value: dict[str, Any], meta: dict[str, Any]) -> Any:
    """Return what was published, `_UNTRUSTED` where the payload contradicts itself."""
    wrapped, encoded = "key" in meta, "base64" in meta
    if not wrapped and not encoded:
        for own in _OWN:
            value.pop(own, None)
        return value
    name = meta["key"] if wrapped else meta["base64"]
    if (wrapped and encoded) or not isinstance(name, str) or name in _OWN or name not in value:
        return _UNTRUSTED
    if wrapped:
        return value[name]
    try:
        return b64decode(value[name], validate=True)
    except (TypeError, ValueError):
        return _UNTRUSTED
