"""The demo's page in a real browser."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from tests.support import wait_until
from tests.test_demo_cli import Demo, demo

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--no-first-run"),
]
INSTALL = "apt-get install chromium (or: playwright install chromium)"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium; where there is none the tests are skipped, but never under CI."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        _absent("playwright is not installed: pip install playwright")
    # Debian's, else playwright's own.
    path = shutil.which("chromium")
    with sync_playwright() as playwright:
        try:
            chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        except Error as error:
            if "Executable doesn't exist" not in str(error):
                raise
            _absent(f"Chromium is not installed: {INSTALL}")
        yield chromium
        chromium.close()


def _absent(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def running() -> Iterator[Demo]:
    """A demo."""
    with demo() as each:
        yield each


def enter(browser: Any, running: Demo, name: str, room: str = "lobby") -> Any:
    """Open a window of its own in a room, and wait until it is in."""
    window = browser.new_context().new_page()
    window.set_default_timeout(20_000)
    window.goto(f"{running.url}/?room={room}&name={name}")
    _wait_for_state(window, "connected")
    return window


def _wait_for_state(window: Any, state: str) -> None:
    window.locator(f"#state[data-state={state}]").wait_for()


def say(window: Any, text: str) -> None:
    """Write to the room."""
    window.fill("#text", text)
    window.press("#text", "Enter")


def test_two_windows_talk(browser: Any, running: Demo) -> None:
    """Each sees the other's message and who is there; markup stays text; /metrics sees it all."""
    ada, grace = enter(browser, running, "Ada"), enter(browser, running, "Grace")
    for window in (ada, grace):
        window.locator("#members li", has_text="Ada").wait_for()
        window.locator("#members li", has_text="Grace").wait_for()
        assert window.inner_text("#state-text") == "connected"
    say(ada, "<b>Grüße</b>")
    grace.locator(".message:not(.own) .bubble", has_text="<b>Grüße</b>").wait_for()
    say(grace, "hello back")
    ada.locator(".message:not(.own) .bubble", has_text="hello back").wait_for()
    assert 'ws_connections_active{route="/rooms/{room}"} 2.0' in running.get("/metrics")

    identity = ada.inner_text("#c-id")
    assert [identity] == [
        line["connection_id"]
        for line in running.events("ws_open")
        if line["connection_id"] == identity
    ]
    grace.context.close()
    closed = 'ws_connections_active{route="/rooms/{room}"} 1.0'
    wait_until(lambda: closed in running.get("/metrics"))
    ada.locator(".event", has_text="Grace left").wait_for()
    ada.context.close()


def test_page_comes_back_after_a_crash(browser: Any, running: Demo) -> None:
    """A handler that raises breaks the connection with 1006; the page shows it and comes back."""
    ada = enter(browser, running, "Ada")
    before = ada.inner_text("#c-id")
    ada.click("[data-do=crash]")
    ada.locator("#c-close", has_text="1006").wait_for()
    _wait_for_state(ada, "connected")
    assert ada.inner_text("#c-id") != before
    assert [line["error_type"] for line in running.events("ws_error")] == ["CrashRequestedError"]
    ada.context.close()


@pytest.mark.parametrize(
    ("action", "code", "closed_by"),
    [("kick-me", 4001, "server"), ("close", 1000, "client"), ("close-odd", 4123, "client")],
)
def test_page_stays_out_after_a_close_on_purpose(
    browser: Any, running: Demo, action: str, code: int, closed_by: str
) -> None:
    """A close on purpose is shown with its code, logged, and not undone by itself."""
    ada = enter(browser, running, "Ada")
    ada.click(f"[data-do={action}]")
    _wait_for_state(ada, "closed")
    assert ada.inner_text("#state-text") == f"closed · {code}"
    assert ada.locator("#join").is_visible()
    wait_until(lambda: running.events("ws_close"))
    (line,) = running.events("ws_close")
    assert (line["code"], line["closed_by"]) == (code, closed_by)
    ada.context.close()


def test_taken_name_and_private_room_are_explained(browser: Any, running: Demo) -> None:
    """A name that is taken leads back to the question, a refused room to a word about it."""
    ada = enter(browser, running, "Ada")
    other = browser.new_context().new_page()
    other.goto(f"{running.url}/?room=lobby&name=Ada")
    other.locator("#join-why", has_text="has that name").wait_for()
    other.fill("#name", "Grace")
    other.press("#name", "Enter")
    _wait_for_state(other, "connected")
    other.click("[data-room=private]")
    _wait_for_state(other, "refused")
    assert json.loads(running.get("/about"))["rooms"]["lobby"] == 1
    for window in (ada, other):
        window.context.close()


def test_panel_shows_the_numbers(browser: Any, running: Demo) -> None:
    """The panel reads /metrics and shows connections, messages, times and closes."""
    enter(browser, running, "Gone").context.close()
    ada = enter(browser, running, "Ada")
    say(ada, "hello")
    # Two joins, one word that Ada types, and the message.
    ada.locator("#n-in", has_text="4").wait_for()
    assert ada.inner_text("#n-active") == "1"
    assert ada.inner_text("#n-connects") == "2"
    assert ada.inner_text("#n-p99").endswith("ms")
    assert ada.locator("#closes li").count() == 1
    ada.context.close()
