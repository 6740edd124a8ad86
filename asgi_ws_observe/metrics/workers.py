"""Sibling worker processes: whichever is asked answers `/metrics` for all of them.

Each worker of one supervisor takes a slot, which is a lock on a file: the kernel frees it however
the worker ends, so that its successor gets the same label. It serves its own exposition on a Unix
socket beside the lock, from a thread: a worker whose event loop is blocked still answers. The
directory is this user's alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import threading
from pathlib import Path
from typing import Final

import orjson

from ..exceptions import ObserveError
from ..hooks import OwnErrors
from ..store import MAX_WORKERS
from . import places
from .exposition import Exposition
from .formats import Family, Format
from .prometheus import RegistryNumbers, all_numbers, registry_of

__all__ = ["ANSWER_WITHIN", "Workers", "families_in", "join", "leave"]

_logger = logging.getLogger("asgi_ws_observe")

#: A sibling that has not answered by then counts as down for this scrape, seconds.
ANSWER_WITHIN: Final = 2.0

_UNANSWERED: Final = "siblings miss this worker's metrics"
_ALONE: Final = "/metrics shows this worker only"
_MULTIPROC: Final = ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir")
_MULTIPROC_TEXT: Final = (
    "PROMETHEUS_MULTIPROC_DIR is set. /metrics does not need it: every worker's metrics are read "
    "in that worker and told apart by the label worker, and a MultiProcessCollector is asked once "
    "for all. Its files hold neither the metrics of asgi_ws_observe nor process_* nor exemplars."
)
#: A directory of the user's may hold other sockets too.
_SOCKETS: Final = {f"{slot}.sock": slot for slot in range(MAX_WORKERS)}
_LENGTH: Final = struct.Struct(">Q")
_MOST_REQUEST: Final = 2**16


class Workers:
    """This process among its siblings.

    Args:
        directory: Where they meet.
        supervisor: The process that starts the siblings; `None` where the user named the
            directory, so that siblings are expected.
        errors: Where failures go.

    Attributes:
        slot: This process's place, the value of its label ``worker``.

    Raises:
        OSError: The directory cannot be used.
        ObserveError: It belongs to somebody else, or is full.
        RuntimeError: There can be no more threads.
    """

    def __init__(self, directory: Path, *, supervisor: int | None, errors: OwnErrors) -> None:
        self._directory = directory
        self._supervisor = supervisor
        self._errors = errors
        self._shared = False
        with contextlib.ExitStack() as opened:
            # A directory that is locked is left alone by `places.sweep`, and by systemd-tmpfiles.
            self._held = places.hold(directory)
            opened.callback(os.close, self._held)
            self.slot, self._lock = self._claim()
            opened.callback(os.close, self._lock)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            opened.callback(self._listener.close)
            self._listener.bind(str(self._path(self.slot)))
            self._listener.listen()
            threading.Thread(
                target=self._serve,
                args=(self._listener,),
                name="asgi-ws-observe-worker",
                daemon=True,
            ).start()
            opened.pop_all()

    @property
    def shared(self) -> bool:
        """Whether there are siblings, or ever were: labels must not come and go.

        One that is only starting counts: where all are replaced, there may be no other yet.
        """
        if not self._shared:
            self._shared = (
                self._supervisor is None
                or (self._directory / "1.lock").exists()
                or places.has_another_child(self._supervisor)
            )
        return self._shared

    def label(self) -> None:
        """Give the numbers of this process its label, from when there are siblings."""
        if self.shared:
            for numbers in all_numbers():
                numbers.store.worker = self.slot

    async def ask(
        self, numbers: RegistryNumbers, accept: str, names: frozenset[str] | None, within: float
    ) -> dict[int, bytes | None]:
        """Return the answers of all siblings, asked at the same time.

        Args:
            numbers: What is asked for.
            accept: The ``Accept`` header.
            names: Only samples of these names.
            within: How long they have, seconds.

        Returns:
            By slot what `families_in` reads, `None` where a worker lives and does not answer.
        """
        wanted = None if names is None else sorted(names)
        request = {"registry": numbers.ordinal, "accept": accept, "names": wanted}
        line = orjson.dumps(request) + b"\n"
        found = {_SOCKETS.get(path.name) for path in self._directory.glob("*.sock")}
        others = sorted(slot for slot in found if slot is not None and slot != self.slot)
        answers = await asyncio.gather(
            *(_answer_of(self._path(slot), line, within) for slot in others)
        )
        return {
            slot: answer
            for slot, answer in zip(others, answers, strict=True)
            if answer is None or answer
        }

    def leave(self) -> None:
        """Give the slot back; the last one removes the directory, unless the user named it."""
        # Wakes the thread that waits in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        # In the directory that was joined: one that came in its place is somebody else's.
        with contextlib.suppress(OSError):
            os.unlink(self._path(self.slot).name, dir_fd=self._held)
        if self._supervisor is not None:
            places.remove(self._directory, self._held)
        self.forget()

    def forget(self) -> None:
        """Close what is open; in a forked child the slot stays its parent's."""
        self._listener.close()
        os.close(self._lock)
        os.close(self._held)

    def _path(self, slot: int) -> Path:
        return self._directory / f"{slot}.sock"

    def _claim(self) -> tuple[int, int]:
        for slot in range(MAX_WORKERS):
            lock = places.lock(self._directory / f"{slot}.lock")
            if lock is None:
                continue
            # Of one that was killed.
            self._path(slot).unlink(missing_ok=True)
            return slot, lock
        raise ObserveError(f"all {MAX_WORKERS} slots in {self._directory} are taken")

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(ANSWER_WITHIN)
                try:
                    self._answer(connection)
                except OSError:  # the asker is gone, or has stopped
                    pass
                except Exception as error:  # noqa: BLE001
                    self._errors.report("workers", error, "workers", _UNANSWERED)

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as file:
            line = file.readline(_MOST_REQUEST)
        if _is_gone(connection):
            # A worker that was stopped for a while has many of these.
            return
        request = orjson.loads(line)
        found = registry_of(request["registry"])
        families: list[Family] = []
        if found is not None:
            registry, numbers = found
            self.label()
            names = request["names"]
            families = Exposition.of(numbers).families(
                registry,
                Format(request["accept"]),
                None if names is None else frozenset(names),
                shared=False,
            )
        # orjson takes no named tuples.
        body = orjson.dumps([tuple(family) for family in families])
        connection.sendall(_LENGTH.pack(len(body)) + body)


