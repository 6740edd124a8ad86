"""The tree of exceptions."""

from __future__ import annotations

import pytest

import asgi_ws_observe
from asgi_ws_observe import ObserveError, Settings, SettingsError
from asgi_ws_observe import exceptions as module


@pytest.mark.parametrize("base", [ObserveError, ValueError])
def test_bad_setting_is_caught_under_either_base(base: type[Exception]) -> None:
    """Both the library's base class and the built-in that fits catch it."""
    with pytest.raises(base, match=r"^Settings\.max_routes: got 0"):
        Settings(max_routes=0)


def test_every_exception_has_the_base_and_is_exported() -> None:
    """`except ObserveError` is enough, and needs only the package."""
    for name in module.__all__:
        assert issubclass(getattr(module, name), ObserveError)
        assert getattr(asgi_ws_observe, name) is getattr(module, name)


def test_the_base_is_no_value_error() -> None:
    """Later exceptions need not be about values."""
    assert not issubclass(ObserveError, ValueError)
    assert issubclass(SettingsError, ObserveError)
