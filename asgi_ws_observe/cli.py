"""The command line ``asgi-ws-observe``; needs the extra ``cli``."""

from __future__ import annotations

import sys

from .exceptions import MissingExtraError

__all__ = ["main"]


def main() -> int:
    """Run the command line and return its exit code; 2 where the extra is missing."""
    try:
        from .operations.commands import asgi_ws_observe
    except MissingExtraError as error:
        print(f"asgi-ws-observe: {error}", file=sys.stderr)
        return 2
    # Click ends the process itself, with the exit code of the command.
    asgi_ws_observe(prog_name="asgi-ws-observe")
    return 0  # pragma: no cover - click has raised SystemExit
