"""Worker processes come and go: killed, replaced, ended. No ghost stays, and no file either."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.servers.fleet import (
    SUPERVISORS,
    WORKERS,
    by_worker,
    fleet,
    is_complete,
    meeting_places,
    slots,
    temporary,
)
from tests.servers.processes import Exposition
from tests.support import wait_until

SLOTS: Final = {str(slot) for slot in range(WORKERS)}
#: hypercorn ends all workers where one was killed, and kills those that are not done with ending.
REPLACING: Final = ("uvicorn", "gunicorn", "granian")
#: The timeout, and what a busy machine may take beside, seconds.
LONGEST: Final = 3.0


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory for temporary files, with a short name."""
    with temporary() as found:
        yield found


def is_served(page: Exposition) -> bool:
    """Return whether all places are taken, and each by one that answers."""
    return is_complete(page) and set(slots(page).values()) == SLOTS


def has_ended(process: int) -> bool:
    """Return whether a process has ended, maybe as a zombie."""
    try:
        return not Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("server", REPLACING)
def test_killed_worker_is_gone_at_once(server: str, directory: Path) -> None:
    """With its connections, the others' stay; its successor gets its place, and starts at zero."""
    with fleet(server, directory=directory) as running:
        running.fill()
        page = running.page()
        active = by_worker(page, "ws_connections_active")
        (killed, slot), *others = slots(page).items()
        asker = running.askers()[others[0][0]]
        os.kill(killed, signal.SIGKILL)
        wait_until(lambda: has_ended(killed))

        def is_replaced() -> bool:
            began = time.monotonic()
            page = asker.page()
            assert time.monotonic() - began < LONGEST
            now = by_worker(page, "ws_connections_active")
            assert active | {slot: 0.0} == {slot: 0.0} | now
            assert dict(others).items() <= slots(page).items()
            assert killed not in slots(page)
            return is_served(page)

        wait_until(is_replaced, 20)


@pytest.mark.parametrize("server", ["uvicorn", "gunicorn", "hypercorn"])
def test_replaced_workers_leave_nothing(server: str, directory: Path) -> None:
    """While a supervisor replaces all of them, connections open, no scrape shows one too many.

    Nor one without the label, which the first of the new ones has too.
    """
    with fleet(server, directory=directory) as running:
        clients = running.fill()
        first = set(slots(running.page()))
        os.kill(running.supervisor, signal.SIGHUP)

        def are_replaced() -> bool:
            began = time.monotonic()
            try:
                page = running.page()
            except (OSError, AssertionError):  # from one that was just ending
                return False
            # hypercorn starts the new ones when all old ones have ended.
            assert server == "hypercorn" or time.monotonic() - began < LONGEST
            assert page.total("ws_connections_active") <= clients
            return not first & set(slots(page)) and is_complete(page)

        wait_until(are_replaced, 20)
        assert 0 == running.page().total("ws_connections_active")
        running.leave()
        assert running.fill() == running.page().total("ws_connections_active")


@pytest.mark.parametrize("server", SUPERVISORS)
def test_end_leaves_no_file(server: str, directory: Path) -> None:
    """What is left where workers are killed, the next start removes."""
    with fleet(server, directory=directory) as running:
        wait_until(lambda: is_served(running.page()))
        (place,) = meeting_places(directory)
        os.killpg(running.supervisor, signal.SIGKILL)
    assert [place] == meeting_places(directory)
    with fleet(server, directory=directory) as running:
        wait_until(lambda: is_served(running.page()))
        assert place not in meeting_places(directory)
    if server in REPLACING:
        assert [] == meeting_places(directory)


@pytest.mark.parametrize(
    ("server", "options"), [("uvicorn", ["--reload"]), ("gunicorn", []), ("granian", [])]
)
def test_single_worker_has_no_label(server: str, options: list[str], directory: Path) -> None:
    """As long as there never was another one."""
    with fleet(server, *options, directory=directory, workers=1) as running:
        wait_until(lambda: meeting_places(directory))
        page = running.page()
        assert 'worker="' not in page.text.replace('exported_worker="', "")
        assert 1 == len(page.samples("app_pid"))
