"""What the library raises, and only before the application serves its first connection.

    ObserveError
    └── SettingsError (also a ValueError)

After start-up nothing here ever reaches the application.
"""

from __future__ import annotations

__all__ = ["ObserveError", "SettingsError"]


class ObserveError(Exception):
    """Base class of every exception of this library."""


class SettingsError(ObserveError, ValueError):
    """A setting has a value that is not accepted.

    The message names the setting, what it got, from where, and what it accepts.
    """
