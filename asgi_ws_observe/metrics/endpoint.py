"""``/metrics``: the exposition as an ASGI application."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import perf_counter
from typing import Any, Final
from urllib.parse import parse_qs

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from ..settings import MetricsAuth
from .prometheus import RegistryNumbers, numbers_of

__all__ = ["MetricsEndpoint"]

#: Smaller bodies are not worth compressing.
GZIP_FROM: Final = 1024
#: gzip's level: 9 takes sixteen times as long for a page of 1.4 MB.
GZIP_LEVEL: Final = 1

_MISSING: Final = "its metrics are missing from /metrics"
#: Of the text format and of OpenMetrics.
_VERSIONS: Final = ("0.0.1", "0.0.4", "1.0.0", "2.0.0")

# A thread of our own: an application whose thread pool is exhausted still answers scrapes, and
# several scrapers at once cost no more than one.
_executor: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="asgi-ws-observe-scrape")


class MetricsEndpoint:
    """Serves a registry's metrics; mount it wherever an ASGI application fits.

    GET and HEAD only. Text or OpenMetrics by the ``Accept`` header, a choice of series by
    ``name[]``, gzip where it is accepted, rendered off the event loop.

    Args:
        registry: Default: prometheus_client's own.
        auth: Who may read; default: what the middleware's settings say.
    """

    def __init__(
        self, registry: CollectorRegistry | None = None, auth: MetricsAuth | None = None
    ) -> None:
        self._registry = registry
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError(f"/metrics answers HTTP only, not {scope['type']!r}")
        registry = REGISTRY if self._registry is None else self._registry
        numbers = numbers_of(registry)
        headers = Headers(scope=scope)
        status, extra = 200, {}
        if scope["method"] not in ("GET", "HEAD"):
            status, extra = 405, {"allow": "GET, HEAD"}
        else:
            status = await _allowed(self._auth or numbers.metrics_auth, scope, headers, numbers)
            if status == 401:
                extra = {"www-authenticate": "Bearer"}
        if status == 200:
            names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name[]")
            body, extra = await asyncio.get_running_loop().run_in_executor(
                _executor, partial(_render, registry, numbers, headers, names)
            )
        else:
            body = {401: b"Unauthorized\n", 403: b"Forbidden\n", 405: b"Method Not Allowed\n"}[
                status
            ]
            extra["content-type"] = "text/plain; charset=utf-8"
        extra["content-length"] = str(len(body))
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in extra.items()],
            }
        )
        await send(
            {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body}
        )


async def _allowed(
    auth: MetricsAuth | None, scope: Scope, headers: Headers, numbers: RegistryNumbers
) -> int:
    """Return 200, or the status of the refusal. A callback that fails lets nobody in."""
    if auth is None:
        return 200
    if isinstance(auth, str):
        given = headers.get("authorization", "").encode()
        scheme, _, token = given.partition(b" ")
        match = secrets.compare_digest(token.strip(), auth.encode())
        return 200 if match and scheme.lower() == b"bearer" else 401
    try:
        verdict: Any = auth(scope)
        if inspect.isawaitable(verdict):
            verdict = await verdict
    except Exception as error:  # noqa: BLE001
        numbers.errors.report("metrics_auth", error, auth, "/metrics stays closed")
        return 403
    return 200 if verdict is True else 403


def _render(
    registry: CollectorRegistry,
    numbers: RegistryNumbers,
    headers: Mapping[str, str],
    names: Iterable[str] | None,
) -> tuple[bytes, dict[str, str]]:
    started = perf_counter()
    encode, content_type = choose_encoder(_known_versions(headers.get("accept", "")))
    guarded = _Guarded(registry, numbers, None if names is None else frozenset(names))
    families = _Families(guarded.collect())
    try:
        body = encode(families)
    except Exception:  # noqa: BLE001 - one cannot be written; find it and leave it out
        body = encode(_Families(each for each in families if _encodes(encode, each, numbers)))
    answer = {"content-type": content_type, "vary": "accept, accept-encoding"}
    if len(body) >= GZIP_FROM and _accepts_gzip(headers.get("accept-encoding", "")):
        body = gzip.compress(body, GZIP_LEVEL)
        answer["content-encoding"] = "gzip"
    numbers.store.scrape_seconds = perf_counter() - started
    return body, answer


def _known_versions(accept: str) -> str:
    """Return an ``Accept`` header without what prometheus_client raises on or claims falsely."""
    ranges = accept.split(",")
    versions = [re.search(r"version\s*=\s*\"?([^;\"\s]*)", each) for each in ranges]
    return ",".join(
        each
        for each, version in zip(ranges, versions, strict=True)
        if version is None or version.group(1) in _VERSIONS
    )


def _encodes(
    encode: Callable[[_Families], bytes], family: Metric, numbers: RegistryNumbers
) -> bool:
    try:
        encode(_Families([family]))
    except Exception as error:  # noqa: BLE001
        numbers.errors.report("collector", error, family.name, _MISSING)
        return False
    return True


def _accepts_gzip(header: str) -> bool:
    for each in header.lower().split(","):
        coding, *parameters = (part.strip() for part in each.split(";"))
        if coding == "gzip":
            return not any(
                name == "q" and value.strip("0.") == ""
                for name, _, value in (part.partition("=") for part in parameters)
            )
    return False


class _Guarded:
    """A registry in which one failing collector costs only its own metrics."""

    def __init__(
        self,
        registry: CollectorRegistry,
        numbers: RegistryNumbers,
        names: frozenset[str] | None,
    ) -> None:
        self._registry = registry
        self._numbers = numbers
        self._names = names

    def collect(self) -> Iterator[Metric]:
        if target := self._registry.get_target_info():
            yield from self._chosen([_target_info(target)])
        # prometheus_client has no public way to ask its collectors one by one.
        collectors = getattr(self._registry, "_collector_to_names", (self._registry,))
        for collector in list(collectors):
            try:
                yield from self._chosen(collector.collect())
            except Exception as error:  # noqa: BLE001
                self._numbers.errors.report("collector", error, collector, _MISSING)

    def _chosen(self, families: Iterable[Metric]) -> Iterator[Metric]:
        for family in families:
            chosen = family if self._names is None else self._restrict(family)
            if chosen is not None:
                yield chosen

    def _restrict(self, family: Metric) -> Metric | None:
        samples = [sample for sample in family.samples if sample.name in (self._names or ())]
        if not samples:
            return None
        chosen = Metric(family.name, family.documentation, family.type, family.unit)
        chosen.samples = samples
        return chosen


def _target_info(labels: dict[str, str]) -> Metric:
    family = Metric("target", "Target metadata", "info")
    family.add_sample("target_info", labels, 1)
    return family


class _Families(list[Metric]):
    """Families that are collected already."""

    def collect(self) -> Iterator[Metric]:
        return iter(self)
