"""Every way to end a connection or a handshake, on every server, against the table of endings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.servers.matrix import (
    ENDINGS,
    HANDSHAKES,
    STAYS_OPEN,
    Ending,
    Handshake,
    ending,
    handshake,
)
from tests.servers.plays import MAX_SIZE, PLAYS
from tests.servers.processes import SERVERS, Process, chosen_servers, running
from tests.support import wait_until

SHUTDOWN: Final = "server ends (SIGTERM)"
#: Each scenario on each server that has it.
ACCEPTED: Final = [(each, server) for each in ENDINGS for server in SERVERS if ending(each, server)]
FAILED: Final = [
    (each, server) for each in HANDSHAKES for server in SERVERS if handshake(each, server)
]
#: A scenario that takes longer on a server fails, seconds. Legacy takes ten to give up a connection
#: with a message that is too large.
DEADLINE: Final = 30.0


@dataclass
class Played:
    """What one server said of all scenarios.

    Attributes:
        endings: Scenario -> how its connection ended, by `/metrics`.
        logged: Scenario -> the same by the log line, of those that are over after the server's end.
        handshakes: Scenario -> how its handshake failed.
        seen: Scenario -> the code of the close frame that the client saw; without those whose
            client may have missed one, since daphne resets the connection behind it.
        own_errors: Errors of the monitoring itself.
    """

    endings: dict[str, Ending]
    logged: dict[str, Ending]
    handshakes: dict[str, Handshake]
    seen: dict[str, int | None]
    own_errors: dict[str, float]


def options(server: str, directory: Path) -> list[str]:
    """Return what a server is told: how large a message may be, and to ping."""
    if server == "hypercorn":
        config = directory / "hypercorn.toml"
        config.write_text(f"websocket_max_message_size = {MAX_SIZE}\ngraceful_timeout = 0.5\n")
        return ["-c", str(config)]
    if server == "daphne":
        size = ["--websocket-max-message-size", str(MAX_SIZE)]
        # Its timers round down to whole seconds.
        return [*size, "--ping-interval", "1", "--ping-timeout", "2"]
    if server == "granian":
        return []
    size = ["--ws-max-size", str(MAX_SIZE)]
    return [*size, "--ws-ping-interval", "1", "--ws-ping-timeout", "1"]


def play(server: str, directory: Path) -> Played:
    """Play every scenario that a server has, all at the same time."""
    chosen = {
        scenario: each
        for scenario, each in PLAYS.items()
        if ending(scenario, server) or handshake(scenario, server)
    }
    log = directory / "log"
    with ThreadPoolExecutor(len(chosen)) as pool:
        with running(server, *options(server, directory), log=log) as process:
            clients = {
                scenario: pool.submit(each.run, process.address)
                for scenario, each in chosen.items()
            }
            with contextlib.suppress(AssertionError):
                wait_until(lambda: set() == pending(server, process), DEADLINE)
            endings, failures = process.endings(), process.failures()
            own_errors = process.own_errors()
            process.end()
        results = {scenario: client.result() for scenario, client in clients.items()}
    logged = {
        line["route"]: (line["code"], line["closed_by"], line["reason"])
        for line in process.lines("ws_close")
        if "code" in line
    }
    paths = {scenario: each.path for scenario, each in chosen.items()}
    return Played(
        {each: endings.get(path, STAYS_OPEN) for each, path in paths.items()},
        {each: logged[path] for each, path in paths.items() if path in logged},
        {each: (results[each].status, failures.get(path, "")) for each, path in paths.items()},
        {
            scenario: client.close_code
            for scenario, client in results.items()
            if client.close_code or not client.was_reset
        },
        own_errors,
    )


def pending(server: str, process: Process) -> set[str]:
    """Return the scenarios that a server has yet to say something of."""
    known = {*process.endings(), *process.failures()}
    silent = {STAYS_OPEN, (400, "")}
    return {
        scenario
        for scenario, each in PLAYS.items()
        if (expected := ending(scenario, server) or handshake(scenario, server))
        and scenario != SHUTDOWN
        and expected not in silent
        and each.path not in known
    }


@pytest.fixture(scope="module")
def played(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Played]]]:
    """What every server that is to be tested says; they run some at a time."""
    # Those that wait longest first.
    servers = sorted(chosen_servers(request), key=lambda server: "websockets/" not in server)
    with ThreadPoolExecutor(4) as pool:
        yield {
            server: pool.submit(play, server, tmp_path_factory.mktemp("server"))
            for server in servers
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(("scenario", "server"), ACCEPTED)
def test_ending_is_told_as_it_was(
    scenario: str, server: str, played: dict[str, Future[Played]]
) -> None:
    """Code, author and cause, by `/metrics`, and by the log line where the process is gone."""
    result = played[server].result()
    if scenario == SHUTDOWN:
        assert ending(scenario, server) == result.logged.get(scenario, STAYS_OPEN)
    else:
        assert ending(scenario, server) == result.endings.get(scenario)


@pytest.mark.parametrize(("scenario", "server"), FAILED)
def test_failed_handshake_is_told_as_it_was(
    scenario: str, server: str, played: dict[str, Future[Played]]
) -> None:
    """The status that the client saw, and the cause."""
    assert handshake(scenario, server) == played[server].result().handshakes.get(scenario)


@pytest.mark.parametrize("server", SERVERS)
def test_log_lines_agree_with_metrics(server: str, played: dict[str, Future[Played]]) -> None:
    """Whatever was over before the server's end."""
    result = played[server].result()
    over = {each: found for each, found in result.endings.items() if found != STAYS_OPEN}
    assert over
    assert over == {each: result.logged.get(each) for each in over}


@pytest.mark.parametrize("server", SERVERS)
def test_code_of_the_server_is_what_its_client_saw(
    server: str, played: dict[str, Future[Played]]
) -> None:
    """A close frame with that code, or none where 1006 is told."""
    result = played[server].result()
    told = {
        each: None if code == 1006 else code
        for each, (code, author, _) in result.logged.items()
        if author == "server" and each in result.seen
    }
    assert told
    assert told == {each: result.seen[each] for each in told}


@pytest.mark.parametrize("server", SERVERS)
def test_monitoring_itself_has_no_errors(server: str, played: dict[str, Future[Played]]) -> None:
    """After all of that."""
    assert {} == played[server].result().own_errors
