"""Packets that count their bytes: the one place where each is encoded or decoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from socketio import packet

from .emits import emitting

if TYPE_CHECKING:
    from .observer import Observer

__all__ = ["counted"]

_EVENTS: Final = (packet.EVENT, packet.BINARY_EVENT)
_PART: Final = "the bytes of a packet"


def counted(observer: Observer, kind: type[Any]) -> type[Any]:
    """Return a class of packets that counts what it encodes and decodes.

    Args:
        observer: Whose packets.
        kind: The server's own class of packets, to which it is equal.
    """

    class Equal(type(kind)):  # type: ignore[misc]
        def __eq__(cls, other: object) -> bool:
            return getattr(other, "counted_kind", other) is kind

        def __hash__(cls) -> int:
            return hash(kind)

    class CountedPacket(kind, metaclass=Equal):  # type: ignore[misc]
        counted_kind = kind

        def encode(self) -> Any:
            encoded = kind.encode(self)
            observer.safely(_PART, _encoded, observer, self, encoded)
            return encoded

        def decode(self, encoded_packet: Any) -> Any:
            found = kind.decode(self, encoded_packet)
            observer.safely(_PART, _decoded, observer, self, encoded_packet)
            return found

        def add_attachment(self, attachment: Any) -> Any:
            found = kind.add_attachment(self, attachment)
            observer.safely(_PART, _decoded, observer, self, attachment)
            return found

    CountedPacket.__name__ = kind.__name__
    CountedPacket.__qualname__ = kind.__qualname__
    return CountedPacket


def _encoded(observer: Observer, pkt: Any, encoded: Any) -> None:
    size = sum(map(_size, encoded)) if isinstance(encoded, list) else _size(encoded)
    sending = emitting.get() if pkt.packet_type in _EVENTS and pkt.id is None else None
    if sending is not None:
        # Encoded once for all whom the manager finds.
        sending.size += size
    else:
        observer.namespace(pkt.namespace or "/").bytes_out += size


def _decoded(observer: Observer, pkt: Any, encoded: Any) -> None:
    observer.namespace(pkt.namespace or "/").bytes_in += _size(encoded)


def _size(encoded: Any) -> int:
    # Text that is no ASCII is longer as UTF-8.
    if isinstance(encoded, str) and not encoded.isascii():
        return len(encoded.encode("utf-8", "surrogatepass"))
    return len(encoded)
