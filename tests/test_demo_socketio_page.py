"""The page of the chat over Socket.IO, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fanout.redis_servers import single
from tests.test_demo_browser import browser, say
from tests.test_demo_cli import Demo, demo

__all__ = ["browser"]


@pytest.fixture(scope="module")
def running() -> Iterator[Demo]:
    """A chat of one node."""
    with demo("socketio") as each:
        yield each


@contextmanager
def window(browser: Any, node: Demo, name: str) -> Iterator[Any]:
    """Be in the lobby; the page asks nobody but this machine, and complains of nothing."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(20_000)
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.goto(f"{node.url}/?name={name}")
    state(page, "connected")
    # Nobody can be spoken to before the room is joined.
    page.locator(".event.good", has_text="You joined #lobby").wait_for()
    yield page
    context.close()
    assert not [url for url in asked if "//127.0.0.1:" not in url and not url.startswith("data:")]
    assert [] == complaints


def state(page: Any, wanted: str) -> None:
    """Wait until the page says that it is connected, or the like."""
    page.locator(f"#state[data-state={wanted}]").wait_for()


def act(page: Any, what: str) -> None:
    """Press one of the buttons that make something happen."""
    page.click(f"[data-do={what}]")


def do(page: Any, name: str, what: str) -> None:
    """Choose somebody, and what to do with them."""
    page.locator("#members .person", has_text=name).click()
    page.locator(".choices button", has_text=what).click()


def tells(page: Any, text: str) -> None:
    """Wait until the page tells something between the messages."""
    page.locator(".event", has_text=text).last.wait_for()


def trace(page: Any, *spans: str) -> Any:
    """Return the card of the youngest trace that has all these spans."""
    card = page.locator("#traces > li")
    for span in spans:
        card = card.filter(has_text=span)
    card.first.wait_for()
    return card.first


def row(page: Any, table: str, *texts: str) -> None:
    """Wait until a row of the numbers says all that."""
    found = page.locator(f"{table} :is(li, tr)")
    for text in texts:
        found = found.filter(has_text=text)
    found.first.wait_for()


def test_two_windows_talk_and_see_it_observed(browser: Any, running: Demo) -> None:
    """Messages, whispers and pings arrive; a message leads to its trace, which the page began."""
    with window(browser, running, "Ada") as ada, window(browser, running, "Grace") as grace:
        say(grace, "<b>Grüße</b>")
        heard = ada.locator(".message:not(.own) .bubble", has_text="<b>Grüße</b>")
        heard.wait_for()
        whole = "process say", "chat.say", "store.append", "send said"
        assert "you: say" in trace(grace, *whole).inner_text()
        trace(ada, *whole)
        heard.click()
        assert ada.locator("#traces .pinned", has_text="send said").is_visible()

        do(ada, "Grace", "Ping")
        tells(ada, "Grace on node-")
        tells(grace, "pinged this page")
        ada.locator(".choices button", has_text="Whisper").click()
        say(ada, "psst")
        tells(ada, "You whispered to Grace")
        grace.locator(".bubble", has_text="whispers to you").wait_for()
        trace(ada, "process whisper", "ack whispered")
        ada.locator("#n-acks", has_text="2 ok").wait_for()
        ada.locator("#n-clients", has_text="ws 2 · polling 0").wait_for()
        row(ada, "#events", "say", "ok", "1")
        row(ada, "#categories", "room:{name}", "1", "2")
        ada.locator("#lines li", has_text="socketio_open").first.wait_for()


