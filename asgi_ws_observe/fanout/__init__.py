"""Publish on one node, deliver on another: one trace, and a bus that cannot fail silently.

`asgi_ws_observe.fanout.redis` and `asgi_ws_observe.fanout.nats` have the channels of these brokers;
`Fanout` serves any other.
"""

from __future__ import annotations

from .channel import FanoutChannel
from .core import Fanout, Publishing, extract
from .delivery import Delivery
from .envelope import Envelope, inject, inject_headers
from .subscription import Subscription

__all__ = [
    "Delivery",
    "Envelope",
    "Fanout",
    "FanoutChannel",
    "Publishing",
    "Subscription",
    "extract",
    "inject",
    "inject_headers",
]
