"""A real Prometheus, and samples written into it as another Prometheus would."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers.processes import free_port, program, started
from tests.support import wait_until

#: The bits by which Prometheus knows that a series ended; no other NaN has them.
STALE = 0x7FF0000000000002

#: A series: its labels with its name, and its samples: seconds, and a value or `None` for an end.
Written = tuple[Mapping[str, str], Sequence[tuple[float, "float | None"]]]


class Refused(Exception):
    """Prometheus does not answer a query."""


@dataclass
class Prometheus:
    """The server.

    Attributes:
        url: Where it is.
        client: Asks it.
    """

    url: str
    client: httpx.Client

    def write(self, series: Sequence[Written]) -> None:
        """Write samples by the protocol of remote writes; times of a series ascend."""
        body = b"".join(_field(1, _timeseries(*each)) for each in series)
        answer = self.client.post(
            f"{self.url}/api/v1/write",
            content=_snappy(body),
            headers={
                "Content-Encoding": "snappy",
                "Content-Type": "application/x-protobuf",
                "X-Prometheus-Remote-Write-Version": "0.1.0",
            },
        )
        assert 204 == answer.status_code, answer.text

    def query(self, query: str, at: float | None = None) -> list[tuple[dict[str, str], float]]:
        """Return what a query says, at a time in seconds or now.

        Raises:
            Refused: It is not answered.
        """
        form = {"query": query} if at is None else {"query": query, "time": f"{at:.3f}"}
        answer: dict[str, Any] = self.client.post(f"{self.url}/api/v1/query", data=form).json()
        if answer["status"] != "success":
            raise Refused(answer["error"])
        result = answer["data"]["result"]
        if answer["data"]["resultType"] == "scalar":
            return [({}, float(result[1]))]
        return [(each["metric"], float(each["value"][1])) for each in result]


@contextmanager
def prometheus(
    folder: Path, configuration: str = "", *options: str, prefix: str = ""
) -> Iterator[Prometheus]:
    """Run a Prometheus until the end of the block.

    Args:
        folder: Where its files go.
        configuration: Its configuration file; empty for one that scrapes nothing.
        options: More arguments.
        prefix: The prefix of its paths, such as ``/prom``.
    """
    command = program("prometheus", package="prometheus")
    file, port = folder / "prometheus.yml", free_port()
    file.write_text(configuration)
    arguments = [
        command,
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        f"--web.route-prefix={prefix}/",
        *options,
    ]
    url = f"http://127.0.0.1:{port}{prefix}"
    with started(arguments, port, folder / "prometheus.log"), httpx.Client(timeout=30) as client:
        # It listens before it answers queries.
        wait_until(lambda: client.get(f"{url}/-/ready").is_success, 60)
        yield Prometheus(url, client)


def _varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _timeseries(labels: Mapping[str, str], samples: Sequence[tuple[float, float | None]]) -> bytes:
    found = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(labels.items())
    )
    for time, value in samples:
        number = struct.pack("<Q", STALE) if value is None else struct.pack("<d", value)
        found += _field(2, b"\x09" + number + b"\x10" + _varint(round(time * 1000)))
    return found


def _snappy(content: bytes) -> bytes:
    """Return the content in snappy's format, as one piece that is not compressed."""
    return _varint(len(content)) + b"\xfc" + struct.pack("<I", len(content) - 1) + content
