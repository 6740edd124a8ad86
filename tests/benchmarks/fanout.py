"""What publishing and delivering cost beside redis.asyncio alone, against a real Redis."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import thread_time
from typing import Any, Final

import orjson
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import CollectorRegistry
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from asgi_ws_observe.fanout import inject, inject_headers
from asgi_ws_observe.fanout.redis import RedisChannel
from tests.benchmarks.results import Effort, Json, rounded
from tests.fanout.redis_servers import single

__all__ = ["PLAIN", "fanout", "ours"]

#: Mode of Redis -> what it is called without this library.
PLAIN: Final = {
    "pubsub": "redis.asyncio alone, Pub/Sub",
    "streams": "redis.asyncio alone, Streams",
}
BODY: Final = {"type": "chat", "room": "general", "name": "ada", "text": "hello, everybody"}


def ours(mode: str, traced: bool) -> str:
    """Return what a case of this library is called."""
    name = {"pubsub": "Pub/Sub", "streams": "Streams"}[mode]
    return f"asgi_ws_observe: {name}, {'traced' if traced else 'no SDK'}"


def fanout(effort: Effort, progress: Callable[[str], None]) -> Json:
    """Return the CPU that a message takes in this process, microseconds, by case and round."""
    if shutil.which("redis-server") is None:
        raise RuntimeError("no redis-server; get it: apt-get install redis-server")
    with tempfile.TemporaryDirectory() as folder, single(Path(folder)) as server:
        measured = asyncio.run(_measure(server.url, effort, progress))
    return {"messages": effort.published, "rows": measured}


async def _measure(url: str, effort: Effort, progress: Callable[[str], None]) -> list[Json]:
    sdk = TracerProvider()
    cases: list[_Plain | _Ours] = []
    for mode in ("pubsub", "streams"):
        cases.append(_Plain(url, mode))
        cases += [_Ours(url, mode, provider) for provider in (None, sdk)]
    for case in cases:
        await case.open()
    # The first round warms everything up.
    for number in range(effort.rounds + 1):
        for case in cases if number % 2 else reversed(cases):
            published = await _cpu(case.publish, effort.published)
            delivered = await _cpu(case.take, effort.published)
            if number:
                case.published.append(published)
                case.delivered.append(delivered)
        if number:
            progress(f"round {number} of {effort.rounds}")
    for case in cases:
        await case.close()
    return [
        {
            "name": case.name,
            "publish": rounded(case.published, 1),
            "deliver": rounded(case.delivered, 1),
        }
        for case in cases
    ]


async def _cpu(work: Callable[[int], Awaitable[None]], number: int) -> float:
    """Return the CPU that each of so many takes in this thread, microseconds."""
    began = thread_time()
    await work(number)
    return (thread_time() - began) / number * 1e6


def _send(url: str, mode: str, topic: str, messages: list[tuple[bytes, dict[str, str]]]) -> None:
    """Publish from another thread, whose CPU does not count."""
    with Redis.from_url(url) as client, client.pipeline(transaction=False) as pipeline:
        for body, headers in messages:
            if mode == "streams":
                pipeline.xadd(topic, {"body": body, **headers}, maxlen=10_000)
            else:
                pipeline.publish(topic, body)
        pipeline.execute()


class _Case:
    """One way to publish and to deliver.

    Attributes:
        name: What it is.
        published: CPU of a publish by round, microseconds.
        delivered: The same of a delivery.
    """

    def __init__(self, name: str, url: str, mode: str) -> None:
        self.name = name
        self.published: list[float] = []
        self.delivered: list[float] = []
        self._url = url
        self._mode = mode
        self._topic = f"topic of {name}"

    async def _sent(self, messages: list[tuple[bytes, dict[str, str]]]) -> None:
        await asyncio.to_thread(_send, self._url, self._mode, self._topic, messages)


class _Plain(_Case):
    """What one writes by hand: JSON there and back, and nothing about its way."""

    def __init__(self, url: str, mode: str) -> None:
        super().__init__(PLAIN[mode], url, mode)
        self._last: bytes | str = "0"

    async def open(self) -> None:
        self._redis: Any = AsyncRedis.from_url(self._url, protocol=2)
        self._pubsub = self._redis.pubsub(ignore_subscribe_messages=True)
        await self._pubsub.subscribe(self._topic)

    async def publish(self, number: int) -> None:
        for _ in range(number):
            if self._mode == "streams":
                await self._redis.xadd("nobody", {"body": orjson.dumps(BODY)}, maxlen=10_000)
            else:
                await self._redis.publish("nobody", orjson.dumps(BODY))

    async def take(self, number: int) -> None:
        await self._sent([(orjson.dumps(BODY), {})] * number)
        taken = 0
        while taken < number:
            if self._mode == "streams":
                found = await self._redis.xread({self._topic: self._last}, count=100, block=1000)
                bodies = [fields[b"body"] for _, some in found for _, fields in some]
                self._last = found[-1][1][-1][0]
            else:
                message = await self._pubsub.get_message(timeout=1.0)
                bodies = [message["data"]] if message else []
            assert all(orjson.loads(body) == BODY for body in bodies)
            taken += len(bodies)

    async def close(self) -> None:
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._redis.aclose()


class _Ours(_Case):
    """The channel, and with an SDK the spans of both ends."""

    def __init__(self, url: str, mode: str, provider: TracerProvider | None) -> None:
        super().__init__(ours(mode, provider is not None), url, mode)
        self._provider = provider
        self._sequence = 0

    async def open(self) -> None:
        self._channel = RedisChannel(
            self._url,
            mode=self._mode,
            registry=CollectorRegistry(),
            tracer_provider=self._provider or NoOpTracerProvider(),
        )
        self._subscription = self._channel.subscribe(self._topic)
        await self._subscription.__aenter__()
        self._deliveries = self._subscription.__aiter__()

    async def publish(self, number: int) -> None:
        for _ in range(number):
            await self._channel.publish("nobody", BODY)

    async def take(self, number: int) -> None:
        await self._sent([self._message() for _ in range(number)])
        for _ in range(number):
            with await self._deliveries.__anext__() as delivery:
                assert delivery.body == BODY

    def _message(self) -> tuple[bytes, dict[str, str]]:
        self._sequence += 1
        mark: dict[str, Any] = {"publisher": "somebody", "sequence": self._sequence}
        tracer = (self._provider or NoOpTracerProvider()).get_tracer("publisher")
        with tracer.start_as_current_span("publish"):
            if self._mode == "streams":
                return inject_headers(BODY, **mark)
            return inject(BODY, **mark), {}

    async def close(self) -> None:
        await self._deliveries.aclose()
        await self._channel.aclose()
