"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import click

from ...exceptions import SettingsError
from ..expressions import seconds
from ..thresholds import parse_thresholds

__all__ = ["checked_duration", "job_option", "scale_option", "threshold_option"]


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


job_option: Final[Callable[..., Any]] = click.option(
    "--job", help="Of this job only; default: of every job that has WebSockets."
)
threshold_option: Final[Callable[..., Any]] = click.option(
    "--threshold",
    "thresholds",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parsed,
    help="Another threshold, once for each; `rules --thresholds` lists them.",
)
scale_option: Final[Callable[..., Any]] = click.option(
    "--scale",
    type=click.FloatRange(0.001, 10),
    default=1.0,
    help="What all times are multiplied by: below 1 to try alerts out within seconds.",
)
