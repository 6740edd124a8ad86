"""A process among its siblings: its place, its label, and everything that can go wrong there."""

from __future__ import annotations

import fcntl
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from asgi_ws_observe.exceptions import ObserveError
from asgi_ws_observe.metrics import places, prometheus, workers
from asgi_ws_observe.metrics.prometheus import RegistryNumbers, all_numbers, numbers_of
from asgi_ws_observe.metrics.workers import Workers, join, leave
from asgi_ws_observe.store import MAX_WORKERS


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory for temporary files, with a short name; there are no siblings at the end."""
    found = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(found))
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        monkeypatch.delenv(name, raising=False)
    leave()  # what other tests' applications decided
    yield found
    leave()
    shutil.rmtree(found)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """What is to be closed after the test."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def numbers(registry: CollectorRegistry) -> RegistryNumbers:
    """What a middleware with the default settings has."""
    return taken(registry, "auto")


def taken(registry: CollectorRegistry, setting: str) -> RegistryNumbers:
    """Return the numbers of a registry whose middleware has this setting."""
    found = numbers_of(registry)
    found.workers = None
    found.take(Settings(workers=setting, log_handler="off"))
    return found


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be a worker of itself."""
    monkeypatch.setattr(places, "supervisor", os.getpid)


@pytest.fixture
def sibling(numbers: RegistryNumbers, directory: Path, opened: ExitStack) -> Callable[..., Workers]:
    """A function that makes another process's place, as far as one process can."""

    def make(place: Path | None = None) -> Workers:
        found = Workers(place or directory / "place", supervisor=None, errors=numbers.errors)
        opened.callback(found.leave)
        return found

    return make


def content(directory: Path) -> list[str]:
    """Return the names of everything in a directory."""
    return sorted(each.name for each in directory.iterdir())


def test_places_are_taken_in_order(
    sibling: Callable[..., Workers], numbers: RegistryNumbers, directory: Path
) -> None:
    """And one that is free again is taken first."""
    first = sibling()
    second = Workers(directory / "place", supervisor=None, errors=numbers.errors)
    third = sibling()
    assert [0, 1, 2] == [first.slot, second.slot, third.slot]
    second.leave()
    assert 1 == sibling().slot


