"""Publish on one node, deliver on another: one trace, and a bus that cannot fail silently.

`asgi_ws_observe.fanout.redis` and `asgi_ws_observe.fanout.nats` have the channels of these brokers;
`Fanout` serves any other. `Hub` sends what arrives to the WebSockets of this node.
"""

from __future__ import annotations

from .broadcast import Broadcast
from .channel import FanoutChannel
from .core import Fanout, Publishing, extract
from .delivery import Delivery
from .envelope import Envelope, inject, inject_headers
from .hub import Hub
from .members import Member
from .subscription import Subscription

__all__ = [
    "Broadcast",
    "Delivery",
    "Envelope",
    "Fanout",
    "FanoutChannel",
    "Hub",
    "Member",
    "Publishing",
    "Subscription",
    "extract",
    "inject",
    "inject_headers",
]
