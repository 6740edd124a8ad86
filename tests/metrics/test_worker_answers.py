"""What a scrape makes of siblings that answer, that do not, and that talk nonsense."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import orjson
import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from asgi_ws_observe import MetricsEndpoint, Settings
from asgi_ws_observe.metrics import endpoint, workers
from asgi_ws_observe.metrics.exposition import Exposition
from asgi_ws_observe.metrics.formats import Family, Format, merged
from asgi_ws_observe.metrics.prometheus import RegistryNumbers, numbers_of
from asgi_ws_observe.metrics.workers import join, leave
from tests.support import NO_HEADERS, get


class Fake:
    """A sibling that behaves as the test says.

    Args:
        path: Its socket.
        sends: What it answers before it hangs up; `None`: it never does.
    """

    def __init__(self, path: Path, sends: bytes | None) -> None:
        self._sends = sends
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        with connection:
            connection.recv(65536)
            if self._sends is None:
                connection.recv(1)  # until the other side hangs up
            else:
                connection.sendall(self._sends)


def framed(body: bytes) -> bytes:
    """Return an answer with its length."""
    return struct.pack(">Q", len(body)) + body


@pytest.fixture
def place() -> Iterator[Path]:
    """Where the siblings meet."""
    directory = Path(tempfile.mkdtemp(prefix="w-", dir="/tmp"))
    leave()  # what other tests' applications decided
    yield directory / "place"
    leave()
    shutil.rmtree(directory)


@pytest.fixture
def numbers(registry: CollectorRegistry, place: Path) -> RegistryNumbers:
    """Those of this process, which has joined."""
    found = numbers_of(registry)
    found.take(Settings(workers=str(place), node="n", log_handler="off"))
    joined = join(found)
    assert joined is not None
    assert 0 == joined.slot
    return found


@pytest.fixture
def sibling(place: Path) -> Iterator[Callable[[int, bytes | None], Fake]]:
    """A function that makes a sibling."""
    with ExitStack() as opened:
        yield lambda slot, sends: opened.enter_context(closing(Fake(place / f"{slot}.sock", sends)))


def scrape(
    registry: CollectorRegistry, headers: Mapping[str, str] = NO_HEADERS, query: str = ""
) -> str:
    """Return what this process answers."""
    answer = get(MetricsEndpoint(registry), f"/metrics{query}", headers)
    assert 200 == answer.status_code
    return answer.text


def up(registry: CollectorRegistry, headers: Mapping[str, str] = NO_HEADERS) -> dict[str, float]:
    """Return which workers answered."""
    found = re.findall(
        r'^ws_observe_worker_up{.*worker="(.)"} (.*)', scrape(registry, headers), re.M
    )
    return {worker: float(value) for worker, value in found}


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize(
    ("sends", "expected"),
    [
        (b"", 0.0),
        (b"\0\0", 0.0),
        (framed(b"[]")[:-1], 0.0),
        (framed(b"garbage"), 0.0),
        (framed(b"17"), 0.0),
        (framed(b'[["one"]]'), 0.0),
        (framed(b"[]"), None),
    ],
)
def test_sibling_that_gives_no_answer_is_down(
    sends: bytes,
    expected: float | None,
    registry: CollectorRegistry,
    sibling: Callable[[int, bytes | None], Fake],
) -> None:
    """Whatever it sends instead; one without the registry has nothing to show."""
    sibling(3, sends)
    found = up(registry)
    assert (1.0, expected) == (found["0"], found.get("3"))


@pytest.mark.usefixtures("numbers")
def test_families_of_a_sibling_are_added_to_ours(
    registry: CollectorRegistry, sibling: Callable[[int, bytes | None], Fake]
) -> None:
    """Each family has one head."""
    name = "ws_observe_worker_up"
    (head,) = re.findall(f"(?:# .* {name} .*\n)+", scrape(registry))
    line = f'{name}{{worker="3"}} 1.0\n'
    sibling(3, framed(orjson.dumps([[name, head, line], ["theirs", "", "theirs 7.0\n"]])))
    page = scrape(registry)
    assert f'{head}{name}{{node="n",worker="0"}} 1.0\n{line}' in page
    assert page.endswith("theirs 7.0\n")


@pytest.mark.usefixtures("numbers")
def test_sibling_that_was_killed_is_gone(registry: CollectorRegistry, place: Path) -> None:
    """Its socket is still there, and nobody at the other end; a file of another name is nothing."""
    with closing(socket.socket(socket.AF_UNIX)) as killed:
        killed.bind(str(place / "3.sock"))
    for name in ("app.sock", "256.sock", "-1.sock", "03.sock"):
        (place / name).touch()
    assert {"0": 1.0} == up(registry)


@pytest.mark.usefixtures("numbers")
def test_sibling_that_leaves_just_then_is_gone(
    registry: CollectorRegistry, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its socket was seen."""
    (place / "3.sock").touch()
    real = workers._ask

    def ask(path: Path, line: bytes) -> Awaitable[bytes]:
        path.unlink()
        return real(path, line)

    monkeypatch.setattr(workers, "_ask", ask)
    assert {"0": 1.0} == up(registry)


