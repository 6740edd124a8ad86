"""The wheel: what is in it, what it says of itself, and that it works where nothing else is."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = "asgi_ws_observe"

#: What a user gets without any extra: the program prints what else was loaded.
PROGRAM = """
import sys
import asgi_ws_observe
from asgi_ws_observe import Settings, WebSocketObserveMiddleware, mount_metrics, observe
from starlette.applications import Starlette
app = observe(Starlette(), settings=Settings(log_handler="off"))
app.build_middleware_stack()
optional = (
    "fastapi", "uvicorn", "websockets", "redis", "nats", "socketio", "opentelemetry.sdk",
    "opentelemetry.exporter", "click", "rich", "httpx", "structlog", "tests", "demo_app",
)
print(asgi_ws_observe.__file__)
print(asgi_ws_observe.__version__)
print([name for name in optional if name in sys.modules])
"""


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a program and return what it printed; a failure shows what it said."""
    # Nothing of the tests' own environment: neither its packages nor its coverage.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "COV", "ASGI_WS_OBSERVE_")) and name != "VIRTUAL_ENV"
    }
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built once; in an isolated environment only where the builder is not at hand."""
    target = tmp_path_factory.mktemp("wheel")
    here = ["--no-isolation"] if importlib.util.find_spec("hatchling") else []
    run(sys.executable, "-m", "build", "--wheel", *here, "--outdir", target, ROOT)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """The names of the files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: list[str]) -> Message:
    """What the wheel says of itself."""
    (name,) = (each for each in names if each.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(name).decode())


def test_wheel_is_for_every_platform(wheel: Path) -> None:
    """The package is pure Python, and named as it is imported."""
    assert wheel.name.startswith(f"{PACKAGE}-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_wheel_has_the_whole_package(names: list[str]) -> None:
    """Every module of the source tree is in the wheel, and nothing but modules and the marker."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected == {name for name in names if name.startswith(f"{PACKAGE}/")}


def test_wheel_is_typed(names: list[str]) -> None:
    """Type checkers find the marker of PEP 561."""
    assert f"{PACKAGE}/py.typed" in names


def test_wheel_has_nothing_else(names: list[str]) -> None:
    """Neither tests nor the demo nor the documentation get into a user's site-packages."""
    tops = {name.split("/")[0] for name in names}
    assert {True} == {top == PACKAGE or top.endswith(".dist-info") for top in tops}


def test_wheel_has_the_licence(names: list[str], metadata: Message) -> None:
    """The licence is in the wheel and named by its SPDX expression."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert "MIT" == metadata["License-Expression"]


def test_metadata_names_the_extras(metadata: Message) -> None:
    """Optional parts are extras, and `all` is all of them."""
    extras = {"redis", "nats", "socketio", "otlp", "cli"}
    assert extras | {"all"} == set(metadata.get_all("Provides-Extra", []))
    required = {extra: set[str]() for extra in (*extras, "all")}
    for each in metadata.get_all("Requires-Dist", []):
        requirement, _, marker = each.partition(";")
        if "extra ==" in marker:
            required[marker.partition("==")[2].strip(" '\"")].add(requirement.strip())
    assert set() not in [required[extra] for extra in extras]
    assert set().union(*(required[extra] for extra in extras)) == required["all"]


def test_metadata_names_the_python(metadata: Message) -> None:
    """Python 3.10 is the oldest."""
    assert ">=3.10" == metadata["Requires-Python"]


def test_metadata_has_the_version_of_the_source(wheel: Path, metadata: Message) -> None:
    """The version stands in one place."""
    source = (ROOT / PACKAGE / "__init__.py").read_text(encoding="utf-8")
    assert f'__version__ = "{metadata["Version"]}"' in source
    assert metadata["Version"] == wheel.name.split("-")[1]


def test_metadata_shows_the_readme(metadata: Message) -> None:
    """The package's page has the README and a line about what it is."""
    assert "asgi-ws-observe" == metadata["Name"]
    assert "WebSocket" in metadata["Summary"]
    assert (ROOT / "README.md").read_text(encoding="utf-8").strip() == str(
        metadata.get_payload()
    ).strip()


def test_metadata_requires_nothing_optional(metadata: Message) -> None:
    """Without an extra only what every part needs is installed."""
    required = {
        each.partition(">")[0].strip()
        for each in metadata.get_all("Requires-Dist", [])
        if "extra ==" not in each
    }
    assert {
        *("anyio", "starlette", "prometheus-client", "orjson"),
        *("opentelemetry-api", "opentelemetry-instrumentation-asgi"),
    } == required


def test_installed_wheel_works_alone(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own the package imports and starts, with no optional package."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment)
    scripts = environment / ("Scripts" if os.name == "nt" else "bin")
    run(scripts / "python", "-m", "pip", "install", "--quiet", wheel)
    run(scripts / "python", "-m", "pip", "check")
    printed = run(scripts / "python", "-W", "error", "-c", PROGRAM, cwd=tmp_path)
    file, version, loaded = printed.splitlines()
    assert environment in Path(file).parents
    assert wheel.name.split("-")[1] == version
    assert "[]" == loaded
