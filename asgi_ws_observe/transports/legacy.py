"""uvicorn on the deprecated API of websockets."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from ..states import Ending
from .base import guarded, spawn
from .uvicorn import UvicornProbe, observed_protocol

__all__ = ["LegacyProbe"]


class LegacyProbe(UvicornProbe):
    """The probe of a `WebSocketProtocol`."""

    __slots__ = ()
    kind = "uvicorn-websockets"

    @staticmethod
    def make_observed(cls: Any) -> Any:
        return _observed(cls)

    def ending(self) -> Ending:
        return self.frames_ending(self.server)

    def compression(self) -> str | None:
        return ",".join(str(each.name) for each in self.server.extensions)

    # Here reading goes on until the queue of messages is full. Then a message waits for its place,
    # which is rare, so that it is watched always.

    def watch_reading(self) -> None:
        pass

    def unwatch_reading(self) -> None:
        pass

    def begin_waiting(self) -> None:
        """Take in that a message waits for its place in the queue."""
        self._arrived = perf_counter()

    def end_waiting(self) -> None:
        """Take in that it waits no more."""
        if self._arrived:
            self._paused += perf_counter() - self._arrived
            self._arrived = 0.0

    def paused_time(self, now: float) -> float:
        return self._paused + (now - self._arrived if self._arrived else 0.0)

    def is_paused(self) -> bool:
        return self.server._put_message_waiter is not None

    def queue(self) -> int | None:
        return len(self.server.messages)

    def ping(self, payload: bytes) -> None:
        self.begin_ping(payload)
        # It may have to wait behind messages that the peer does not read.
        spawn(self.server.ping(payload))

    @guarded
    def pinging(self, began: float) -> float:
        """Take in that any ping is about to be written; return how long reading has paused."""
        self.watch_reading()
        return self.paused_time(began)

    @guarded
    def answered(self, payload: Any, rtt: float, paused_before: float) -> None:
        """Take in the answer to any ping, whoever sent it."""
        now = perf_counter()
        if payload is not None and bytes(payload) == self._payload:
            self.waiting = False
        if self.server is not None:
            self.connection.heartbeat(rtt, self.paused_time(now) - paused_before)
            self.unwatch_reading()

    def fail(self) -> None:
        self.cause = "ping_timeout"
        self.server.fail_connection(1011, "heartbeat timeout")


def _observed(cls: Any) -> Any:
    class Observed(observed_protocol(cls)):  # type: ignore[misc]
        __slots__ = ()

        @property
        def _put_message_waiter(self) -> Any:
            return vars(self).get("_put_message_waiter")

        @_put_message_waiter.setter
        def _put_message_waiter(self, waiter: Any) -> None:
            self.__dict__["_put_message_waiter"] = waiter
            (self.ws_probe.end_waiting if waiter is None else self.ws_probe.begin_waiting)()

        def shutdown(self) -> None:
            if getattr(self, "close_sent", None) is None:
                self.ws_probe.cause = "server_shutdown"
            super().shutdown()

        def fail_connection(self, code: int = 1006, reason: str = "") -> Any:
            if code == 1011 and "ping timeout" in reason and self.close_sent is None:
                self.ws_probe.timed_out()
            return super().fail_connection(code, reason)

        async def ping(self, data: Any = None) -> Any:
            probe, began = self.ws_probe, perf_counter()
            paused = probe.pinging(began) or 0.0
            waiter = await super().ping(data)

            def done(pong: asyncio.Future[Any]) -> None:
                if not pong.cancelled() and pong.exception() is None:
                    probe.answered(data, perf_counter() - began, paused)

            waiter.add_done_callback(done)
            return waiter

    return Observed
