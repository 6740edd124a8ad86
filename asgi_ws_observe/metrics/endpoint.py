"""``/metrics``: the exposition as an ASGI application."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import parse_qs

from prometheus_client import REGISTRY, CollectorRegistry
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from ..settings import MetricsAuth
from .exposition import Exposition
from .formats import Format, merged
from .prometheus import RegistryNumbers, numbers_of
from .workers import ANSWER_WITHIN, families_in, join

__all__ = ["MetricsEndpoint"]

#: Smaller bodies are not worth compressing.
GZIP_FROM: Final = 1024
#: gzip's level: 9 takes sixteen times as long for a page of 1.4 MB.
GZIP_LEVEL: Final = 1

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
            body, extra = await _answer(registry, numbers, headers, names)
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


async def _answer(
    registry: CollectorRegistry,
    numbers: RegistryNumbers,
    headers: Mapping[str, str],
    names: Iterable[str] | None,
) -> tuple[bytes, dict[str, str]]:
    """Return the body and its headers; siblings are asked while this process writes its own."""
    accept = headers.get("accept", "")
    form, exposition = Format(accept), Exposition.of(numbers)
    chosen = None if names is None else frozenset(names)
    workers = join(numbers)
    asked = None
    if workers is not None and workers.shared:
        workers.label()
        within = _patience(headers)
        asked = asyncio.ensure_future(workers.ask(numbers, accept, chosen, within))
    loop = asyncio.get_running_loop()
    own = await loop.run_in_executor(_executor, exposition.families, registry, form, chosen)
    siblings = {} if asked is None else await asked

    def finish() -> tuple[bytes, dict[str, str]]:
        families = own
        if siblings:
            answers = {slot: families_in(answer) for slot, answer in siblings.items()}
            silent = [slot for slot, found in answers.items() if found is None]
            heard = (found for found in answers.values() if found)
            families = merged([own, *heard, exposition.silent(form, chosen, silent)])
        body = form.document(families)
        found = {"content-type": form.content_type, "vary": "accept, accept-encoding"}
        if len(body) >= GZIP_FROM and _accepts_gzip(headers.get("accept-encoding", "")):
            body = gzip.compress(body, GZIP_LEVEL)
            found["content-encoding"] = "gzip"
        return body, found

    return await loop.run_in_executor(_executor, finish)


def _patience(headers: Mapping[str, str]) -> float:
    """Return how long siblings have: half of what Prometheus gives this scrape at most, seconds."""
    try:
        given = float(headers.get("x-prometheus-scrape-timeout-seconds", ""))
    except ValueError:
        return ANSWER_WITHIN
    return min(ANSWER_WITHIN, given / 2) if given > 0 else ANSWER_WITHIN


def _accepts_gzip(header: str) -> bool:
    for each in header.lower().split(","):
        coding, *parameters = (part.strip() for part in each.split(";"))
        if coding == "gzip":
            return not any(
                name == "q" and value.strip("0.") == ""
                for name, _, value in (part.partition("=") for part in parameters)
            )
    return False
