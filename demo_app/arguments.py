"""What the command line takes."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NoReturn
from urllib.parse import urlsplit

__all__ = ["make_parser"]

_PORTS: Final = {"redis": 6379, "nats": 4222}
_SHARE: Final = "share the rooms with all nodes there; default: this node has its own, in memory"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the demo and its commands."""
    parser = _Parser(
        prog="python -m demo_app",
        description="A chat with rooms, to watch asgi_ws_observe on: the page at /, the numbers at "
        "/metrics, JSON log lines on stderr.",
        epilog="One node needs no Redis, no NATS and no Prometheus.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=_whole(0, 65535), help="default: 8000; 0 for any")
    parser.add_argument(
        "--workers",
        type=_whole(1, 64),
        default=1,
        help="processes, with one /metrics and, without a bus, each with rooms of its own; "
        "default: %(default)s",
    )
    bus = parser.add_mutually_exclusive_group()
    bus.add_argument("--redis", metavar="URL", type=_url("redis", "rediss"), help=_SHARE)
    bus.add_argument("--nats", metavar="URL", type=_url("nats", "tls"), help=_SHARE)
    parser.add_argument(
        "--node", metavar="NAME", type=_name, help="what this node is called; default: node-PORT"
    )
    parser.add_argument(
        "--ws",
        choices=("auto", "websockets-sansio", "wsproto", "websockets"),
        default="auto",
        help="uvicorn's WebSocket implementation; default: %(default)s",
    )
    parser.add_argument(
        "--loop",
        choices=("auto", "asyncio", "uvloop"),
        default="auto",
        help="the event loop; default: %(default)s",
    )
    parser.add_argument(
        "--spans",
        choices=("none", "console", "otlp"),
        default="none",
        help="console: print every span on stdout; otlp: send them to OTEL_EXPORTER_OTLP_ENDPOINT "
        "(http/protobuf, http://localhost:4318 if unset); default: %(default)s",
    )
    parser.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="default: %(default)s",
    )
    parser.set_defaults(nodes=1)
    commands = parser.add_subparsers(
        dest="command", metavar="load, cluster, socketio", title="commands"
    )
    _add_load(commands.add_parser("load", help="drive a running demo and compare its numbers"))
    _add_cluster(commands.add_parser("cluster", help="run several nodes that share their rooms"))
    _add_socketio(commands.add_parser("socketio", help="run the chat over Socket.IO instead"))
    return parser


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run several nodes that share their rooms, and a Redis between them. It takes the options "
        "of the demo, too, before the word cluster, and gives them to every node. Ctrl-C ends all "
        "of them."
    )
    parser.add_argument(
        "--nodes", type=_whole(1, 16), default=2, help="how many; default: %(default)s"
    )
    # What was given before the word cluster counts as well.
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--port",
        type=_whole(1, 65520),
        default=unset,
        help="of the first node, one more for each next one; default: 8001",
    )
    bus = parser.add_mutually_exclusive_group()
    bus.add_argument(
        "--redis",
        metavar="URL",
        type=_url("redis", "rediss"),
        default=unset,
        help="one that runs already; default: it is started here",
    )
    bus.add_argument(
        "--nats",
        metavar="URL",
        type=_url("nats", "tls"),
        nargs="?",
        # No text, or its type would have to accept it.
        const=False,
        default=unset,
        help="NATS instead of Redis, one that runs already; without URL it is started here",
    )


def _add_socketio(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Run a chat over Socket.IO, whose page shows what is observed of it: numbers, traces and "
        "log lines. It takes the options of the demo, too, before the word socketio."
    )
    parser.epilog = (
        "One node needs no Redis. Real clients, whose own numbers are compared with /metrics: "
        "python -m demo_app load --socketio."
    )
    parser.add_argument(
        "--nodes",
        type=_whole(1, 16),
        default=1,
        help="how many; several share their rooms over a Redis; default: %(default)s",
    )
    unset = argparse.SUPPRESS
    parser.add_argument(
        "--port",
        type=_whole(0, 65535),
        default=unset,
        help="default: 8000; 0 for any; of several nodes the first one's, default: 8001",
    )
    parser.add_argument(
        "--redis",
        metavar="URL",
        type=_url("redis", "rediss"),
        default=unset,
        help="one that runs already: share the rooms with all nodes there; default: one node has "
        "its own, in memory, and for several a Redis is started here",
    )


def _add_load(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Drive a running demo with real clients and compare what they counted with its /metrics. "
        "Exit code 0: equal; 1: a difference; 2: no demo there."
    )
    parser.add_argument(
        "--socketio",
        action="store_true",
        help="the demo is a chat over Socket.IO: python -m demo_app socketio",
    )
    parser.add_argument(
        "--url",
        action="append",
        help="default: ws://127.0.0.1:8000; again for more nodes, whose numbers are added up",
    )
    parser.add_argument(
        "--clients", type=_whole(1, 2000), default=40, help="how many; default: %(default)s"
    )
    parser.add_argument(
        "--seconds", type=_whole(1, 3600), default=15, help="how long; default: %(default)s"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="which mix of clients; default: %(default)s"
    )


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"got {text!r}, accepted is a whole number from {least} to {most}"
            )
        return value

    return parse


def _url(*schemes: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        try:
            url = urlsplit(text)
            fits = url.scheme in schemes and bool(url.hostname) and url.port != 0
        except ValueError:
            fits = False
        if not fits:
            # Not what was given: it may hold a password.
            raise argparse.ArgumentTypeError(
                f"accepted is a URL such as {schemes[0]}://127.0.0.1:{_PORTS[schemes[0]]}"
            )
        return text

    return parse


def _name(text: str) -> str:
    if not 0 < len(text) <= 24 or not text.isprintable():
        raise argparse.ArgumentTypeError(f"got {text!r}, accepted are 1 to 24 characters")
    return text
