"""What stands between one connection's server and its application."""

from __future__ import annotations

import contextlib
import types
from time import perf_counter

from starlette.types import Message, Receive, Scope, Send

from .buckets import MOST_PENDING
from .connection import Connection
from .observation import Observation
from .states import State
from .traffic import utf8_size

__all__ = ["Channel"]


class Channel(Connection):
    """The record with the application's ``receive`` and ``send``: one object on the hot path."""

    __slots__ = ("_receive", "_send")

    def __init__(
        self, observation: Observation, scope: Scope, receive: Receive, send: Send
    ) -> None:
        super().__init__(observation, scope, perf_counter())
        self._receive = receive
        self._send = send

    # `handled`, `received` and `sent` are written out here for the message of an open connection:
    # the calls alone would make it a tenth dearer. Whatever is not as simple as that, a payload
    # that is `None` say, goes the general way.

    async def receive(self) -> Message:
        if self._handling:
            now = perf_counter()
            duration = now - self.received_at
            self._handling = False
            self._handler_times.append(duration)
            if duration > self.slowest:
                self.slowest = duration
            if self._followed:
                listener = self._listener
                if self.skipped is not None and listener and duration < listener.slow:
                    self.skipped = None
                else:
                    self._tell_handled(duration, now)
        try:
            message = await self._receive()
        except BaseException:
            if self._listener is not None:
                self._listener.interrupted()
            raise
        now = perf_counter()
        try:
            if self._is_open and message["type"] == "websocket.receive":
                if "text" in message and (data := message["text"]) is not None:
                    size = len(data) if data.isascii() else utf8_size(data)
                else:
                    size = len(message["bytes"])
                sizes = self._sizes_in
                sizes.append(size)
                if len(sizes) >= MOST_PENDING:
                    self._numbers.settle()
                self.messages_in += 1
                self.bytes_in += size
                self._last_size = size
                self.received_at = now
                self._handling = True
                if self._followed:
                    if self._gate is not None and now < self._gate.opens_at:
                        self.skipped = message
                    else:
                        self._tell_received(message, size)
                return message
        except Exception:  # noqa: BLE001, S110
            pass
        try:
            self.received(message, now)
        except Exception as error:  # noqa: BLE001
            self._failed(error)
        return message

    async def send(self, message: Message) -> None:
        started = perf_counter()
        if self.sending_since:
            self.waits_too(started)
        else:
            self.sending_since = started
        try:
            await self._send(message)
        except BaseException as error:
            self._refused(message, error, started)
            raise
        now = perf_counter()
        if self._also_sending:
            self.waits_no_more(started)
        else:
            self.sending_since = 0.0
        try:
            if self._is_open and message["type"] == "websocket.send":
                if "bytes" in message and (data := message["bytes"]) is not None:
                    size = len(data)
                else:
                    data = message["text"]
                    size = len(data) if data.isascii() else utf8_size(data)
                self._send_times.append(now - started)
                sizes = self._sizes_out
                sizes.append(size)
                if len(sizes) >= MOST_PENDING:
                    self._numbers.settle()
                self.messages_out += 1
                self.bytes_out += size
                if self._sends_followed:
                    self._tell_sent(message, size, started, now)
                return
        except Exception:  # noqa: BLE001, S110
            pass
        try:
            self.sent(message, started, now)
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _refused(self, message: Message, error: BaseException, started: float) -> None:
        self.waits_no_more(started)
        try:
            self.send_failed(message, error, started, perf_counter())
        except Exception as failure:  # noqa: BLE001
            self._failed(failure)

    def end(self, error: BaseException | None) -> None:
        """Finish the record when the application has returned or raised."""
        try:
            told = self.probe is not None and self.probe.tells_end
            if self.state is State.OPEN and not told:
                # What a server raises here means "nothing more".
                with contextlib.suppress(Exception):
                    self._look_for_disconnect()
            self.ended(error, perf_counter())
        except Exception as failure:  # noqa: BLE001
            self._failed(failure)

    def _look_for_disconnect(self) -> None:
        """Take in a disconnect that the server has ready and the application never asked for.

        An application that only sends learns of its client's leaving by an OSError of ``send``
        (ASGI since 2.4), and Starlette makes 1006 of that whatever the client said. The true code
        waits in the server's queue. Only what is there without waiting is taken, and only when the
        application is done.
        """
        # More than a queue of messages that nobody read is not looked through.
        for _ in range(1000):
            step = self._receive()
            if not isinstance(step, types.CoroutineType):
                return
            try:
                step.send(None)
                step.close()
            except StopIteration as ready:
                if ready.value["type"] == "websocket.disconnect":
                    self.received(ready.value, perf_counter())
                    return
            else:
                return

    def _failed(self, error: Exception) -> None:
        self._observation.errors.report("record", error, type(self), "the event is not counted")
