"""A chat to watch asgi_ws_observe on: ``python -m demo_app``, then ``python -m demo_app load``."""
