"""What a Prometheus answers to the dashboard's queries, with the variables filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import httpx

from asgi_ws_observe.operations.expressions import duration, seconds

__all__ = ["Prometheus", "Series"]

#: As Grafana fills them in where all is chosen.
_ALL: Final = {"$job": ".+", "$instance": ".+", "$route": ".+"}
_LABEL: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Series:
    """One series over time.

    Attributes:
        name: By the legend.
        labels: Its labels.
        times: Seconds since the epoch.
        values: As many.
    """

    name: str
    labels: dict[str, str]
    times: list[float]
    values: list[float]


class Prometheus:
    """Asks for a span of time.

    Args:
        url: Such as ``http://127.0.0.1:9090``.
        start: Seconds since the epoch.
        end: Likewise.

    Attributes:
        start: The same.
        end: The same.
        step: Seconds between two values.

    Raises:
        ValueError: Nothing answers there, or it is asked for what it does not understand.
    """

    def __init__(self, url: str, start: float, end: float) -> None:
        self._client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.start, self.end = start, end
        targets = self._get("targets", state="active")["activeTargets"]
        scrape = max([seconds(each["scrapeInterval"]) for each in targets] or [15.0])
        self.step = max(scrape, (end - start) / 300)
        # As Grafana has it: of four scrapes at least.
        self._rate = duration(max(self.step + scrape, 4 * scrape))

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def over_time(self, target: dict[str, Any]) -> list[Series]:
        """Return the series of a panel's target, by name."""
        found = self._get(
            "query_range",
            query=self.filled(target["expr"]),
            start=str(self.start),
            end=str(self.end),
            step=str(self.step),
        )["result"]
        return sorted(
            (
                _series(target.get("legendFormat", ""), each["metric"], each["values"])
                for each in found
            ),
            key=lambda each: each.name,
        )

    def now(self, target: dict[str, Any]) -> list[Series]:
        """Return the same at the end of the time."""
        found = self._get("query", query=self.filled(target["expr"]), time=str(self.end))["result"]
        return [_series("", each["metric"], [each["value"]]) for each in found]

    def filled(self, expr: str) -> str:
        """Return a query without variables."""
        for name, value in (_ALL | {"$__rate_interval": self._rate}).items():
            expr = expr.replace(name, value)
        return expr

    def _get(self, path: str, **parameters: str) -> Any:
        try:
            answer = self._client.get(f"/api/v1/{path}", params=parameters).json()
        except (httpx.HTTPError, ValueError) as error:
            raise ValueError(f"no Prometheus answers at {self._client.base_url}: {error}") from None
        if answer.get("status") != "success":
            raise ValueError(f"Prometheus says {answer.get('error')}: {parameters}")
        return answer["data"]


def _series(legend: str, labels: dict[str, str], values: list[list[Any]]) -> Series:
    name = _LABEL.sub(lambda found: labels.get(found[1], ""), legend)
    times = [float(time) for time, _ in values]
    return Series(name, labels, times, [float(value) for _, value in values])
