"""Metrics pages: fetched over HTTP, parsed into families, and one clear line where that fails."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import httpx
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from ..exceptions import ObserveError

__all__ = [
    "AskError",
    "Family",
    "NoMetricsError",
    "Page",
    "Sample",
    "fetch",
    "http_client",
    "instance_of",
    "page_url",
    "parse",
]

_TEXT: Final = "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
_ACCEPT: Final = f"application/openmetrics-text;version=1.0.0,{_TEXT}"
_COUNTER: Final = re.compile(r"^\s*#\s*TYPE\s+\"?([^\s\"]+)\"?\s+counter\s*$", re.MULTILINE)
#: What the parsers raise for text that is no exposition.
_BROKEN: Final = (ValueError, KeyError, IndexError, TypeError, AttributeError, ArithmeticError)
#: The largest body that is read, in bytes; Prometheus' users set their limit far below.
LARGEST: Final = 64 << 20
_PORTS: Final = {"http": 80, "https": 443}


class AskError(ObserveError):
    """What was asked cannot be answered; one line says why and what to do."""


class NoMetricsError(AskError):
    """There is an answer, and it is no metrics page."""


class Sample(NamedTuple):
    """One line of a page.

    Attributes:
        name: Its name, with suffixes such as ``_total``.
        labels: Its labels.
        value: Its value.
    """

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """What a page says about one metric.

    Attributes:
        name: Its name as OpenMetrics has it: that of a counter is without ``_total``.
        type: ``counter``, ``gauge``, ``histogram``, ``summary``, ..., or ``unknown``.
        help: Its help, empty where there is none.
        unit: Its unit, empty where there is none; only OpenMetrics has units.
        samples: Its samples, in the page's order.
    """

    name: str
    type: str
    help: str
    unit: str
    samples: list[Sample]


@dataclass(frozen=True, slots=True)
class Page:
    """A metrics page at one time.

    Attributes:
        url: Where it came from.
        instance: ``host:port``, as Prometheus calls the target.
        families: Its families by name.
        size: Its size in bytes, uncompressed.
        seconds: How long fetching it took, in seconds; 0 where it was not fetched.
    """

    url: str
    instance: str
    families: dict[str, Family]
    size: int
    seconds: float = 0.0


def http_client(
    token: str | None = None, headers: Mapping[str, str] | None = None
) -> httpx.AsyncClient:
    """Return a client for `fetch` and for the sources; the caller closes it.

    Args:
        token: A bearer token to send; `None` for none.
        headers: More headers to send; `None` for none.
    """
    more = {} if token is None else {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(headers={**more, **(headers or {})}, follow_redirects=True)


def page_url(url: str) -> str:
    """Return the URL of a node's page: ``http://`` and ``/metrics`` where they are left out.

    Raises:
        AskError: It is no URL of HTTP.
    """
    try:
        found = httpx.URL(url if "://" in url else f"http://{url}")
    except httpx.InvalidURL:
        found = httpx.URL("")
    if found.scheme not in _PORTS or not found.host:
        raise AskError(f"got {url!r}, accepted is a URL such as http://127.0.0.1:8000/metrics")
    return str(found if found.path.strip("/") else found.copy_with(path="/metrics"))


def instance_of(url: str) -> str:
    """Return what Prometheus calls the target of a URL: ``host:port``, the port always there.

    Raises:
        AskError: It is no URL of HTTP.
    """
    found = httpx.URL(page_url(url))
    host = f"[{found.host}]" if ":" in found.host else found.host
    return f"{host}:{found.port or _PORTS[found.scheme]}"


async def fetch(client: httpx.AsyncClient, url: str, timeout: float = 10.0) -> Page:
    """Return the page that a URL has now.

    Args:
        client: The client to ask with, such as that of `http_client`.
        url: A URL or ``host:port``; ``/metrics`` where it has no path.
        timeout: Seconds within which the whole page must have come.

    Raises:
        AskError: There is no answer, or it is no metrics page.
    """
    url = page_url(url)
    begun = time.perf_counter()
    answer = await _get(client, url, _ACCEPT, timeout)
    seconds = time.perf_counter() - begun
    try:
        page = await asyncio.to_thread(_read, answer, url)
    except AskError:
        if "openmetrics" not in answer.headers.get("content-type", ""):
            raise
        # Other readers of OpenMetrics are laxer, so that such a page may have lived for years.
        page = await asyncio.to_thread(_read, await _get(client, url, _TEXT, timeout), url)
    return Page(page.url, page.instance, page.families, len(answer.content), seconds)


def parse(text: str, content_type: str, url: str) -> Page:
    """Return the page that a text is.

    Args:
        text: An exposition, in the text format or in OpenMetrics.
        content_type: The header of the answer, which says which of them.
        url: Where it came from.

    Raises:
        AskError: It is neither.
    """
    if "html" in content_type or text.lstrip()[:1] == "<":
        raise NoMetricsError(
            f"{url}: got an HTML page; give the URL of the metrics page, with its path"
        )
    strict = "openmetrics" in content_type
    try:
        found = list((openmetrics if strict else plain_text)(text))
        counters = None if strict else frozenset(_COUNTER.findall(text))
        families = _families(found, counters)
    except _BROKEN as error:
        shown = " ".join(str(error).split())[:80] or f"it begins with {text[:30]!r}"
        raise NoMetricsError(
            f"{url}: got {content_type or 'a body without content type'} that is no exposition "
            f"of metrics ({shown}); give the URL of the metrics page"
        ) from None
    return Page(url, instance_of(url), families, len(text.encode(errors="replace")))


def _read(answer: httpx.Response, url: str) -> Page:
    return parse(answer.text, answer.headers.get("content-type", ""), url)


async def _read_whole(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], within: float
) -> httpx.Response:
    """Return an answer with its body, uncompressed; of an endless one not more than fits."""
    whole = bytearray()
    async with client.stream(
        "GET", url, headers=dict(headers), timeout=within, follow_redirects=True
    ) as answer:
        async for part in answer.aiter_bytes():
            whole += part
            if len(whole) > LARGEST:
                raise AskError(
                    f"{url}: got more than {LARGEST >> 20} MiB, which is no metrics page; "
                    "give the URL of the metrics page"
                )
    kept = {"content-type": answer.headers.get("content-type", "")}
    return httpx.Response(answer.status_code, headers=kept, content=bytes(whole))


async def _get(client: httpx.AsyncClient, url: str, accept: str, within: float) -> httpx.Response:
    """Return a successful answer, or raise what stands in its way."""
    headers = {"Accept": accept, "X-Prometheus-Scrape-Timeout-Seconds": f"{within:g}"}
    asked = _read_whole(client, url, headers, within)
    try:
        answer = await asyncio.wait_for(asked, within)
    except (httpx.TimeoutException, asyncio.TimeoutError):
        raise AskError(f"{url}: no page within {within:g} s; is the node stuck?") from None
    except httpx.ConnectError as error:
        raise AskError(f"{url}: cannot connect ({error}); is the address right?") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AskError(f"{url}: {type(error).__name__}: {error}; does it speak HTTP?") from None
    if answer.status_code in (401, 403):
        raise AskError(f"{url}: got {answer.status_code}; it wants a token that may read it")
    if answer.status_code == 404:
        raise NoMetricsError(f"{url}: got 404; give the URL of the metrics page, with its path")
    if answer.status_code != 200:
        raise AskError(f"{url}: got {answer.status_code} {answer.reason_phrase}, expected 200")
    return answer


def _families(found: list[Metric], counters: frozenset[str] | None) -> dict[str, Family]:
    """Return families by name.

    Args:
        found: What a parser made of the page.
        counters: The names that the text format declares as counters; `None` for OpenMetrics.
    """
    families: dict[str, Family] = {}
    for metric in found:
        samples = [
            Sample(each.name, dict(each.labels or {}), float(each.value))
            for each in metric.samples
            if each.value is not None  # A native histogram.
        ]
        if metric.type == "counter" and counters is not None and metric.name in counters:
            # The parser names it ``_total``, which nobody who asks Prometheus would find.
            samples = [each._replace(name=each.name.removesuffix("_total")) for each in samples]
        # Samples without a declaration come one by one, with the names of the samples.
        name = metric.name or samples[0].name
        if name in families and families[name].type == metric.type:
            families[name].samples.extend(samples)
            continue
        while name in families:
            # Such as a gauge ``x`` beside a counter ``x_total``.
            name += f"_{metric.type}"
        families[name] = Family(name, metric.type, metric.documentation, metric.unit, samples)
    return families
