"""Tests of `asgi_ws_observe.fanout`."""
