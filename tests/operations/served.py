"""A small HTTP server whose answers a test sets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass
class Answer:
    """What is answered to a request.

    Attributes:
        body: The body.
        content_type: Its type; empty for none.
        status: The status.
        headers: More headers.
    """

    body: str | bytes = ""
    content_type: str = PLAIN
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """A request that came.

    Attributes:
        path: Its path with the query.
        headers: Its headers, with lower-case names.
        body: Its body.
    """

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Served:
    """The server.

    Attributes:
        port: Its port.
        answers: What it answers, by path; 404 for the rest.
        asked: The requests so far.
    """

    port: int = 0
    answers: dict[str, Answer | Callable[[Asked], Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Its ``host:port``."""
        return f"127.0.0.1:{self.port}"

    def url(self, path: str = "/metrics") -> str:
        """Return the URL of a path."""
        return f"http://{self.address}{path}"

    def page(self, text: str | bytes, content_type: str = PLAIN, **more: Any) -> str:
        """Answer so to ``/metrics`` from now on, and return its URL."""
        self.answers["/metrics"] = Answer(text, content_type, **more)
        return self.url()

    def answer(self, asked: Asked) -> Answer:
        """Return the answer to a request, and keep the request."""
        self.asked.append(asked)
        found = self.answers.get(asked.path.partition("?")[0], Answer("no such page", status=404))
        return found(asked) if callable(found) else found


@contextmanager
def serving() -> Iterator[Served]:
    """Serve on a free port until the end of the block."""
    served = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            answer = served.answer(Asked(self.path, headers, body))
            content = answer.body.encode() if isinstance(answer.body, str) else answer.body
            self.send_response(answer.status)
            if answer.content_type:
                self.send_header("content-type", answer.content_type)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                # Nobody waits any more for some answers.
                self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        served.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
