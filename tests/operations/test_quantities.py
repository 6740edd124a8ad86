"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from asgi_ws_observe.operations.quantities import quantity
from asgi_ws_observe.operations.signal import Unit


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (0, "count", "0"),
        (12345.6, "count", "12,346"),
        (0.12345, "per second", "0.123"),
        (3, "per hour", "3"),
        (0, "seconds", "0 s"),
        (0.0000123, "seconds", "12.3 µs"),
        (0.0123, "seconds", "12.3 ms"),
        (-2.5, "seconds", "-2.5 s"),
        (90, "seconds", "1.5 min"),
        (7200, "seconds", "2 h"),
        (200000, "seconds", "2.31 d"),
        (1e-9, "seconds", "1e-09 s"),
        (0, "bytes", "0 B"),
        (1023, "bytes", "1,023 B"),
        (1048576, "bytes", "1 MiB"),
        (2.5 * 1024, "bytes", "2.5 KiB"),
        (3 * 1024**5, "bytes", "3,072 TiB"),
        (0.9312, "ratio", "93.1 %"),
        (1, "ratio", "100 %"),
        (2.5, "times", "2.5"),
        (math.inf, "seconds", "inf"),
        (math.nan, "count", "nan"),
    ],
)
def test_number_has_three_digits_and_its_unit(value: float, unit: Unit, expected: str) -> None:
    """The largest unit of which there is one."""
    assert expected == quantity(value, unit)
