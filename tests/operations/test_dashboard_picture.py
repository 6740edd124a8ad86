"""What the picture of the dashboard is drawn with, and its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.dashboard.picture import draw
from docs.dashboard.rows import ROWS
from docs.dashboard.units import written
from tests.servers.processes import ROOT, free_port


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "s", "0 s"),
        (0.00025, "s", "250 µs"),
        (0.0251, "s", "25.1 ms"),
        (65, "s", "65 s"),
        (300, "s", "300 s"),
        (600, "s", "10 min"),
        (86400, "s", "24 h"),
        (0.421, "percentunit", "42.1%"),
        (512, "bytes", "512 B"),
        (1048576, "bytes", "1 MiB"),
        (2**31, "bytes", "2 GiB"),
        (2048, "Bps", "2 KiB/s"),
        (1500, "mps", "1.5 K msg/s"),
        (2_000_000, "short", "2 M"),
        (99.96, "short", "100"),
        (0.5, "cps", "0.5/s"),
        (float("nan"), "s", "-"),
    ],
)
def test_value_is_written_with_its_unit(value: float, unit: str, expected: str) -> None:
    """Three digits, and a unit that fits."""
    assert expected == written(value, unit)


def test_picture_without_prometheus_says_so(tmp_path: Path) -> None:
    """One line, with the address."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ValueError, match=f"no Prometheus answers at {url}"):
        draw(url, tmp_path / "none.png")


def test_page_names_every_row() -> None:
    """Its table has them in order."""
    text = (ROOT / "docs" / "operations" / "dashboard.md").read_text(encoding="utf-8")
    places = [text.find(f"| {row.title} |") for row in ROWS]
    assert -1 not in places
    assert sorted(places) == places
    assert f"{sum(len(row.panels) for row in ROWS)} panels" in text
