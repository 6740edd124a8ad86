"""Settings: arguments, the environment, defaults, and what a mistake says."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import traceback
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asgi_ws_observe import Settings, SettingsError
from asgi_ws_observe.settings import ENVIRONMENT_PREFIX, settings_table

NAMES = [field.name for field in dataclasses.fields(Settings)]
CALLBACKS = {"connection_id", "route"}
# What an environment variable can hold.
ENVIRONMENT_TEXT = st.text(st.characters(exclude_characters="\0", codec="utf-8"))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(ENVIRONMENT_PREFIX + name.upper(), raising=False)


def variable(name: str) -> str:
    """Return the field's environment variable."""
    return ENVIRONMENT_PREFIX + name.upper()


def test_defaults_observe_everything_and_change_nothing() -> None:
    """Without any setting connections are observed and none is refused."""
    settings = Settings()

    assert (True, False, None) == (settings.enabled, settings.enforce, settings.max_connections)
    assert ("nested", "capped") == (settings.connection_span, settings.message_spans)
    assert (True, True, "auto") == (settings.log_open, settings.log_close, settings.log_handler)
    assert ((), (), (1011,)) == (
        settings.excluded_paths,
        settings.close_codes,
        settings.error_close_codes,
    )
    assert (100, 0.5) == (settings.max_routes, settings.loop_lag_interval)
    assert ("auto", 5.0, 2**20) == (
        *(settings.probe, settings.look_interval, settings.slow_buffer_bytes),
    )
    # Pings of our own and closes are things that a client sees.
    assert (None, 20.0, False) == (
        *(settings.heartbeat_interval, settings.heartbeat_timeout, settings.heartbeat_close),
    )
    assert [None] * 4 == [
        *(settings.node, settings.connection_id),
        *(settings.route, settings.metrics_auth),
    ]


def test_every_default_is_accepted_as_an_argument() -> None:
    """What the reference shows as default can be written down."""
    defaults = {name: getattr(Settings(), name) for name in NAMES}

    assert Settings() == Settings(**defaults)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("enabled", "no", False),
        ("node", "eu-1", "eu-1"),
        ("excluded_paths", "/health,/internal/*", ("/health", "/internal/*")),
        ("connection_id", "os.path:join", os.path.join),
        ("route", "os.path:join", os.path.join),
        ("max_routes", "7", 7),
        ("close_codes", "4000,4001", (4000, 4001)),
        ("error_close_codes", "1011,4500", (1011, 4500)),
        ("max_connections", "5000", 5000),
        ("probe", "off", "off"),
        ("look_interval", "0", 0.0),
        ("slow_buffer_bytes", "65536", 65536),
        ("heartbeat_interval", "30", 30.0),
        ("heartbeat_timeout", "2.5", 2.5),
        ("heartbeat_close", "yes", True),
        ("connection_span", "linked", "linked"),
        ("max_span_seconds", "3600", 3600.0),
        ("message_spans", "off", "off"),
        ("message_span_rate", "12.5", 12.5),
        ("slow_message_seconds", "0.5", 0.5),
        ("message_type", "os.path:join", os.path.join),
        ("message_type_keys", "kind, op", ("kind", "op")),
        ("message_type_keys", "", None),
        ("message_json_bytes", "0", 0),
        ("send_spans", "true", True),
        ("trust", "never", "never"),
        ("trust", "os.path:join", os.path.join),
        ("heartbeat_log_seconds", "60", 60.0),
        ("metrics_path", "/numbers", "/numbers"),
        ("log_open", "false", False),
        ("log_close", "0", False),
        ("log_handler", "off", "off"),
        ("metrics_auth", "s3cret", "s3cret"),
        ("loop_lag_interval", "0.25", 0.25),
    ],
)
def test_environment_sets_a_field(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str, expected: Any
) -> None:
    """Every field has its variable."""
    monkeypatch.setenv(variable(name), text)

    assert expected == getattr(Settings(), name)


def test_argument_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even an explicit None, and even over a variable that is wrong."""
    monkeypatch.setenv(variable("max_routes"), "nonsense")
    monkeypatch.setenv(variable("node"), "from-environment")

    settings = Settings(max_routes=5, node=None)

    assert (5, None) == (settings.max_routes, settings.node)


@pytest.mark.parametrize("text", ["", "  "])
def test_empty_variable_is_none_or_the_default(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Deployments pass variables through empty."""
    monkeypatch.setenv(variable("node"), text)
    monkeypatch.setenv(variable("max_routes"), text)

    assert (None, 100) == (Settings().node, Settings().max_routes)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("enabled", "yes", "true or false"),
        ("node", "", "a text, or None"),
        ("excluded_paths", "/health", "paths separated by commas"),
        ("connection_id", "os:getpid", "a plain function"),
        ("route", 5, "a plain function"),
        ("max_routes", 0, "a whole number, 1 or more"),
        ("max_routes", None, "a whole number, 1 or more"),
        ("close_codes", [1000], "at most 11 close codes from 3000 to 4999"),
        ("error_close_codes", [99], "close codes from 1000 to 4999"),
        ("max_connections", True, "a whole number, 1 or more, or None"),
        ("enforce", 1, "true or false"),
        ("probe", None, "one of auto, off"),
        ("probe", "on", "one of auto, off"),
        ("look_interval", -1, "a number of seconds, 0 or more"),
        ("look_interval", None, "a number of seconds, 0 or more"),
        ("slow_buffer_bytes", 0, "a whole number, 1 or more"),
        ("slow_buffer_bytes", 1.5, "a whole number, 1 or more"),
        ("heartbeat_interval", 0, "a number of seconds, 0.1 or more, or None"),
        ("heartbeat_interval", math.nan, "a number of seconds, 0.1 or more, or None"),
        ("heartbeat_timeout", 0.05, "a number of seconds, 0.1 or more"),
        ("heartbeat_timeout", None, "a number of seconds, 0.1 or more"),
        ("heartbeat_close", "no", "true or false"),
        ("connection_span", "linked ", "one of nested, linked, off"),
        ("message_spans", None, "one of all, capped, slow, off"),
        ("max_span_seconds", 0, "a number of seconds, 1 or more, or None"),
        ("message_span_rate", 0, "a number of spans a second, 0.01 or more"),
        ("slow_message_seconds", -1, "a number of seconds, 0 or more"),
        ("message_type", "type", "a plain function"),
        ("message_type_keys", "type", "names separated by commas, or None"),
        ("message_json_bytes", -1, "a whole number, 0 or more"),
        ("send_spans", None, "true or false"),
        ("trust", "everybody", "one of auto, link, parent, never, or a plain function"),
        ("trust", None, "one of auto, link, parent, never, or a plain function"),
        ("heartbeat_log_seconds", 0.5, "a number of seconds, 1 or more, or None"),
        ("metrics_path", "metrics", "a path that starts with /, or None"),
        ("log_open", None, "true or false"),
        ("log_handler", "stderr", "one of auto, off"),
        ("loop_lag_interval", math.inf, "a number of seconds, 0 or more"),
    ],
)
def test_wrong_argument_names_field_value_and_what_is_accepted(
    name: str, value: Any, accepted: str
) -> None:
    """The message is enough to correct it."""
    start = f"Settings.{name}: got {value!r}; accepted: {accepted}"

    with pytest.raises(SettingsError, match="^" + re.escape(start)):
        Settings(**{name: value})