def families_in(answer: bytes | None) -> list[Family] | None:
    """Return the families of a sibling's answer, `None` where it gave none that can be read."""
    try:
        return None if answer is None else [Family(*family) for family in orjson.loads(answer)]
    except (ValueError, TypeError):  # of another version, in a directory that the user named
        return None


async def _answer_of(path: Path, line: bytes, within: float) -> bytes | None:
    """Return a sibling's answer, `None` where it gives none, nothing where nobody is there."""
    try:
        return await asyncio.wait_for(_ask(path, line), within)
    except (FileNotFoundError, ConnectionRefusedError):
        return b""
    except (OSError, EOFError, asyncio.TimeoutError):
        return None


async def _ask(path: Path, line: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    try:
        writer.write(line)
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return await reader.readexactly(length)
    finally:
        writer.close()


def _is_gone(connection: socket.socket) -> bool:
    """Return whether the other side has hung up."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        connection.settimeout(ANSWER_WITHIN)


class _Process:
    """What this process has decided."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.decided = False
        self.workers: Workers | None = None


_process: Final = _Process()


def join(numbers: RegistryNumbers) -> Workers | None:
    """Return this process's place among its siblings, if there can be any; the first call takes it.

    Args:
        numbers: What it has to show, and `Settings.workers`.
    """
    setting = numbers.workers
    if setting is None or setting == "off":
        return None
    if not _process.decided:
        with _process.lock:
            if not _process.decided:
                _process.workers = _join(setting, numbers.errors)
                _process.decided = True
    return _process.workers


def _join(setting: str, errors: OwnErrors) -> Workers | None:
    if any(os.environ.get(name) for name in _MULTIPROC):
        _logger.warning(_MULTIPROC_TEXT)
    supervisor = places.supervisor()
    if not places.POSSIBLE or (setting == "auto" and supervisor is None):
        return None
    named = setting != "auto"
    place = Path(setting) if named else places.meeting_place(supervisor or 0)
    try:
        if not named:
            places.sweep(place)
        workers = Workers(place, supervisor=None if named else supervisor, errors=errors)
    except (OSError, ObserveError, RuntimeError) as error:
        errors.report("workers", error, str(place), _ALONE)
        return None
    workers.label()
    return workers


def leave() -> None:
    """Give this process's slot back; a later `join` takes one again."""
    with _process.lock:
        workers, _process.workers, _process.decided = _process.workers, None, False
        if workers is not None:
            workers.leave()
            _unlabel()


def _forget() -> None:
    """Leave the slot to the parent: a forked process holds its lock too, and has no thread."""
    workers = _process.workers
    _process.__init__()  # type: ignore[misc]
    if workers is not None:
        workers.forget()
        _unlabel()


def _unlabel() -> None:
    for numbers in all_numbers():
        numbers.store.worker = None


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(after_in_child=_forget)
