"""python-socketio's own tests, unchanged: what is observed passes what passes plain.

They are those of the very version that is installed, from its source distribution, and run in an
environment with that and what its tests need.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

import pytest

from tests.servers import socketio_plugin
from tests.servers.environments import environment, pip
from tests.servers.processes import absent, answers

VERSION: Final = installed("python-socketio")
#: What its ``tox.ini`` installs for its tests, and what the plugin needs.
PACKAGES: Final = (
    f"python-socketio=={VERSION}",
    f"python-engineio=={installed('python-engineio')}",
    *("simple-websocket", "uvicorn", "requests", "websocket-client", "aiohttp", "msgpack"),
    *("redis", "valkey", "pytest", "pytest-asyncio", "pytest-timeout", "opentelemetry-sdk"),
)
#: Where all of those tests have their servers listen.
PORT: Final = 8900


@dataclass(frozen=True)
class Report:
    """What a run of the tests came to.

    Attributes:
        outcomes: Test -> ``passed``, ``failed`` or ``skipped``.
        observed: How many servers and managers were observed, by class.
        errors: How many failures of our own were counted, by part.
        failures: The tracebacks of these.
        log: What pytest said.
    """

    outcomes: Mapping[str, str]
    observed: Mapping[str, int]
    errors: Mapping[str, int]
    failures: list[str]
    log: str


@pytest.fixture(scope="module")
def cache(request: pytest.FixtureRequest) -> Path:
    """Where environments and sources are kept."""
    assert request.config.cache is not None
    return Path(request.config.cache.mkdir("python-socketio"))


@pytest.fixture(scope="module")
def python(cache: Path) -> str:
    """The interpreter that runs the tests."""
    try:
        return environment(f"upstream-{VERSION}", PACKAGES, cache)
    except subprocess.CalledProcessError:
        absent("a package index, for what python-socketio's tests need")


@pytest.fixture(scope="module")
def source(cache: Path) -> Path:
    """The source of the installed version, with its tests."""
    found = cache / f"source-{VERSION}"
    if not found.exists():
        options = ("--no-deps", "--no-binary", ":all:", "--dest", str(cache))
        try:
            pip("download", *options, f"python-socketio=={VERSION}")
        except subprocess.CalledProcessError:
            absent("a package index, for python-socketio's source")
        # Earlier versions are spelled with a hyphen.
        (archive,) = cache.glob(f"python?socketio-{VERSION}.tar.gz")
        shutil.unpack_archive(archive, found, filter="data")
    (directory,) = found.iterdir()
    return directory


def run(
    python: str, source: Path, folder: Path, *, observed: bool, which: Iterable[str] = ("tests",)
) -> Report:
    """Run the tests, or some of them, in a copy of their source."""
    tests, report = folder / "source", folder / "report"
    folder.mkdir(exist_ok=True)
    shutil.copytree(source, tests)
    # Alone in a directory: the other modules here are none of theirs.
    shutil.copy(socketio_plugin.__file__, folder)
    options = ["-p", "no:logging", "-p", "no:cacheprovider", "--timeout=60", "-q", "-rf"]
    done = subprocess.run(
        [python, "-m", "pytest", "-p", Path(socketio_plugin.__file__).stem, *options, *which],
        cwd=tests,
        env=os.environ
        | {
            "PYTHONPATH": str(folder),
            "UPSTREAM_OBSERVED": "yes" if observed else "no",
            "UPSTREAM_REPORT": str(report),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert report.exists(), done.stdout
    return Report(**json.loads(report.read_text()), log=done.stdout)


@pytest.fixture(scope="module")
def plain(python: str, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """What the tests come to by themselves."""
    if answers(PORT):
        absent(f"port {PORT}, which python-socketio's tests need")
    return run(python, source, tmp_path_factory.mktemp("plain"), observed=False)


@pytest.fixture(scope="module")
def observed(
    plain: Report, python: str, source: Path, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """What they come to with every server and manager observed; after the other, on its port."""
    return run(python, source, tmp_path_factory.mktemp("observed"), observed=True)


def changes(plain: Report, observed: Report) -> dict[str, tuple[str, str]]:
    """Return the tests that do not come to the same."""
    return {
        test: (before, observed.outcomes[test])
        for test, before in plain.outcomes.items()
        if before != observed.outcomes[test]
    }


def test_observed_servers_pass_what_plain_ones_pass(
    plain: Report, observed: Report, python: str, source: Path, tmp_path: Path
) -> None:
    """Test by test, and those that fail or are skipped by themselves do so as well."""
    assert Counter(plain.outcomes.values())["passed"] > 300, plain.log
    assert plain.outcomes.keys() == observed.outcomes.keys()
    changed = changes(plain, observed)
    if changed:
        # Some of them count threads, of which one may end a moment too late; but not twice.
        again = [
            run(python, source, tmp_path / str(each), observed=each, which=sorted(changed))
            for each in (False, True)
        ]
        changed = changes(*again)
    assert {} == changed, observed.log


def test_many_servers_and_managers_are_observed(plain: Report, observed: Report) -> None:
    """Of both kinds, and only where they should be."""
    assert {} == plain.observed
    assert 100 < observed.observed["AsyncServer"] + observed.observed["Server"]
    kinds = ("AsyncServer", "Server", "AsyncManager", "Manager", "AsyncPubSubManager")
    assert [] == [kind for kind in kinds if observed.observed.get(kind, 0) < 40]


def test_nothing_of_ours_fails_on_them(observed: Report) -> None:
    """Whatever mocks stand in the place of what is observed."""
    assert [] == observed.failures
    assert {0} == set(observed.errors.values())
