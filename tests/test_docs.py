"""The documentation: complete, fresh, and true to the word."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

import asgi_ws_observe
from asgi_ws_observe.settings import settings_table
from docs.generate import PAGES, REFERENCE
from docs.operations_files import FILES, OPERATIONS

ROOT: Final = Path(__file__).parent.parent
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES_BY_HAND: Final = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.parent != REFERENCE),
]


@pytest.mark.parametrize("name", PAGES)
def test_reference_page_is_fresh(name: str) -> None:
    """`python -m docs.generate` would change nothing."""
    assert PAGES[name]() == (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", FILES)
def test_file_of_operations_is_fresh(name: str) -> None:
    """`python -m docs.generate` would change nothing in `docs/operations`."""
    assert FILES[name]() == (OPERATIONS / name).read_text(encoding="utf-8")


def test_every_setting_has_a_meaning() -> None:
    """No row of the settings has an empty cell."""
    assert [] == [row for row in settings_table() if not all(row)]


def test_ci_runs_the_second_command_of_the_readme_word_for_word() -> None:
    """What decides in CI is what the README tells a user."""
    commands = re.findall(r"^(python3 -m venv .*)$", README, re.MULTILINE)
    assert 2 == len(commands)
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: str(page.name))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link and picture of a page exists."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [] == [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: str(page.name))
def test_python_in_a_page_compiles(page: Path) -> None:
    """No example has a syntax error or uses a public name that does not exist."""
    text = page.read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        compile(code, str(page), "exec", flags=0x2000)  # top-level await is allowed
        for names in re.findall(r"from asgi_ws_observe import ([\w, ]+)", code):
            for name in names.split(","):
                assert hasattr(asgi_ws_observe, name.strip()), name


def test_changelog_has_the_version() -> None:
    """The version in the code has an entry."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{asgi_ws_observe.__version__}]" in text or "## [Unreleased]" in text