def test_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has to guess where a value came from."""
    monkeypatch.setenv(variable("log_close"), "sometimes")

    with pytest.raises(
        SettingsError,
        match=r"^Settings\.log_close: got 'sometimes' from the environment variable "
        r"ASGI_WS_OBSERVE_LOG_CLOSE; accepted: true or false",
    ):
        Settings()


def test_token_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in an error message, nor with its cause, nor in the representation."""
    monkeypatch.setenv(variable("metrics_auth"), "geheimnis-ü")

    with pytest.raises(SettingsError, match="got a value from the environment") as caught:
        Settings()
    assert "geheimnis" not in "".join(traceback.format_exception(caught.value))
    assert "s3cret" not in repr(Settings(metrics_auth="s3cret"))


def test_enforcing_without_a_limit_raises() -> None:
    """There would be nothing to enforce."""
    with pytest.raises(SettingsError, match=r"^Settings\.enforce: got True without max_connect"):
        Settings(enforce=True)


def test_send_spans_without_message_spans_raise() -> None:
    """What bounds them would be off."""
    with pytest.raises(SettingsError, match=r"^Settings\.send_spans: got True with message_spans"):
        Settings(send_spans=True, message_spans="off")


def test_enforcing_a_limit_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two may come from different places."""
    monkeypatch.setenv(variable("max_connections"), "10")

    assert Settings(enforce=True).enforce


def test_settings_never_change() -> None:
    """Connections share them."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().node = "other"  # type: ignore[misc]


def test_settings_take_no_positional_arguments() -> None:
    """The order of the fields is nobody's interface."""
    with pytest.raises(TypeError):
        Settings(True)  # type: ignore[call-arg]


def test_replacing_one_field_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy does not read the environment again."""
    settings = Settings(node="a")
    monkeypatch.setenv(variable("max_routes"), "3")

    changed = dataclasses.replace(settings, node="b")

    assert ("b", 100) == (changed.node, changed.max_routes)


def test_table_has_a_row_for_every_field() -> None:
    """The reference page is made of it."""
    rows = settings_table()

    assert NAMES == [row[0] for row in rows]
    assert [variable(name) for name in NAMES] == [row[1] for row in rows]
    assert [repr(getattr(Settings(), name)) for name in NAMES] == [row[2] for row in rows]
    assert all(row[3] and row[4].endswith(".") for row in rows)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CALLBACKS])
@given(text=ENVIRONMENT_TEXT)
def test_any_text_in_the_environment_is_read_or_named(name: str, text: str) -> None:
    """Only `SettingsError` comes out, and it names the field and the variable."""
    error = error_of(**{variable(name): text})

    # `enforce` is accepted by itself, but not without a limit.
    named = variable(name) in error or name == "enforce"
    assert not error or (named and error.startswith(f"Settings.{name}: got "))


# A path that starts with a dot is a relative one.
@pytest.mark.parametrize("name", sorted(CALLBACKS))
@given(text=ENVIRONMENT_TEXT)
def test_any_import_path_in_the_environment_is_read_or_named(name: str, text: str) -> None:
    """A module that does not exist is a wrong value, not an ImportError."""
    error = error_of(**{variable(name): text})

    assert not error or error.startswith(f"Settings.{name}: got {text!r} from the environment")


ANY_VALUE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers(0, 6000) | st.text())
)


@given(values=st.dictionaries(st.sampled_from(NAMES), ANY_VALUE, min_size=1))
def test_any_arguments_are_accepted_or_named(values: dict[str, Any]) -> None:
    """A value of any type is accepted or reported under its own field."""
    try:
        Settings(**values)
    except SettingsError as error:
        named = re.match(r"Settings\.(\w+): got ", str(error))
    else:
        return
    assert named is not None
    assert named[1] in values


def error_of(**environment: str) -> str:
    """Return the message that an environment leads to, empty where it is accepted."""
    with patch.dict(os.environ, environment):
        try:
            Settings()
        except SettingsError as error:
            return str(error)
        return ""
