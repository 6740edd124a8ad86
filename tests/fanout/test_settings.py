"""What a channel can be told."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_ws_observe import SettingsError
from asgi_ws_observe.fanout.settings import ChannelOptions, ChannelSettings, channel_table


def test_defaults_are_what_the_reference_says() -> None:
    """A channel needs no more than a name."""
    found = ChannelSettings(name="redis")
    assert (None, "parent", None, 5.0, 5.0, 2.0, 5.0, 10_000, 10_000, False) == (
        *(found.label, found.trace, found.key, found.probe_interval, found.timeout),
        *(found.silence, found.backoff, found.queue, found.outbox, found.raises),
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("name", "", "name: got ''; accepted: a text"),
        ("trace", "child", "trace: got 'child'; accepted: one of parent, link, off"),
        ("timeout", 0, "timeout: got 0; accepted: a number of seconds, 0.05 or more"),
        (
            "probe_interval",
            "5",
            "probe_interval: got '5'; accepted: a number of seconds, 0.1 or more, or None",
        ),
        ("queue", 0, "queue: got 0; accepted: a whole number, 1 or more"),
        ("raises", 1, "raises: got 1; accepted: true or false"),
        ("name", None, "name: got None; accepted: a text"),
    ],
)
def test_wrong_value_says_what_is_accepted(name: str, value: Any, expected: str) -> None:
    """It names what is wrong."""
    arguments: dict[str, Any] = {"name": "redis", name: value}
    with pytest.raises(SettingsError) as caught:
        ChannelSettings(**arguments)
    assert expected == str(caught.value)


def test_type_checkers_know_every_setting() -> None:
    """What editors offer is what there is."""
    assert list(ChannelSettings.__dataclass_fields__) == list(ChannelOptions.__annotations__)


def test_every_setting_has_its_line() -> None:
    """Name, default, what is accepted, and a sentence."""
    rows = channel_table()
    assert list(ChannelSettings.__dataclass_fields__) == [row[0] for row in rows]
    assert all(accepts and text.endswith(".") for _, _, accepts, text in rows)
    assert ("", "5.0") == (rows[0][1], rows[4][1])


@pytest.mark.parametrize("name", ["label", "key", "probe_interval"])
def test_none_turns_off(name: str) -> None:
    """What can be off."""
    arguments: dict[str, Any] = {"name": "redis", name: None}
    assert getattr(ChannelSettings(**arguments), name) is None
