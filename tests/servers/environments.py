"""Environments with other versions of libraries, each made once and kept."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.servers.processes import ROOT

__all__ = ["environment", "pip"]


def environment(name: str, packages: Iterable[str], cache: Path) -> str:
    """Return an interpreter whose environment has these packages and this project.

    Args:
        name: Of the environment.
        packages: What pip is told to install.
        cache: Where environments are kept.

    Raises:
        subprocess.CalledProcessError: It cannot be made.
    """
    directory = cache / f"{name}-{sys.version_info.major}.{sys.version_info.minor}"
    python, complete = directory / "bin" / "python", directory / "complete"
    wanted = [*packages, "-e", str(ROOT)]
    # With the project's own dependencies as they are now.
    made_of = "\n".join([*wanted, (ROOT / "pyproject.toml").read_text()])
    if not complete.exists() or complete.read_text() != made_of:
        venv = [sys.executable, "-m", "venv", "--clear", "--without-pip", str(directory)]
        subprocess.run(venv, check=True)
        pip("--python", str(python), "install", "--no-compile", *wanted)
        complete.write_text(made_of)
    return str(python)


def pip(*arguments: str) -> None:
    """Run pip.

    Raises:
        subprocess.CalledProcessError: It fails.
    """
    command = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    subprocess.run([*command, *arguments], check=True)
