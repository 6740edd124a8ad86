"""The application's own NATS client, or one that is made for it and comes back whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

from ..exceptions import MissingExtraError, SettingsError
from .tasks import start, stop, within

try:
    from nats.aio.client import Client
except ImportError as error:
    raise MissingExtraError("nats", "nats-py") from error

__all__ = ["NatsClient"]

#: After an attempt that failed, publishing fails at once for so long, seconds.
_PAUSE: Final = 1.0
#: How long nats-py may take to come back by itself, seconds. With an error that it does not expect
#: it never does.
_GRACE: Final = 1.0
#: How often nats-py tries each server again, and how long it waits before that, seconds. What comes
#: after that is done here, left to chance: its own attempts come in step on all nodes.
_AGAIN: Final = 1
_AGAIN_AFTER: Final = 0.1
#: How often nats-py asks whether the server is there, seconds; two answers may be missing.
_PING: Final = 10
#: How long closing may take, seconds: a server that reads nothing would hold it for ever.
_CLOSING: Final = 2.0
_SCHEMES: Final = ({"nats", "tls"}, {"ws", "wss"})
# nats-py gives the server's errors in lower case.
_REFUSED: Final = "permissions violation"


class NatsClient:
    """A client of the application's, or one made for addresses.

    Args:
        given: A `nats.aio.client.Client`, a URL such as ``nats://localhost:4222``, or several,
            as a list, a tuple or with commas between them.
        on_refusal: Called with what the server does not permit, where the client is made here:
            the application's own has a callback for that.

    Attributes:
        is_own: Whether it is made here.

    Raises:
        SettingsError: It is none of these.
    """

    def __init__(self, given: Any, on_refusal: Callable[[Exception], None]) -> None:
        self.is_own = not isinstance(given, Client)
        self._servers = _servers(given) if self.is_own else []
        self._client: Client | None = None if self.is_own else given
        self._on_refusal = on_refusal
        self._attempt: asyncio.Task[None] | None = None
        self._problem = ""
        self._not_before = 0.0
        self._away_since: float | None = None

    async def connected(self, *, at_once: bool = False) -> Client:
        """Return the client; one that is made here is connected first, if it has to be.

        Args:
            at_once: Whether to try even where an attempt has just failed.

        Raises:
            ConnectionError: It is not connected.
        """
        client = self._client
        if client is not None and client.is_connected:
            self._away_since = None
            return client
        if not self.is_own:
            raise ConnectionError("the application's NATS client is not connected")
        if client is not None:
            await self._replace(client)
        if self._attempt is None and (at_once or perf_counter() >= self._not_before):
            self._attempt = start(self._connect(), "ws_fanout_nats_connect")
        if self._attempt is not None:
            # Others wait for it too, so that nobody's end is its end.
            await asyncio.wait([self._attempt])
        if self._client is None:
            raise ConnectionError(f"NATS is not connected: {self._problem}")
        return self._client

    async def drop(self) -> None:
        """Close a client that was made here; the next use makes another one."""
        client, self._client = self._client, None
        self._away_since = None
        if client is not None:
            await _close(client)

    async def aclose(self) -> None:
        """Let go; the application's own client stays open."""
        attempt, self._attempt = self._attempt, None
        await stop(attempt)
        if self.is_own:
            await self.drop()

    async def _replace(self, client: Client) -> None:
        """Drop a client that does not come back.

        Raises:
            ConnectionError: It may still do so.
        """
        now = perf_counter()
        if self._away_since is None:
            self._away_since = now
        if not client.is_closed and now - self._away_since < _GRACE:
            raise ConnectionError("NATS is not connected: it is connected to again")
        await self.drop()

    async def _connect(self) -> None:
        client = Client()
        self._problem = ""
        try:
            await client.connect(
                list(self._servers),
                name="asgi_ws_observe",
                error_cb=partial(self._erred, client),
                max_reconnect_attempts=_AGAIN,
                reconnect_time_wait=_AGAIN_AFTER,  # type: ignore[arg-type] # it sleeps so long
                ping_interval=_PING,
            )
            self._client = client
        except Exception as error:  # noqa: BLE001 - it raises what it likes
            # That no server is left says less than why.
            self._problem = self._problem or _text(error)
            self._not_before = perf_counter() + _PAUSE
        finally:
            if self._client is not client:
                await _close(client)
            self._attempt = None

    async def _erred(self, client: Client, error: Exception) -> None:
        self._problem = _text(error)
        if not client.is_connected and client._transport:
            # nats-py forgets the socket of an attempt to come back that failed half-way.
            client._transport.close()  # type: ignore[no-untyped-call]
        if _REFUSED in self._problem:
            self._on_refusal(error)


def _servers(given: Any) -> list[str]:
    accepted = "accepted: a nats.aio.client.Client, or URLs such as nats://localhost:4222"
    parts = given.split(",") if isinstance(given, str) else given
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, str) for part in parts):
        raise SettingsError(f"nats: got {given!r}; {accepted}")
    urls = [part.strip() if "://" in part else f"nats://{part.strip()}" for part in parts]
    # They may have a password in them.
    schemes = {_scheme(url) for url in urls}
    if not schemes or not any(schemes <= accepted for accepted in _SCHEMES):
        raise SettingsError(f"nats: got a URL that is none, or of another kind; {accepted}")
    return urls


def _scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        return parts.scheme if parts.hostname and parts.port != 0 else ""
    except ValueError:
        return ""


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _close(client: Client) -> None:
    with suppress(Exception):
        await within(_CLOSING, client.close())
