"""A chat over Socket.IO to watch `asgi_ws_observe.socketio` on: ``python -m demo_app socketio``."""
