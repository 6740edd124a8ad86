"""Utilisation, saturation, errors: how full a node is."""

from __future__ import annotations

from typing import Final

from .overview import capacity, descriptors
from .panels import Panel, Query, Row, above
from .promql import by_node, gauge, quantile

__all__ = ["USE"]

_DIRECTIONS: Final = "{{instance}} {{direction}}"

USE: Final = Row(
    500,
    "Utilisation and saturation: how full is a node?",
    (
        Panel(
            id=501,
            title="Capacity used",
            queries=by_node(capacity()),
            unit="percentunit",
            text="Open connections, as a share of `Settings.max_connections`: the tested ceiling. "
            "All routes together.",
            good="below 80 %.",
            bad="above 90 %: add nodes before the next peak. At 100 % handshakes are refused "
            "where that is enforced.",
            steps=above(0.8, 0.9),
            most=1,
            empty="no limit is set",
        ),
        Panel(
            id=502,
            title="File descriptors",
            queries=by_node(descriptors("instance")),
            unit="percentunit",
            text="Open file descriptors, as a share of what the process may have. Each connection "
            "is one.",
            good="below 80 %.",
            bad="above 80 %: raise `ulimit -n`, or find what leaks. At 100 % accept() fails.",
            steps=above(0.8, 0.9),
            most=1,
        ),
        Panel(
            id=503,
            title="Memory",
            queries=by_node(gauge("process_resident_memory_bytes")),
            unit="bytes",
            text="Resident memory of each node.",
            good="follows the open connections.",
            bad="it grows and they do not: a leak, or buffers of slow clients (see the unsent "
            "bytes).",
        ),
        Panel(
            id=504,
            title="Unsent bytes",
            queries=by_node(gauge("ws_send_buffer_current_bytes")),
            unit="bytes",
            text="What was sent and has not reached the clients, in the server and in the kernel, "
            "of all connections of a node.",
            good="kilobytes.",
            bad="megabytes: clients read more slowly than the application writes, and the node's "
            "memory holds the rest.",
        ),
        Panel(
            id=505,
            title="Unsent bytes of the slowest client",
            queries=by_node(gauge("ws_send_buffer_max_bytes", how="max")),
            unit="bytes",
            text="The same of the one connection with the most.",
            good="below 1 MiB.",
            bad="one client with many megabytes: close it, or drop messages for it, as a hub does.",
            steps=above(1048576),
        ),
        Panel(
            id=506,
            title="Unsent bytes p95",
            queries=by_node(quantile(0.95, "ws_send_buffer_bytes", by="instance")),
            unit="bytes",
            text="What 95 of 100 connections stay below, at each look.",
            good="nearly nothing.",
            bad="above 1 MiB: not one client is slow but many, as where the network is.",
            steps=above(262144, 1048576),
        ),
        Panel(
            id=507,
            title="Slow clients",
            queries=by_node(gauge("ws_slow_connections")),
            unit="short",
            text="Connections with more unsent bytes than `Settings.slow_buffer_bytes`.",
            good="none.",
            bad="many on one node: its network. Many on all: what is sent is too much.",
            steps=above(1, 20),
        ),
        Panel(
            id=508,
            title="Longest wait in send()",
            queries=by_node(gauge("ws_send_waiting_max_seconds", how="max")),
            unit="s",
            text="How long the longest send() waits now.",
            good="zero.",
            bad="it grows by a second each second: a handler hangs behind a client that reads no "
            "more.",
            steps=above(1, 5),
        ),
        Panel(
            id=509,
            title="Queued messages",
            queries=(Query(gauge("ws_queue_depth", by="instance, direction"), _DIRECTIONS),),
            unit="short",
            text="In: messages that the server has and the application has not taken. Out: "
            "messages and sends that wait for clients.",
            good="nearly none.",
            bad="`in` grows: handlers are too slow. `out` grows: clients are.",
        ),
        Panel(
            id=510,
            title="Longest queue",
            queries=(
                Query(
                    gauge("ws_queue_depth_max", by="instance, direction", how="max"), _DIRECTIONS
                ),
            ),
            unit="short",
            text="The same of the connection with the most.",
            good="below ten.",
            bad="as large as the sum of all: it is that one connection.",
        ),
        Panel(
            id=511,
            title="TCP connections by state",
            queries=(Query(gauge("ws_tcp_connections", by="state"), "{{state}}"),),
            unit="short",
            text="The processes' own TCP connections on the ports that WebSockets come to.",
            good="`established`, and no other for long.",
            bad="`fin_wait`: clients are gone without a word. `close_wait`: see the next panel.",
            empty="the system does not tell",
        ),
        Panel(
            id=512,
            title="Sockets in CLOSE_WAIT",
            queries=by_node(gauge("ws_tcp_connections", 'state="close_wait"')),
            unit="short",
            text="The client has closed, the application has not noticed or not let go.",
            good="none for long.",
            bad="it only grows: a leak. Each is a file descriptor that does not come back.",
            steps=above(5, 50),
            empty="the system does not tell",
        ),
    ),
)
