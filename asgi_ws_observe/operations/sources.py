"""Where answers come from: a Prometheus, or nodes' pages that are sampled for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

import httpx

from .pages import AskError, Page, fetch, instance_of, page_url
from .promql import QueryError, Samples, Value, evaluate

__all__ = ["PrometheusSource", "SampledSource", "Source", "only_prometheus", "recognise"]

#: A query that every Prometheus answers, and those that speak its language as well.
_ANY: Final = "vector(1)"


class Source(Protocol):
    """Answers queries.

    Attributes:
        history: Whether it remembers hours and days.
    """

    history: bool

    async def ask(self, query: str) -> list[Value]:
        """Return what a query says now; a scalar is one value without labels.

        Raises:
            AskError: There is no answer.
        """
        ...  # pragma: no cover - a protocol


class PrometheusSource:
    """A Prometheus, or what speaks its HTTP API, such as Thanos, Mimir or VictoriaMetrics.

    Args:
        url: Its URL, with the prefix of its paths where it has one.
        client: The client to ask with; the caller closes it.
        token: A bearer token to send; `None` for none.
        headers: More headers to send, such as a tenant's; `None` for none.
        timeout: Seconds within which an answer must have come.
    """

    history = True

    def __init__(
        self,
        url: str,
        client: httpx.AsyncClient,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._url = _base(url)
        self._client = client
        own = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._headers = {**own, **(headers or {})}
        self._timeout = timeout

    async def ask(self, query: str) -> list[Value]:
        """Return what a query says now.

        Raises:
            QueryError: It refuses the query.
            AskError: It does not answer, or is no Prometheus.
        """
        status, answer = await _query(self._client, self._url, query, self._headers, self._timeout)
        if status in (401, 403):
            raise AskError(f"{self._url}: got {status}; it wants a token that may query")
        if not isinstance(answer, dict) or "status" not in answer:
            raise AskError(
                f"{self._url}: got {status} and no answer of a Prometheus; give the URL of its "
                "start page, with the prefix of its paths"
            )
        if answer["status"] != "success":
            kind = QueryError if status in (400, 422) else AskError
            said = " ".join(str(answer.get("error", status)).split())
            raise kind(f"{self._url}: {said}, in the query {query}")
        try:
            return _values(answer["data"])
        except (KeyError, TypeError, ValueError, IndexError):
            raise AskError(f"{self._url}: got an answer of an unknown form to {query}") from None


class SampledSource:
    """Nodes' pages, sampled for a while; knows nothing of what was before.

    Args:
        urls: URLs of the nodes' pages; each is an instance.
        client: The client to ask with; the caller closes it.
        window: For how long `sample` samples, seconds.
        interval: From one look to the next, seconds.
        job: The label ``job`` of all series.
        timeout: Seconds within which a page must have come.

    Attributes:
        samples: What was sampled.
        errors: Why nodes had no page at the last look, by instance.
        pages: The last page of each node, by instance.

    Raises:
        AskError: One of the URLs is none, or two are of one instance.
    """

    history = False

    def __init__(
        self,
        urls: Sequence[str],
        client: httpx.AsyncClient,
        *,
        window: float = 30.0,
        interval: float = 1.0,
        job: str = "asgi",
        timeout: float = 10.0,
    ) -> None:
        self.samples = Samples(job, keep=2 * window)
        self.errors: dict[str, AskError] = {}
        self.pages: dict[str, Page] = {}
        self._nodes: dict[str, str] = {}
        for url in map(page_url, urls):
            instance = instance_of(url)
            if self._nodes.setdefault(instance, url) != url:
                raise AskError(f"{self._nodes[instance]} and {url} are one node; give one of them")
        self._client = client
        self._window, self._interval, self._timeout = window, interval, timeout
        # The system's clock may be set while we sample.
        self._zero = time.time() - time.monotonic()

    async def look(self) -> None:
        """Take one sample of each node, of all at once.

        Raises:
            AskError: No node has ever had a page.
        """
        await asyncio.gather(*(self._look_at(*each) for each in self._nodes.items()))
        if self.errors and not self.pages:
            raise next(iter(self.errors.values()))

    async def sample(self, progress: Callable[[float], None] | None = None) -> None:
        """Look at the nodes again and again, for the window.

        Args:
            progress: Called after each look with the part that is done, 1 at the end.

        Raises:
            AskError: No node has a page at the first look.
        """
        begun = due = time.monotonic()
        last = False
        while not last:
            await asyncio.sleep(due - time.monotonic())
            await self.look()
            # A look that took longer than the interval is followed by the next one at once.
            due = max(due + self._interval, time.monotonic())
            last = due - begun > self._window + self._interval / 2
            if progress is not None:
                progress(1.0 if last else min((time.monotonic() - begun) / self._window, 1.0))

    async def ask(self, query: str) -> list[Value]:
        """Return what a query says at the last look; before the first one, nothing is there.

        Raises:
            QueryError: It is none, or needs a Prometheus.
        """
        return evaluate(query, self.samples, self.samples.newest)

    async def _look_at(self, instance: str, url: str) -> None:
        at = self._zero + time.monotonic()
        try:
            page = await fetch(self._client, url, self._timeout)
        except AskError as error:
            self.errors[instance] = error
            self.samples.missed(instance, at)
        else:
            self.errors.pop(instance, None)
            self.pages[instance] = page
            self.samples.append(page, at)


async def recognise(url: str, client: httpx.AsyncClient) -> Literal["prometheus", "metrics"]:
    """Return whether a URL is that of a Prometheus or of a node's page.

    A URL that ends in ``/metrics`` is a page, that of a Prometheus as well.

    Args:
        url: The URL.
        client: The client to ask with.

    Raises:
        AskError: It is no URL, or nobody answers.
    """
    base = _base(url)
    if httpx.URL(base).path.endswith("/metrics"):
        return "metrics"
    status, answer = await _query(client, base, _ANY, {}, 10.0)
    if status in (401, 403):
        raise AskError(f"{base}: got {status}; it wants a token that may query")
    found = isinstance(answer, dict) and answer.get("status") == "success"
    return "prometheus" if found else "metrics"


async def only_prometheus(urls: Sequence[str], client: httpx.AsyncClient) -> str | None:
    """Return the URL of the Prometheus that is meant; `None` where all are those of nodes.

    A URL that nobody answers is a node's, which is down.

    Args:
        urls: One Prometheus, or nodes.
        client: The client to ask with.

    Raises:
        AskError: There is a Prometheus among others.
    """
    kinds = set()
    for url in urls:
        try:
            kinds.add(await recognise(url, client))
        except AskError:
            kinds.add("metrics")
    if "prometheus" not in kinds:
        return None
    if len(urls) > 1:
        raise AskError("give one Prometheus, or the /metrics pages of nodes")
    return urls[0]


async def _query(
    client: httpx.AsyncClient, url: str, query: str, headers: Mapping[str, str], within: float
) -> tuple[int, Any]:
    """Return the status and the JSON that a query is answered with; `None` where it is none."""
    try:
        # Queries may be longer than a URL.
        answer = await client.post(
            f"{url}/api/v1/query",
            data={"query": query},
            headers=dict(headers),
            timeout=within,
            follow_redirects=True,
        )
    except httpx.TimeoutException:
        raise AskError(f"{url}: no answer within {within:g} s; is it overloaded?") from None
    except httpx.ConnectError as error:
        raise AskError(f"{url}: cannot connect ({error}); is the address right?") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise AskError(f"{url}: {type(error).__name__}: {error}; does it speak HTTP?") from None
    try:
        return answer.status_code, answer.json()
    except ValueError:
        return answer.status_code, None


def _values(data: Any) -> list[Value]:
    """Return the values of an answer of Prometheus."""
    kind, result = data["resultType"], data["result"]
    if kind == "scalar":
        return [Value({}, float(result[1]))]
    if kind != "vector":
        raise ValueError(kind)
    return [Value(dict(each["metric"]), float(each["value"][1])) for each in result]


def _base(url: str) -> str:
    """Return a URL as `page_url` completes it, but without a path where it had none."""
    full = page_url(url).rstrip("/")
    return full if url.rstrip("/").endswith("/metrics") else full.removesuffix("/metrics")
