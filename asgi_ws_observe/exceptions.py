"""What the library raises, and only before the application serves its first connection.

    ObserveError
    ├── SettingsError (also a ValueError)
    └── MissingExtraError (also an ImportError)

After start-up nothing here ever reaches the application.
"""

from __future__ import annotations

__all__ = ["MissingExtraError", "ObserveError", "SettingsError"]


class ObserveError(Exception):
    """Base class of every exception of this library."""


class SettingsError(ObserveError, ValueError):
    """A setting has a value that is not accepted.

    The message names the setting, what it got, from where, and what it accepts.
    """


class MissingExtraError(ObserveError, ImportError):
    """A module needs a package that is not installed.

    Args:
        extra: The extra that brings it, `None` where none does.
        package: The package.
    """

    def __init__(self, extra: str | None, package: str) -> None:
        wanted = package if extra is None else f"'asgi-ws-observe[{extra}]'"
        super().__init__(f"{package} is not installed; it comes with: pip install {wanted}")
