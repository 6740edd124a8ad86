"""Where the dashboard's JSON lies."""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["FILES"]

_ROOT: Final = Path(__file__).parents[2]
#: In the package, and where readers of the documentation find it.
FILES: Final = (
    _ROOT / "asgi_ws_observe" / "operations" / "dashboard.json",
    _ROOT / "docs" / "operations" / "dashboard.json",
)
