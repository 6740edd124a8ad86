"""What `top` shows on terminals of different sizes."""

from __future__ import annotations

import io

import httpx
import pytest
from rich.console import Console

from asgi_ws_observe.operations.top import Watch
from asgi_ws_observe.operations.top_view import view
from tests.operations.nodes import growing
from tests.operations.served import Served
from tests.operations.test_top import nodes, watched
from tests.servers.processes import free_port

__all__ = ["nodes"]


def shown(watch: Watch, width: int, height: int = 24, *, by: str = "") -> list[str]:
    """Return the lines that a terminal of this size shows, without colours."""
    console = Console(width=width, file=io.StringIO(), highlight=False)
    with console.capture() as captured:
        console.print(view(watch, width=width, height=height, by=by, title="12:00:00"))
    return captured.get().splitlines()


@pytest.mark.parametrize(
    ("width", "there", "left_out"),
    [
        (40, ["open"], ["handler", "loop"]),
        (80, ["open", "conn", "close", "handler", "loop"], ["trend"]),
        (120, ["open", "by code", "trend", "handler", "queue", "max"], []),
        (200, ["open", "by code", "trend", "handler", "queue", "max", "sum"], []),
    ],
)
async def test_columns_fit_the_terminal(
    client: httpx.AsyncClient,
    nodes: list[Served],
    width: int,
    there: list[str],
    left_out: list[str],
) -> None:
    """The least important go first, and no line is wrapped."""
    watch = await watched(client, *(each.address for each in nodes), f"127.0.0.1:{free_port()}")
    lines = shown(watch, width)
    assert 7 == len(lines)
    assert all(len(line) <= width for line in lines)
    header = " ".join(lines[1:3])
    assert all(each in header for each in there)
    assert not any(each in header for each in left_out)


async def test_rows_say_what_is_so(client: httpx.AsyncClient, nodes: list[Served]) -> None:
    """Connections with their limit, codes with their rates, down in words, and a total."""
    down = f"127.0.0.1:{free_port()}"
    watch = await watched(client, *(each.address for each in nodes), down)
    text = "\n".join(shown(watch, 200))
    assert "30/40" in text
    assert "1006:" in text
    assert "2 MiB" in text
    assert f"{down} down" in text
    assert "2 of 3 up" in text


async def test_one_node_needs_no_total(client: httpx.AsyncClient, nodes: list[Served]) -> None:
    """It would be the same row again."""
    assert not any("of 1 up" in line for line in shown(await watched(client, nodes[0].address), 80))


async def test_nodes_that_do_not_fit_are_counted(
    client: httpx.AsyncClient, nodes: list[Served]
) -> None:
    """The first by the order stay, with the total of all."""
    watch = await watched(client, *(each.address for each in nodes))
    lines = shown(watch, 80, height=7, by="open")
    assert nodes[0].address in lines[3]
    assert "2 of 2 up" in lines[4]
    assert "and 1 more nodes" == lines[5].strip()


async def test_a_failed_look_is_told(client: httpx.AsyncClient, nodes: list[Served]) -> None:
    """Below the numbers of the last one."""
    watch = await watched(client, nodes[0].address)
    watch.error = "http://127.0.0.1: cannot connect"
    assert "the last look failed: http://127.0.0.1: cannot connect" == shown(watch, 80)[-1].strip()


async def test_bad_numbers_are_coloured(client: httpx.AsyncClient, served: Served) -> None:
    """Red from the threshold on, yellow from half of it, a node that is down as a row."""
    served.answers["/metrics"] = growing(active=40, code="1006")
    watch = await watched(client, served.address)
    console = Console(width=200, file=io.StringIO(), force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(view(watch, width=200, height=24))
    text = captured.get()
    red, yellow = "\x1b[1;31m", "\x1b[33m"
    plain = text.replace(" ", "")
    assert f"{red}40/40" in plain
    assert f"{red}1006" in plain
    assert f"{red}2MiB" in plain
    assert f"{yellow}60" in plain
