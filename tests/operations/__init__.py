"""Tests of `asgi_ws_observe.operations`."""
