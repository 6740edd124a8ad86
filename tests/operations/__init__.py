"""Tests of `asgi_ws_observe.operations` and of what `docs/operations` says."""