@pytest.mark.usefixtures("numbers")
@pytest.mark.parametrize("given", ["0.4", "-1", "0", "nan", "soon", "inf", None])
def test_sibling_that_hangs_costs_the_timeout(
    given: str | None,
    registry: CollectorRegistry,
    sibling: Callable[[int, bytes | None], Fake],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of what Prometheus gives, but at most ours, which nothing else changes."""
    monkeypatch.setattr(endpoint, "ANSWER_WITHIN", 0.3)
    sibling(3, None)
    began = time.monotonic()
    found = up(registry, {} if given is None else {"x-prometheus-scrape-timeout-seconds": given})
    assert {"0": 1.0, "3": 0.0} == found
    expected = 0.2 if given == "0.4" else 0.3
    assert expected <= time.monotonic() - began < expected + 1


@pytest.mark.usefixtures("numbers")
def test_choice_of_names_may_leave_out_who_is_down(
    registry: CollectorRegistry, sibling: Callable[[int, bytes | None], Fake]
) -> None:
    """As it leaves out everything else."""
    sibling(3, b"")
    page = scrape(registry, query="?name[]=ws_observe_scrape_seconds")
    assert ['ws_observe_scrape_seconds{node="n",worker="0"}'] == [
        line.split()[0] for line in page.splitlines() if not line.startswith("#")
    ]


@pytest.mark.usefixtures("numbers")
def test_label_of_the_application_gives_way(registry: CollectorRegistry) -> None:
    """As Prometheus does it with a target's labels; its order does not matter."""
    shares = Counter("shares", "Theirs.", ["color", "worker"], registry=registry)
    shares.labels("red", "printer").inc(3)
    Gauge("plain", "Theirs.", registry=registry).set(7)
    page = scrape(registry)
    assert 'shares_total{color="red",exported_worker="printer",worker="0"} 3.0\n' in page
    assert 'plain{worker="0"} 7.0\n' in page


class MultiProcessCollector:
    """Has the name of prometheus_client's, whose files are those of all processes."""

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> list[Metric]:
        return [GaugeMetricFamily("common", "Of all.", value=7)]


def test_what_is_common_is_shown_by_the_one_that_is_asked(
    registry: CollectorRegistry, numbers: RegistryNumbers
) -> None:
    """Without the label; siblings leave it out."""
    registry.register(MultiProcessCollector())
    assert "\ncommon 7.0\n" in scrape(registry)
    families = Exposition.of(numbers).families(registry, Format(""), shared=False)
    assert "common" not in {family.name for family in families}


def test_family_of_another_type_is_left_out() -> None:
    """Of a sibling that runs another version: a page can state one type only."""
    ours = Family("jobs", "# HELP jobs Ours.\n# TYPE jobs counter\n", "jobs 1.0\n")
    same = Family("jobs", "# HELP jobs Theirs.\n# TYPE jobs counter\n", "jobs 2.0\n")
    other = Family("jobs", "# HELP jobs Ours.\n# TYPE jobs gauge\n", "jobs 3.0\n")
    expected = Family("jobs", ours.head, "jobs 1.0\njobs 2.0\n")
    assert [expected] == merged([[ours], [other], [same]])


def test_default_registry_is_the_same_in_all_siblings(registry: CollectorRegistry) -> None:
    """Whichever registry a process comes to first; others have the order in which they come."""
    others = [numbers_of(registry).ordinal, numbers_of(CollectorRegistry()).ordinal]
    assert 0 == numbers_of().ordinal
    assert 0 < others[0] < others[1]
