"""Fixtures that several test files share."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import hypothesis
import pytest
from prometheus_client import CollectorRegistry

from asgi_ws_observe import Settings
from tests.support import Spans

# A slow machine is no failure.
hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_configure() -> None:
    """Let the programs that tests start be interrupted.

    A shell that is not interactive ignores the signal for what it runs in the background, and so
    would they.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _untouched_logging() -> Iterator[None]:
    """Take back what the library does to logging."""
    package = logging.getLogger("asgi_ws_observe")
    level, handlers = package.level, list(package.handlers)
    yield
    package.setLevel(level)
    package.handlers[:] = handlers


@pytest.fixture
def registry() -> CollectorRegistry:
    """A registry of the test's own."""
    return CollectorRegistry()


@pytest.fixture
def settings() -> Settings:
    """Settings that add no log handler."""
    return Settings(log_handler="off")


@pytest.fixture
def spans() -> Spans:
    """A tracer provider of the test's own, and what it exported."""
    return Spans()
