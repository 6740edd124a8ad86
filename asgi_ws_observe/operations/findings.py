"""What a check of a metrics page found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

__all__ = ["SEVERITIES", "Finding", "Level", "Subject"]

Level = Literal["error", "warning", "info"]
Subject = Literal["cardinality", "drift", "naming"]

#: The worst first.
SEVERITIES: Final[tuple[Level, ...]] = ("error", "warning", "info")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about one metric.

    Attributes:
        subject: What was checked.
        level: ``error`` breaks the backend or queries soon, ``warning`` is to be put right,
            ``info`` is worth knowing.
        rule: Which rule, in a few words; the same for all metrics that break it.
        metric: The metric; empty for the page.
        says: What is so, with the numbers.
        remedy: What to do.
    """

    subject: Subject
    level: Level
    rule: str
    metric: str
    says: str
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)
