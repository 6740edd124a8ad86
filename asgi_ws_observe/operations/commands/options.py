"""What several commands have: options, and how they fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...exceptions import SettingsError
from ..expressions import seconds
from ..thresholds import parse_thresholds

__all__ = [
    *("checked_duration", "failed", "job_option", "json_option", "scale_option"),
    *("threshold_option", "token_option"),
]

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


def failed(command: str, why: object) -> int:
    """Say in one line on stderr why a command could not ask, and return its exit code."""
    click.echo(f"asgi-ws-observe {command}: {why}", err=True)
    return 2


def json_option(command: _Command) -> _Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="For scripts.")(command)


def token_option(command: _Command) -> _Command:
    """Add ``--token``."""
    return click.option("--token", envvar="ASGI_WS_OBSERVE_TOKEN", help="A bearer token to send.")(
        command
    )


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
