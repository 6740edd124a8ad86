"""What ``python -m docs.dashboard`` can do."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from .files import FILES

__all__ = ["main"]

PICTURE: Final = Path(__file__).parents[1] / "images" / "dashboard.png"


def main() -> None:
    """Write the dashboard's files, or a picture of it."""
    parser = argparse.ArgumentParser(prog="python -m docs.dashboard", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="picture, scene")
    picture = commands.add_parser("picture", help="draw the dashboard from a Prometheus")
    picture.add_argument("url", help="such as http://127.0.0.1:9090")
    picture.add_argument("--minutes", type=float, default=15, help="default: %(default)s")
    scene = commands.add_parser(
        "scene", help="run three nodes for six minutes, of which one gets a fault; draw it"
    )
    for each in (picture, scene):
        each.add_argument("--out", type=Path, default=PICTURE, help="default: %(default)s")
    given = parser.parse_args()
    try:
        _run(given)
    except ValueError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


def _run(given: argparse.Namespace) -> None:
    # What only one of them needs is imported by it.
    if given.command == "picture":
        from .picture import draw

        draw(given.url, given.out, minutes=given.minutes)
    elif given.command == "scene":
        from .scene import play

        play(given.out)
    else:
        from .build import dashboard_json

        text = dashboard_json()
        for file in FILES:
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
