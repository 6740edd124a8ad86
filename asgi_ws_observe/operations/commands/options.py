"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...exceptions import SettingsError
from ..expressions import seconds
from ..thresholds import parse_thresholds

__all__ = ["checked_duration", "job_option", "scale_option", "threshold_option"]

_Command = TypeVar("_Command", bound=Callable[..., Any])


def checked_duration(ctx: click.Context, param: click.Parameter, value: str) -> str:
    """Return a duration of Prometheus as it was given.

    Raises:
        click.BadParameter: It is none.
    """
    try:
        seconds(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return value


def _parsed(ctx: click.Context, param: click.Parameter, pairs: tuple[str, ...]) -> dict[str, float]:
    try:
        return parse_thresholds(pairs)
    except SettingsError as error:
        raise click.BadParameter(str(error)) from None


def job_option(command: _Command) -> _Command:
    """Add ``--job``."""
    return click.option(
        "--job", help="Of this job only; default: of every job that has WebSockets."
    )(command)


def threshold_option(command: _Command) -> _Command:
    """Add ``--threshold``, whose values come checked, with the defaults of the others."""
    return click.option(
        "--threshold",
        "thresholds",
        metavar="NAME=VALUE",
        multiple=True,
        callback=_parsed,
        help="Another threshold, once for each; `rules --thresholds` lists them.",
    )(command)


def scale_option(command: _Command) -> _Command:
    """Add ``--scale``."""
    return click.option(
        "--scale",
        type=click.FloatRange(0.001, 10),
        default=1.0,
        help="What all times are multiplied by: below 1 to try alerts out within seconds.",
    )(command)
