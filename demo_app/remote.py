"""A running demo, by HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Remote", "Series", "series"]

#: A sample's name and its labels.
Series = tuple[str, frozenset[tuple[str, str]]]


def series(name: str, **labels: str) -> Series:
    """Return the key of a sample."""
    return name, frozenset(labels.items())


class Remote:
    """A running demo.

    Args:
        url: Its address, ``http://...``, without a path.
        socketio: Whether it is to be the chat over Socket.IO.
    """

    def __init__(self, url: str, *, socketio: bool = False) -> None:
        self._url = url
        self._socketio = socketio

    def about(self) -> dict[str, Any]:
        """Return what it says about itself.

        Raises:
            ValueError: It is not there, or is the other chat; says so in one line.
        """
        word = " socketio" if self._socketio else ""
        try:
            found = json.loads(self._get("/about"))
            system = found["bus"]["system"]
        except urllib.error.URLError as error:
            if not isinstance(error, urllib.error.HTTPError):
                raise ValueError(
                    f"nobody answers at {self._url} ({error.reason}); "
                    f"start the demo first: python -m demo_app{word}"
                ) from None
            system = None
        except (OSError, HTTPException, ValueError, LookupError, TypeError):
            system = None
        if system is None:
            raise ValueError(f"what answers at {self._url} is not this demo; say where with --url")
        if ("socketio" in found) is not self._socketio:
            right = "leave out --socketio" if self._socketio else "add --socketio"
            raise ValueError(f"what answers at {self._url} is the other chat; {right}")
        return dict(found)

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Yield the samples of its metrics: name, labels, value."""
        for family in text_string_to_metric_families(self._get("/metrics")):
            for sample in family.samples:
                yield sample.name, sample.labels, sample.value

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(self._url + path, timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())
