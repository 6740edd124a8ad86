"""What `instrument_server` can be told: checked at once, with errors that help."""

from __future__ import annotations

from typing import Any

import pytest

from asgi_ws_observe import Settings, SettingsError
from asgi_ws_observe.socketio.options import ServerOptions, ServerSettings, server_table


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("room_category", "room:{id}"),
        ("room_category", 7),
        ("room_category", [""]),
        ("ignore_events", "move"),
        ("ignore_events", None),
        ("ignore_events", [7]),
        ("trust_client", "always"),
        ("trust_client", None),
        ("inject_events", True),
        ("event_spans", "some"),
        ("settings", {}),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    """With what it got and what is accepted."""
    with pytest.raises(SettingsError) as caught:
        ServerSettings(**{name: value})
    text = str(caught.value)
    assert text.startswith(f"instrument_server({name}=...): got {value!r}; accepted: ")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("room_category", ["room:{id}"], ("room:{id}",)),
        ("room_category", str, str),
        ("ignore_events", {"move"}, ("move",)),
        ("trust_client", "never", "never"),
        ("trust_client", bool, bool),
        ("inject_events", ("a", "b"), ("a", "b")),
        ("event_spans", "off", "off"),
    ],
)
def test_value_is_taken_in_its_final_form(name: str, value: Any, expected: Any) -> None:
    """Collections are kept as they are now."""
    assert expected == getattr(ServerSettings(**{name: value}), name)


def test_coroutine_function_is_refused() -> None:
    """Nobody would wait for it."""

    async def later(environ: Any) -> bool:
        return True

    with pytest.raises(SettingsError, match="plain function"):
        ServerSettings(trust_client=later)


def test_spans_of_events_are_as_those_of_messages_unless_told() -> None:
    """One setting for both kinds of servers."""
    assert "capped" == ServerSettings().event_spans
    assert "slow" == ServerSettings(settings=Settings(message_spans="slow")).event_spans
    given = ServerSettings(settings=Settings(message_spans="slow"), event_spans="all")
    assert "all" == given.event_spans


def test_table_has_every_argument() -> None:
    """The reference is made of it, and type checkers know the same."""
    names = [name for name, *_ in server_table()]
    assert list(ServerOptions.__annotations__) == names
    assert all(text.endswith(".") for *_, text in server_table())
