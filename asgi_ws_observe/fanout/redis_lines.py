"""Connections to Redis that belong to a channel alone, each read by a task of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

from redis.exceptions import ResponseError

from .tasks import start, stop, within

__all__ = ["Caller", "Line", "Lines"]

Command = tuple[Any, ...]

#: After so many answers that were there already the event loop gets its turn.
_SLICE: Final = 50
#: Who gives up on an answer gives up on its connection, if it has been waited for so long, seconds.
_PATIENCE: Final = 0.5


class Line:
    """One connection.

    Args:
        connection: One of the client library's, not connected yet.
        take: Gets each answer or message; what the server refused is an exception.
        lost: Called once if the connection is lost.

    Attributes:
        waits: Whether an answer is to come.
        client_id: The server's own number of this connection, where it was asked for.
        heard: When something came the last time, seconds of `time.perf_counter`.
        asked: When the server was asked to say something, `None` where it has since.
    """

    def __init__(
        self,
        connection: Any,
        take: Callable[[Line, Any], None],
        lost: Callable[[Exception], None],
    ) -> None:
        self._connection = connection
        self._take = take
        self._lost = lost
        self._task: asyncio.Task[None] | None = None
        self.waits = False
        self.client_id: int | None = None
        self.heard = perf_counter()
        self.asked: float | None = None

    async def open(self, *, with_id: bool = False) -> None:
        """Connect.

        Args:
            with_id: Whether to ask for `client_id`.
        """
        try:
            await self._connection.connect()
            if with_id:
                await self._connection.send_command("CLIENT", "ID", check_health=False)
                self.client_id = int(await self._connection.read_response())
        except BaseException:
            await self.shut()
            raise
        self.heard = perf_counter()
        self._task = start(self._read(), "ws_fanout_redis")

    async def say(self, *commands: Command) -> None:
        """Send commands, all at once, and wait for no answer.

        Raises:
            ConnectionError: The connection is lost: the library's would come back without its
                subscriptions.
        """
        if self._task is None or self._task.done() or not self._connection.is_connected:
            raise ConnectionError("the connection to Redis is lost")
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def shut(self) -> None:
        """Disconnect."""
        task, self._task = self._task, None
        await stop(task)
        with suppress(Exception):
            await self._connection.disconnect(nowait=True)

    async def _read(self) -> None:
        count = 0
        while True:
            try:
                answer = await self._connection.read_response(disable_decoding=True)
            except ResponseError as error:
                answer = error
            except Exception as error:  # noqa: BLE001 - clients raise what they like
                self._lost(error)
                return
            self.heard, self.asked = perf_counter(), None
            self._take(self, answer)
            count += 1
            if count % _SLICE == 0:
                await asyncio.sleep(0)


class _Question:
    __slots__ = ("answers", "asked", "future", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.answers: list[Any] = []
        self.asked = perf_counter()
        self.future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()


class Caller:
    """Asks one server, on one connection that is made when it is needed.

    Questions do not wait for each other's answers, and arrive in the order in which they are
    asked. One that nobody waits for any more leaves the connection as good as it was.

    Args:
        connection: Makes a new connection.
    """

    def __init__(self, connection: Callable[[], Any]) -> None:
        self._connection = connection
        self._connecting = asyncio.Lock()
        self._line: Line | None = None
        self._questions: deque[_Question] = deque()
        self._closed = False

    async def ask(self, *commands: Command) -> list[Any]:
        """Return the answers; what the server refused is an exception among them.

        Raises:
            Exception: The server cannot be reached, or the connection was lost meanwhile.
        """
        line = self._line or await self._connected()
        question = _Question(len(commands))
        self._questions.append(question)
        try:
            await line.say(*commands)
            return await question.future
        except asyncio.CancelledError:
            asked = self._questions[0].asked if self._questions else question.asked
            if self._line is line and perf_counter() - asked >= _PATIENCE:
                await self._drop(TimeoutError("Redis does not answer"))
            raise
        except Exception as error:
            # The others learn it from the task that reads; this one is not to be warned about.
            question.future.cancel()
            if self._line is line:
                await self._drop(error)
            raise

    async def aclose(self) -> None:
        """Disconnect, for good."""
        self._closed = True
        await self._drop(_closed())

    async def _connected(self) -> Line:
        async with self._connecting:
            if self._line is None:
                line = Line(self._connection(), self._take, self._lost)
                await line.open()
                if self._closed:
                    await line.shut()
                    raise _closed()
                self._line = line
            return self._line

    async def _drop(self, error: Exception) -> None:
        line = self._line
        self._lost(error)
        if line is not None:
            await line.shut()

    def _take(self, _: Line, answer: Any) -> None:
        question = self._questions[0]
        question.answers.append(answer)
        if len(question.answers) == question.most:
            self._questions.popleft()
            if not question.future.done():
                question.future.set_result(question.answers)

    def _lost(self, error: Exception) -> None:
        self._line = None
        questions, self._questions = self._questions, deque()
        for question in questions:
            if not question.future.done():
                question.future.set_exception(error)


def _closed() -> ConnectionError:
    return ConnectionError("the channel is closed")


class Lines:
    """All connections on which one listener listens: one, or in a cluster several."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, Line] = {}
        self._heard: deque[tuple[Line, Any]] = deque()
        self._arrived = asyncio.Event()
        self._error: Exception | None = None
        # Which of the times between two shut() it is.
        self._time = 0

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    def begin(self) -> None:
        """Forget what was before, perhaps on another event loop."""
        self._heard.clear()
        self._error = None
        self._arrived = asyncio.Event()

    def get(self, place: Hashable) -> Line | None:
        """Return the line for this, if there is one."""
        return self._lines.get(place)

    async def open(self, place: Hashable, connection: Any, *, with_id: bool = False) -> Line:
        """Connect, for this.

        Raises:
            ConnectionError: All were shut meanwhile.
        """
        now = self._time
        line = Line(connection, self._take, self._lost)
        await line.open(with_id=with_id)
        if now != self._time:
            await line.shut()
            raise ConnectionError("the listener connects again")
        self._lines[place] = line
        self.wake()
        return line

    def wake(self) -> None:
        """Let `hear` return at once."""
        self._arrived.set()

    async def hear(self, timeout: float) -> list[tuple[Line, Any]] | None:
        """Return what came on which line; `None` where nothing came on any.

        Args:
            timeout: How long to wait, seconds.

        Raises:
            Exception: A connection is lost; any of the client library's.
            TimeoutError: One of several says nothing, although it was asked to.
        """
        await self._watch(timeout)
        woken = True
        if not self._heard and self._error is None:
            try:
                await within(timeout, self._arrived.wait())
            except asyncio.TimeoutError:
                woken = not self._lines
        self._arrived.clear()
        if self._heard:
            heard = list(self._heard)
            self._heard.clear()
            return heard
        if self._error is not None:
            raise self._error
        return [] if woken else None

    async def ping(self) -> None:
        """Ask for a sign of life on all lines."""
        for line in self:
            await line.say(("PING",))

    async def shut(self) -> None:
        """Disconnect all; whoever hears them now is told that they are lost."""
        self._time += 1
        self._lost(ConnectionError("the listener connects again"))
        lines = list(self._lines.values())
        self._lines.clear()
        for line in lines:
            await line.shut()

    async def _watch(self, timeout: float) -> None:
        """Find the one that is silent while others talk; of a single one `hear` tells that."""
        if len(self._lines) < 2:
            return
        now = perf_counter()
        for line in self:
            if line.asked is None and now - line.heard >= timeout:
                line.asked = now
                if not line.waits:
                    await line.say(("PING",))
            elif line.asked is not None and now - line.asked >= timeout:
                raise TimeoutError(f"a server of the cluster says nothing for {2 * timeout:g} s")

    def _take(self, line: Line, answer: Any) -> None:
        self._heard.append((line, answer))
        self._arrived.set()

    def _lost(self, error: Exception) -> None:
        self._error = error
        self._arrived.set()
