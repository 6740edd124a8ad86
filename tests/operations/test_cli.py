"""The program: `asgi-ws-observe`, and `python -m asgi_ws_observe`."""

from __future__ import annotations

import runpy
import subprocess
import sys
from importlib import import_module

import pytest

from asgi_ws_observe import __version__
from asgi_ws_observe.cli import main

PACKAGES = ("click", "httpx", "promql_parser", "rich", "yaml")


def test_program_ends_with_the_exit_code_of_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And calls itself by its name."""
    monkeypatch.setattr(sys, "argv", ["whatever", "--version"])
    with pytest.raises(SystemExit, match="0"):
        main()
    assert f"asgi-ws-observe {__version__}\n" == capsys.readouterr().out


def test_module_is_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`python -m asgi_ws_observe`; importing it does nothing."""
    assert main is import_module("asgi_ws_observe.__main__").main
    monkeypatch.delitem(sys.modules, "asgi_ws_observe.__main__")
    monkeypatch.setattr(sys, "argv", ["whatever", "--version"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("asgi_ws_observe", run_name="__main__")
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("package", PACKAGES)
def test_missing_extra_is_told(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By name, with what to type."""
    for name in [name for name in sys.modules if "asgi_ws_observe.operations" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert 2 == main()
    told = capsys.readouterr()
    assert ("", told.err) == (told.out, missing(package))


def test_missing_extra_is_told_by_the_program() -> None:
    """Without a traceback, with exit code 2."""
    script = "import sys; sys.modules['click'] = None; import runpy; sys.argv = ['x', 'rules']; "
    script += "runpy.run_module('asgi_ws_observe', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert (2, "", missing("click")) == (done.returncode, done.stdout, done.stderr)


def missing(package: str) -> str:
    """Return what is said where a package is missing."""
    return (
        f"asgi-ws-observe: {package} is not installed; it comes with: "
        "pip install 'asgi-ws-observe[cli]'\n"
    )
