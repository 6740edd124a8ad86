"""Queries of the dashboard: each is filtered by its variables, without being told to."""

from __future__ import annotations

from typing import Final

from asgi_ws_observe.metrics.catalogue import CATALOGUE

from .panels import Query

__all__ = ["BY_NODE", "RATE", "by_node", "gauge", "over_zero", "quantile", "quantiles", "rate"]
__all__ += ["series"]

#: What every selector has.
NODE: Final = 'job=~"$job", instance=~"$instance"'
ROUTE: Final = 'route=~"$route"'
#: Over what a rate is taken.
RATE: Final = "[$__rate_interval]"
#: The name of a series for each node.
BY_NODE: Final = "{{instance}}"

_ROUTED: Final = tuple(each.exposed_name for each in CATALOGUE if "route" in each.labels)
_PARTS: Final = ("_bucket", "_count", "_sum")


def series(name: str, more: str = "", *, routed: bool = True) -> str:
    """Return a selector.

    Args:
        name: Of the metric; a histogram's with ``_bucket``, ``_count`` or ``_sum``.
        more: Further matchers.
        routed: Whether to filter by the variable ``route`` where the metric has that label.
    """
    family = name
    for part in _PARTS:
        family = family.removesuffix(part)
    matchers = [NODE]
    if routed and (family in _ROUTED or name in _ROUTED):
        matchers.append(ROUTE)
    return f"{name}{{{', '.join([*matchers, more] if more else matchers)}}}"


def rate(name: str, more: str = "", *, by: str = "instance") -> str:
    """Return how much a counter rises a second, by these labels; altogether where there is none."""
    return f"sum{_by(by)} (rate({series(name, more)}{RATE}))"


def gauge(name: str, more: str = "", *, by: str = "instance", how: str = "sum") -> str:
    """Return a gauge, by these labels; altogether where there is none."""
    return f"{how}{_by(by)} ({series(name, more)})"


def quantile(part: float, name: str, more: str = "", *, by: str = "") -> str:
    """Return a quantile of a histogram, by these labels."""
    every = f"{by}, le" if by else "le"
    return f"histogram_quantile({part:g}, {rate(f'{name}_bucket', more, by=every)})"


def quantiles(name: str, *parts: int) -> tuple[Query, ...]:
    """Return queries of percentiles; default: 50, 95 and 99."""
    return tuple(Query(quantile(part / 100, name), f"p{part}") for part in parts or (50, 95, 99))


def by_node(expr: str) -> tuple[Query, ...]:
    """Return the one query of a panel with a series for each node."""
    return (Query(expr, BY_NODE),)


def over_zero(part: str, whole: str) -> str:
    """Return a share; nothing, rather than NaN, where there is no whole."""
    return f"{part} / ({whole} > 0)"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
