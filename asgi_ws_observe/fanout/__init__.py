"""One message to many WebSockets."""

from __future__ import annotations

from .broadcast import Broadcast
from .hub import Hub
from .members import Member

__all__ = ["Broadcast", "Hub", "Member"]