def test_every_button_shows_what_it_is_for(browser: Any, running: Demo) -> None:
    """Failed, unhandled, slow and refused: on the page, in the numbers and in the traces."""
    with window(browser, running, "Zoë") as zoe:
        act(zoe, "statistics")
        tells(zoe, "#lobby: ")
        trace(zoe, "process statistics", "statistics.of_room", "statistics.count")
        act(zoe, "slow")
        tells(zoe, "That handler took 0.8 s")
        act(zoe, "crash")
        trace(zoe, "process crash", "ChatError")
        row(zoe, "#events", "crash", "error", "1")
        act(zoe, "nobody")
        row(zoe, "#events", "_other", "unhandled", "1")
        act(zoe, "refused")
        tells(zoe, "Refused: Wrong token.")
        row(zoe, "#ends", "/", "refused", "1")
        act(zoe, "admin-refused")
        tells(zoe, "Administrators only")
        act(zoe, "announce")
        tells(zoe, "Zoë greets all nodes")
        act(zoe, "admin-refused")
        zoe.locator(".event", has_text="Administrators only").nth(1).wait_for()
        act(zoe, "leave")
        tells(zoe, "You left #lobby")
        zoe.click("[data-room=tea-kitchen]")
        tells(zoe, "You joined #tea-kitchen")
        zoe.click("[data-whose=mine]")
        assert not zoe.locator("#traces > li:not(:has(.you))").count()


def test_transport_can_be_chosen(browser: Any, running: Demo) -> None:
    """Polling only, WebSocket only, or one after the other; the numbers follow."""
    with window(browser, running, "Linus") as linus:
        for wanted, shown, active in (
            ("polling", "polling", "ws 0 · polling 1"),
            ("websocket", "websocket", "ws 1 · polling 0"),
            ("auto", "websocket", "ws 1 · polling 0"),
        ):
            linus.click(f"[data-transport={wanted}]")
            linus.locator(
                "#state[data-state=connected]", has_text=f"connected · {shown}"
            ).wait_for()
            linus.locator("#n-clients", has_text=active).wait_for()


def test_who_is_refused_or_disconnected_is_told_why(browser: Any, running: Demo) -> None:
    """By the connect handler's own words; who was disconnected by /admin may come back."""
    page = browser.new_context().new_page()
    page.goto(running.url)
    page.fill("#name", "Olena")
    page.fill("#token", "wrong")
    page.press("#name", "Enter")
    page.locator("#join-why", has_text="Wrong token. This demo's is “demo”.").wait_for()
    state(page, "refused")
    page.fill("#token", "demo")
    page.press("#name", "Enter")
    state(page, "connected")
    with window(browser, running, "Ada") as ada:
        do(ada, "Olena", "Kick")
        tells(ada, "/admin disconnected Olena")
        page.locator("#join-why", has_text="The server disconnected you").wait_for()
        state(page, "closed")
        row(ada, "#ends", "server disconnect", "1")
    page.context.close()


def test_page_shows_both_nodes(browser: Any, tmp_path: Path) -> None:
    """It names its node, leads to the other, and its traces go over the bus, until that is down."""
    with (
        single(tmp_path / "redis") as redis,
        demo("--node", "east", "--redis", redis.url, "socketio") as east,
        demo("--node", "west", "--redis", redis.url, "socketio") as west,
        window(browser, east, "Ada") as ada,
        window(browser, west, "Grace") as grace,
    ):
        other = ada.locator("#nodes a", has_text="west")
        assert west.url == other.get_attribute("href").rstrip("/")
        assert "east" == ada.locator("#nodes span").inner_text()
        ada.locator("#bus[data-bus=up]", has_text="redis up").wait_for()
        say(grace, "hello")
        message = ada.locator(".message", has_text="hello")
        assert "west" == message.locator(".from.other").inner_text()
        both = trace(ada, "process say", "deliver said")
        assert {"east", "west"} == set(both.locator(".tag").all_inner_texts())
        do(ada, "Grace", "Ping")
        tells(ada, "Grace on west answered in")
        trace(ada, "call poke", "deliver poke")
        ada.locator("#n-lag", has_text="up").wait_for()
        redis.kill()
        ada.locator("#bus[data-bus=down]", has_text="redis down").wait_for()
        say(ada, "anybody?")
        tells(ada, "Redis does not answer: only this node heard that.")
        ada.locator(".own .bubble", has_text="anybody?").wait_for()
