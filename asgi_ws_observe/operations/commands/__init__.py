"""The commands of ``asgi-ws-observe``; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Final, cast

from ...exceptions import MissingExtraError

try:
    import click
    import httpx  # noqa: F401
    import promql_parser  # noqa: F401
    import rich  # noqa: F401
    import yaml  # noqa: F401
except ImportError as error:
    raise MissingExtraError("cli", str(error.name)) from error

from ... import __version__

__all__ = ["asgi_ws_observe"]

#: A command's name, and the module beside this one that has a function of that name (with ``_``
#: for ``-``).
_MODULES: Final = {
    "rules": "files",
    "alertmanager": "files",
    "dashboard": "files",
    "scrape-config": "files",
    "runbook": "files",
    "diagnose": "diagnose",
    "top": "top",
    "audit": "audit",
    "check-metrics": "check_metrics",
}


class _Commands(click.Group):
    """Imports a command's module only when the command is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _MODULES:
            return None
        module = import_module(f"{__name__}.{_MODULES[cmd_name]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        return cast(click.Command, command)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def asgi_ws_observe() -> None:
    """Ask the metrics of WebSockets on ASGI what is wrong, and make alerts and dashboards of them.

    Prometheus URLs and /metrics URLs are asked, nothing is ever changed.
    """
