"""One laboratory: a fleet, its clients and its monitoring, for one scenario."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from asgi_ws_observe.operations.routing import alertmanager_text
from asgi_ws_observe.operations.rules import rules_text
from asgi_ws_observe.operations.thresholds import DEFAULTS
from tests.fanout.redis_servers import RedisServer, single
from tests.laboratory.harness.clients import Crowd, Manners
from tests.laboratory.harness.loops import LoopThread
from tests.laboratory.harness.monitoring import Prometheus, Receiver, alertmanager, prometheus
from tests.laboratory.harness.nodes import Node
from tests.laboratory.harness.relays import Relay, nginx
from tests.laboratory.harness.scenario import Scenario
from tests.laboratory.harness.starter import Starter
from tests.support import wait_until

__all__ = ["Lab"]


class Lab:
    """Everything that runs for one scenario.

    Use it as a context manager: entering starts all of it, leaving ends all of it.

    Args:
        scenario: What is to be shown.
        starter: What the nodes are started from.
        directory: Where logs and data go.
        tell: Gets what is done just now.

    Attributes:
        scenario: What is to be shown.
        nodes: The nodes.
        fronts: Where the clients connect: the nodes, or what is in front of them.
        crowd: The clients that are there all the time.
        prometheus: The running Prometheus.
        receiver: Who is woken.
        redis: The broker, where the scenario has one.
        segment: The relay that the fault is in, where there is one.
        over: Set when the fault has been seen and may end.
        stop: Set when all of it is to end early.
    """

    prometheus: Prometheus
    redis: RedisServer
    segment: Relay

    def __init__(
        self, scenario: Scenario, starter: Starter, directory: Path, tell: Callable[[str], None]
    ) -> None:
        self.scenario = scenario
        self.nodes: list[Node] = []
        self.fronts: list[str] = []
        self.receiver = Receiver()
        self.over = threading.Event()
        self.stop = threading.Event()
        self.tell = tell
        self._starter = starter
        self._directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Lab:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._stack.close()

    def goes_on(self, seconds: float) -> bool:
        """Wait so long; return whether the fault is to go on."""
        return not self.over.wait(seconds)

    def another_crowd(self, name: str, manners: Manners) -> Crowd:
        """Return another crowd, nobody in it yet, which connects where all clients do."""
        return Crowd(self.loop, lambda: self.fronts, manners, name)

    def relay(self, upstream: str) -> Relay:
        """Run a relay until the end."""
        relay = Relay(self.loop, upstream)
        self._stack.callback(relay.close)
        return relay

    def nginx(self, timeout: int) -> str:
        """Run nginx in front of all nodes until the end; return its address."""
        proxy = nginx(self._directory, [node.address for node in self.nodes], timeout)
        self._stack.callback(proxy.end)
        proxy.start()
        return proxy.address

    def another_redis(self, name: str) -> RedisServer:
        """Run a Redis server until the end."""
        return self._stack.enter_context(single(self._directory / name))

    def _start(self) -> None:
        scenario = self.scenario
        self._directory.mkdir(parents=True, exist_ok=True)
        self.loop = LoopThread()
        self._stack.callback(self.loop.close)
        self.tell("start the nodes")
        bus = None
        if scenario.bus is not None:
            self.redis = self.another_redis("redis")
            bus = scenario.bus(self)
        for number in range(1, scenario.nodes + 1):
            more = scenario.node.of_last if number == scenario.nodes else ()
            node = Node(f"node-{number}", self._starter, self._directory, scenario.node, bus, more)
            self.nodes.append(node)
            self._stack.callback(node.end)
        self._start_monitoring()
        for node in self.nodes if scenario.is_running else ():
            node.start()
        self.fronts = [node.address for node in self.nodes]
        if scenario.front is not None:
            self.fronts = scenario.front(self)

    def _start_monitoring(self) -> None:
        scenario = self.scenario
        hook = self._stack.enter_context(self.receiver.listening())
        routes = alertmanager(self._directory, alertmanager_text(hook, scale=scenario.scale))
        self._stack.callback(routes.end)
        rules = rules_text({**DEFAULTS, **scenario.thresholds}, job="demo", scale=scenario.scale)
        targets = {node.name: node.address for node in self.nodes}
        self.prometheus = prometheus(
            self._directory, rules, targets, routes.address, scenario.scale, scenario.interval
        )
        self._stack.callback(self.prometheus.end)
        for program in (routes, self.prometheus):
            program.start(wait=False)
        for program in (routes, self.prometheus):
            program.listening()
        wait_until(self.prometheus.is_ready, 30)

    def warm_up(self) -> None:
        """Let the clients come, and let all be as usual for a while."""
        scenario = self.scenario
        self.crowd = Crowd(self.loop, lambda: self.fronts, scenario.manners())
        if scenario.is_running:
            self.tell(f"{scenario.clients} clients come")
            self.crowd.arrive(scenario.clients, over=2.0)
            wait_until(lambda: self.crowd.open >= 0.8 * scenario.clients, 30)
        # Prometheus takes five seconds to its first scrape.
        self.tell("wait for the first scrapes")
        wait_until(lambda: len(self.prometheus.query("up")) == scenario.nodes, 30)
        self.tell(f"as usual for {scenario.warm_up:g} s")
        self.stop.wait(scenario.warm_up)
