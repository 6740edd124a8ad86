"""Real Redis servers on the loopback: one, a cluster, one behind a sentinel.

    with single(tmp_path) as server:
        client = redis.asyncio.Redis.from_url(server.url)
        server.kill()
        server.start()

Each is ended by its own process when the block ends, whatever state a test left it in.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from redis import Redis

from tests.servers.processes import absent, free_port
from tests.support import wait_until

__all__ = ["MASTER_NAME", "RedisServer", "SentinelServers", "cluster", "sentinel", "single"]

#: What the sentinel calls its master.
MASTER_NAME: Final = "chat"


class RedisServer:
    """A Redis server, which keeps its port however often it is started.

    Args:
        directory: Where its files and its log go; its own.
        options: More of its configuration, such as ``{"requirepass": "secret"}``.
        program: ``redis-server`` or ``redis-sentinel``.

    Attributes:
        port: Where it listens, on 127.0.0.1 only.
        url: The same as clients want it.
        process: The process that runs, or ran last.
    """

    def __init__(
        self, directory: Path, options: Mapping[str, str | int], program: str = "redis-server"
    ) -> None:
        self._program = found(program)
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.port = port_for_redis()
        password = options.get("requirepass")
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}"
        given = {"bind": "127.0.0.1", "port": self.port, "dir": directory, "save": '""', **options}
        lines = [f"{name} {value}" for name, value in given.items()]
        self._config = directory / "redis.conf"
        self._config.write_text("\n".join(lines) + "\n")
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it, from what it has kept; return when it answers."""
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._program, str(self._config)], stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self.answers)

    def kill(self) -> None:
        """Kill it, as a machine that fails does."""
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stop it as it is: its connections stay, and nobody answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def ask(self, *command: Any) -> Any:
        """Return what it answers to a command, undecoded, on a connection for this alone."""
        with Redis.from_url(self.url, socket_timeout=5) as client:
            return client.execute_command(*command)

    def clients(self, kind: str = "") -> list[dict[str, str]]:
        """Return the fields of its connections but the one that asks.

        Args:
            kind: ``normal`` or ``pubsub`` for those only.
        """
        with Redis.from_url(self.url, socket_timeout=5) as client:
            own = str(client.client_id())
            every = client.client_list(_type=kind or None)
        return [each for each in every if each["id"] != own]

    def cut(self, kind: str = "pubsub") -> int:
        """Cut the connections of a kind, ``pubsub`` or ``normal``; return how many."""
        return int(self.ask("CLIENT", "KILL", "TYPE", kind))

    def answers(self) -> bool:
        """Return whether it takes commands.

        Raises:
            AssertionError: It has ended.
        """
        assert self.process.poll() is None, (self._directory / "log").read_text()
        with suppress(Exception):
            return bool(self.ask("PING"))
        return False

    def end(self) -> None:
        """End it; nothing where it has ended."""
        if hasattr(self, "process") and self.process.poll() is None:
            self.resume()
            self.kill()


def found(program: str) -> str:
    """Return where a program is; skip the test where it is not."""
    packages = {"redis-cli": "redis-tools"}
    wanted = packages.get(program, program)
    return shutil.which(program) or absent(f"{program}: apt-get install {wanted}")


def port_for_redis() -> int:
    """Return a free port below 55536: a cluster's bus has the one that is 10,000 above."""
    while (port := free_port()) > 55_535:
        pass
    return port


@contextmanager
def single(
    directory: Path, *, durable: bool = False, **options: str | int
) -> Iterator[RedisServer]:
    """Run one server until the end of the block.

    Args:
        directory: Where its files go.
        durable: Whether it has every entry on disk before it answers; else it keeps nothing.
        options: More of its configuration.
    """
    kept = {"appendonly": "yes", "appendfsync": "always"} if durable else {}
    server = RedisServer(directory, {**kept, **options})
    try:
        server.start()
        yield server
    finally:
        server.end()


@contextmanager
def cluster(directory: Path, masters: int = 3) -> Iterator[list[RedisServer]]:
    """Run a cluster of masters without replicas until the end of the block."""
    options: dict[str, str | int] = {
        "cluster-enabled": "yes",
        "cluster-node-timeout": 1000,
        "cluster-require-full-coverage": "no",
    }
    with ExitStack() as stack:
        servers = []
        for number in range(masters):
            servers.append(RedisServer(directory / str(number), options))
            stack.callback(servers[-1].end)
            servers[-1].start()
        addresses = [f"127.0.0.1:{server.port}" for server in servers]
        options_of_cli = ("--cluster-replicas", "0", "--cluster-yes")
        subprocess.run(
            [found("redis-cli"), "--cluster", "create", *addresses, *options_of_cli],
            check=True,
            capture_output=True,
            timeout=60,
        )
        wait_until(lambda: all(_knows(server, masters) for server in servers))
        yield servers


def _knows(server: RedisServer, masters: int) -> bool:
    """Return whether a server of a cluster knows who has which slot."""
    return len(server.ask("CLUSTER", "SLOTS")) >= masters


class SentinelServers:
    """A master, its replica, and a sentinel that makes the replica the master when it has to.

    Attributes:
        master: The one that is the master at first.
        replica: The other one.
        sentinel: Who watches them, as `MASTER_NAME`.
    """

    def __init__(self, directory: Path) -> None:
        self.master = RedisServer(directory / "master", {})
        address = f"127.0.0.1 {self.master.port}"
        copies: dict[str, str | int] = {"replicaof": address, "repl-diskless-sync-delay": 0}
        self.replica = RedisServer(directory / "replica", copies)
        watches = (
            f"monitor {MASTER_NAME} {address} 1\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 500\n"
            f"sentinel failover-timeout {MASTER_NAME} 2000"
        )
        self.sentinel = RedisServer(
            directory / "sentinel", {"sentinel": watches}, program="redis-sentinel"
        )

    def master_port(self) -> int:
        """Return where the sentinel says that the master is."""
        answer = self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)
        return int(answer[1])

    def knows_replica(self) -> bool:
        """Return whether the replica has all data, and the sentinel knows of it."""
        up = b"master_link_status:up" in _info(self.replica)
        return up and bool(self.sentinel.ask("SENTINEL", "REPLICAS", MASTER_NAME))


def _info(server: RedisServer) -> bytes:
    with Redis.from_url(server.url) as client:
        client.response_callbacks.clear()
        return bytes(client.execute_command("INFO", "replication"))


@contextmanager
def sentinel(directory: Path) -> Iterator[SentinelServers]:
    """Run a master, its replica and their sentinel until the end of the block."""
    servers = SentinelServers(directory)
    every = (servers.master, servers.replica, servers.sentinel)
    try:
        for server in every:
            server.start()
        wait_until(servers.knows_replica, 30)
        yield servers
    finally:
        for server in every:
            server.end()