def test_last_place_that_is_free_is_taken_and_no_other(
    sibling: Callable[..., Workers], directory: Path, opened: ExitStack
) -> None:
    """There are as many as the label has values."""
    place = directory / "place"
    place.mkdir(mode=0o700)
    for slot in range(MAX_WORKERS - 1):
        lock = opened.enter_context((place / f"{slot}.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
    assert MAX_WORKERS - 1 == sibling().slot
    with pytest.raises(ObserveError, match=f"all {MAX_WORKERS} slots in .*place are taken"):
        sibling()


def a_file(place: Path) -> None:
    """Put a file there."""
    place.touch()


def a_link(place: Path) -> None:
    """Put a link to a directory there."""
    (place.parent / "behind").mkdir(mode=0o700)
    place.symlink_to(place.parent / "behind")


def too_open(place: Path) -> None:
    """Put a directory there which others may read."""
    place.mkdir(mode=0o750)


def a_file_above(place: Path) -> None:
    """Put a file where its directory should be."""
    place.parent.rmdir()
    place.parent.touch()


@pytest.mark.parametrize("put", [a_file, a_link, too_open, a_file_above])
def test_directory_that_cannot_be_used_is_said_once(
    put: Callable[[Path], None],
    registry: CollectorRegistry,
    directory: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process answers for itself; a later scrape does not try again."""
    place = directory / "in" / "place"
    place.parent.mkdir()
    put(place)
    numbers = taken(registry, str(place))
    assert [None, None] == [join(numbers), join(numbers)]
    assert 1 == numbers.store.own_errors["workers"]
    (record,) = caplog.records
    assert record.getMessage() == (f"workers failed in '{place}'; /metrics shows this worker only")
    assert numbers.store.worker is None


def test_directory_of_somebody_else_is_not_used(
    registry: CollectorRegistry, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns it could answer in our name."""
    place = directory / "place"
    place.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: place.stat().st_uid + 1)
    numbers = taken(registry, str(place))
    assert join(numbers) is None
    assert 1 == numbers.store.own_errors["workers"]


def test_path_too_long_for_a_socket_is_said_and_leaves_no_lock(
    registry: CollectorRegistry, directory: Path
) -> None:
    """The kernel takes 107 bytes; the place that was taken before is free again."""
    place = directory / ("x" * 100)
    numbers = taken(registry, str(place))
    assert join(numbers) is None
    with (place / "0.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.usefixtures("supervised")
def test_process_that_can_start_no_thread_answers_for_itself(
    numbers: RegistryNumbers, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes no place, where siblings would wait for its answer."""

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert join(numbers) is None
    assert 1 == numbers.store.own_errors["workers"]
    (lock,) = directory.glob("*/0.lock")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("setting", ["off", "auto", None])
def test_who_can_have_no_siblings_does_nothing(
    setting: str | None, registry: CollectorRegistry, directory: Path
) -> None:
    """Not wanted; not started by a supervisor; no middleware that knows the setting."""
    numbers = numbers_of(registry) if setting is None else taken(registry, setting)
    assert join(numbers) is None
    assert [] == content(directory)


def test_system_without_locks_has_no_siblings(
    registry: CollectorRegistry, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows, for example."""
    monkeypatch.setattr(places, "POSSIBLE", False)
    assert join(taken(registry, str(directory / "place"))) is None
    assert [] == content(directory)


@pytest.mark.parametrize("variable", ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"])
def test_other_way_is_explained_once(
    variable: str,
    numbers: RegistryNumbers,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever this process is."""
    monkeypatch.setenv(variable, str(directory))
    for _ in range(2):
        join(numbers)
    (record,) = caplog.records
    assert logging.WARNING == record.levelno
    assert record.getMessage().startswith("PROMETHEUS_MULTIPROC_DIR is set. /metrics does not")


@pytest.mark.usefixtures("supervised")
def test_threads_that_join_together_take_one_place(
    numbers: RegistryNumbers, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that come while the first decides get what it decided."""
    entered, released = threading.Event(), threading.Event()
    real = workers._join
    decided: list[int] = []

    def slow(setting: str, errors: Any) -> Workers | None:
        decided.append(1)
        entered.set()
        assert released.wait(10)
        return real(setting, errors)

    monkeypatch.setattr(workers, "_join", slow)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(join, numbers)
        assert entered.wait(10)
        others = [pool.submit(join, numbers) for _ in range(2)]
        # Nothing tells that they wait for the lock; they may also come later.
        os.sched_yield()
        released.set()
        found = [each.result(10) for each in (first, *others)]
    assert [1] == decided
    assert found[0] is not None
    assert [found[0]] * 3 == found


@pytest.mark.usefixtures("supervised")
def test_single_worker_has_no_label(numbers: RegistryNumbers, directory: Path) -> None:
    """As long as there was no other one; from then on for good."""
    joined = join(numbers)
    assert joined is not None
    joined.label()
    assert (False, None) == (joined.shared, numbers.store.worker)
    (place,) = directory.iterdir()
    (place / "1.lock").touch()
    joined.label()
    assert (True, 0) == (joined.shared, numbers.store.worker)
    (place / "1.lock").unlink()
    assert joined.shared


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("supervised", "directory")
def test_worker_beside_one_that_is_starting_has_a_label(numbers: RegistryNumbers) -> None:
    """That one is a process already, and has no place yet."""
    joined = join(numbers)
    assert joined is not None
    assert not joined.shared
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(10)
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    try:
        assert joined.shared
    finally:
        os.close(writer)
        os.close(reader)
        os.waitpid(child, 0)


def test_process_that_has_ended_runs_nothing() -> None:
    """It is no sibling."""
    assert places._command_of(2**22 + 1) is None
    assert places._command_of(os.getpid()) is not None


@pytest.mark.usefixtures("supervised")
def test_place_can_be_given_back_and_taken_again(numbers: RegistryNumbers, directory: Path) -> None:
    """With the last one goes the directory, and the label."""
    for _ in range(2):
        joined = join(numbers)
        assert joined is not None
        (place,) = directory.iterdir()
        assert ["0.lock", "0.sock"] == content(place)
        (place / "1.lock").touch()
        joined.label()
        assert 0 == numbers.store.worker
        leave()
        assert [] == content(directory)
        assert numbers.store.worker is None
    leave()


def test_directory_that_the_user_named_stays(registry: CollectorRegistry, directory: Path) -> None:
    """Without the socket; its processes are expected to be several, so that there is a label."""
    numbers = taken(registry, str(directory / "place"))
    joined = join(numbers)
    assert (joined is not None, numbers.store.worker) == (True, 0)
    leave()
    assert ["0.lock"] == content(directory / "place")


@pytest.mark.usefixtures("supervised")
def test_one_that_leaves_removes_nothing_of_those_that_stay(
    numbers: RegistryNumbers, directory: Path, sibling: Callable[..., Workers]
) -> None:
    """They hold the directory."""
    join(numbers)
    (place,) = directory.iterdir()
    sibling(place)
    leave()
    assert ["0.lock", "1.lock", "1.sock"] == content(place)


@pytest.mark.usefixtures("supervised")
def test_one_that_leaves_removes_nothing_of_another_directory(
    numbers: RegistryNumbers, directory: Path, sibling: Callable[..., Workers]
) -> None:
    """One that came in its place, after somebody cleaned up."""
    join(numbers)
    (place,) = directory.iterdir()
    shutil.rmtree(place)
    sibling(place)
    leave()
    assert ["0.lock", "0.sock"] == content(place)


@pytest.mark.parametrize("recreated", [False, True])
def test_directory_that_goes_before_it_is_held_is_made_again(
    recreated: bool,
    sibling: Callable[..., Workers],
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last sibling left just then; another may have come since."""
    place = directory / "place"
    real = fcntl.flock
    gone: list[int] = []

    def flock(file: int, how: int) -> None:
        if not gone:
            gone.append(file)
            place.rename(directory / "gone")
            if recreated:
                place.mkdir(mode=0o700)
        real(file, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    assert 0 == sibling().slot
    assert ([], ["0.lock", "0.sock"]) == (content(directory / "gone"), content(place))


@pytest.mark.usefixtures("supervised", "directory")
def test_siblings_of_one_supervisor_meet(
    numbers: RegistryNumbers, sibling: Callable[..., Workers]
) -> None:
    """The second one finds the first one's directory."""
    sibling(places.meeting_place(os.getpid()))
    joined = join(numbers)
    assert joined is not None
    assert (1, 1) == (joined.slot, numbers.store.worker)


@pytest.mark.usefixtures("supervised")
def test_join_removes_what_killed_workers_left(
    numbers: RegistryNumbers, directory: Path, sibling: Callable[..., Workers]
) -> None:
    """And nothing that is held, is not ours, or is no directory."""
    prefix = f"asgi-ws-observe-{os.geteuid()}-"
    for name, mode in (("dead", 0o700), ("open", 0o777)):
        place = directory / f"{prefix}{name}"
        place.mkdir()
        place.chmod(mode)
        (place / "0.lock").touch()
    sibling(directory / f"{prefix}alive")
    (directory / "precious").mkdir(mode=0o700)
    (directory / "precious" / "data").touch()
    (directory / f"{prefix}link").symlink_to(directory / "precious")
    (directory / f"{prefix}file").touch()
    before = set(content(directory))
    joined = join(numbers)
    assert joined is not None
    assert before - {f"{prefix}dead"} == before & set(content(directory))
    assert ["0.lock"] == content(directory / f"{prefix}open")
    assert ["data"] == content(directory / "precious")
    assert ["0.lock", "0.sock"] == content(directory / f"{prefix}alive")


def run(module: str) -> SimpleNamespace:
    """Return a process as `multiprocessing` has it, running a function of this module."""
    return SimpleNamespace(_target=SimpleNamespace(__module__=module))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("uvicorn._subprocess", 42),
        ("hypercorn.asyncio.run", 42),
        ("granian.server.mp", 42),
        # Several of these may be several applications.
        ("uvicorn.main", None),
        ("uvicorn.server", None),
        ("uvicornlike._subprocess", None),
        ("app.jobs", None),
    ],
)
def test_only_a_supervisor_makes_siblings(
    module: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not everybody who starts processes."""
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(pid=42))
    monkeypatch.setattr(multiprocessing, "current_process", lambda: run(module))
    assert expected == places.supervisor()


@pytest.mark.parametrize("gunicorn", [True, False])
def test_forked_worker_of_gunicorn_has_siblings(
    gunicorn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no parent as far as `multiprocessing` knows."""
    if gunicorn:
        monkeypatch.setitem(sys.modules, "gunicorn.arbiter", SimpleNamespace())
    else:
        monkeypatch.delitem(sys.modules, "gunicorn.arbiter", raising=False)
    assert (os.getppid() if gunicorn else None) == places.supervisor()


def ask(place: Path, slot: int, request: bytes) -> list[Any] | None:
    """Return what a worker answers to a line, `None` where it hangs up."""
    with closing(socket.socket(socket.AF_UNIX)) as asker:
        asker.settimeout(10)
        asker.connect(str(place / f"{slot}.sock"))
        asker.sendall(request + b"\n")
        with asker.makefile("rb") as file:
            head = file.read(8)
            if not head:
                return None
            found: list[Any] = orjson.loads(file.read(struct.unpack(">Q", head)[0]))
            return found


def request(**fields: Any) -> bytes:
    """Return a request for the default registry, in the text format, with other fields."""
    return orjson.dumps({"registry": 0, "accept": "", "names": None} | fields)


def test_worker_answers_with_its_families(
    numbers: RegistryNumbers, sibling: Callable[..., Workers], directory: Path
) -> None:
    """Those that are asked for, under its label."""
    sibling()
    asked = request(registry=numbers.ordinal, names=["ws_observe_worker_up"])
    (family,) = ask(directory / "place", 0, asked) or []
    assert 'ws_observe_worker_up{worker="0"} 1.0\n' == family[2]
    everything = ask(directory / "place", 0, request(registry=numbers.ordinal)) or []
    assert {"ws_observe_info", "process_open_fds"} <= {family[0] for family in everything}


def test_worker_without_the_registry_has_no_family(
    sibling: Callable[..., Workers], directory: Path
) -> None:
    """It may come to it later."""
    sibling()
    assert [] == ask(directory / "place", 0, request(registry=10**6))


def test_worker_survives_a_request_that_is_none(
    numbers: RegistryNumbers, sibling: Callable[..., Workers], directory: Path
) -> None:
    """It hangs up, counts it, and answers the next one."""
    sibling()
    assert [None] * 2 == [ask(directory / "place", 0, each) for each in (b"\xff{", b"[]")]
    assert 2 == numbers.store.own_errors["workers"]
    assert ask(directory / "place", 0, request(registry=numbers.ordinal))


def test_worker_does_nothing_for_one_that_is_gone(
    registry: CollectorRegistry,
    numbers: RegistryNumbers,
    sibling: Callable[..., Workers],
    directory: Path,
) -> None:
    """Nor for one that goes while it writes."""
    collected: list[int] = []
    stopped, going = threading.Event(), threading.Event()

    class Slow:
        def describe(self) -> list[Any]:
            return []

        def collect(self) -> list[Any]:
            collected.append(1)
            going.set()
            assert stopped.wait(10)
            return []

    registry.register(Slow())
    sibling()
    with ExitStack() as opened:
        askers = []
        for _ in range(3):
            asker = opened.enter_context(closing(socket.socket(socket.AF_UNIX)))
            asker.connect(str(directory / "place" / "0.sock"))
            asker.sendall(request(registry=numbers.ordinal) + b"\n")
            askers.append(asker)
        assert going.wait(10)
    stopped.set()
    assert ask(directory / "place", 0, request(registry=numbers.ordinal))
    assert [1, 1] == collected
    assert 0 == numbers.store.own_errors["workers"]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_process_leaves_the_place_to_its_parent(
    registry: CollectorRegistry, directory: Path
) -> None:
    """It has no label, and the parent still answers when it has ended."""
    numbers = taken(registry, str(directory / "place"))
    assert join(numbers) is not None
    # Whatever the thread needs to start it has by then, and no lock of it.
    assert ask(directory / "place", 0, request(registry=numbers.ordinal))
    child = os.fork()
    if not child:
        signal.alarm(10)
        # It may join by itself, as another one.
        forgotten = (numbers.store.worker, workers._process.workers, workers._process.decided)
        joined = join(numbers)
        fine = forgotten == (None, None, False) and joined is not None and joined.slot == 1
        leave()
        os._exit(0 if fine else 1)
    assert (child, 0) == os.waitpid(child, 0)
    assert 0 == numbers.store.worker
    assert ["0.lock", "0.sock", "1.lock"] == content(directory / "place")
    assert ask(directory / "place", 0, request(registry=numbers.ordinal))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.usefixtures("directory")
def test_process_forked_while_a_scrape_reads_the_registries_can_read_them(
    numbers: RegistryNumbers,
) -> None:
    """The thread that holds the lock is not there to give it back."""
    begun, stop = threading.Event(), threading.Event()

    def read() -> None:
        with prometheus._lock:
            begun.set()
            stop.wait(0.1)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        assert begun.wait(10)
        child = os.fork()
        if not child:
            signal.alarm(5)
            os._exit(0 if numbers in all_numbers() else 1)
        assert (child, 0) == os.waitpid(child, 0)
        reader.result()


@pytest.mark.usefixtures("directory")
def test_forked_process_forgets(numbers: RegistryNumbers, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is open is closed in the child; without a place there is nothing to do."""
    forgot: list[bool] = []
    monkeypatch.setattr(workers, "_process", workers._Process())
    numbers.store.worker = 3
    workers._forget()
    assert 3 == numbers.store.worker
    workers._process.workers = SimpleNamespace(forget=lambda: forgot.append(True))  # type: ignore[assignment]
    workers._forget()
    assert ([True], None) == (forgot, workers._process.workers)
    assert numbers.store.worker is None
