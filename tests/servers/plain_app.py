"""An application without a line of this library."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket

__all__ = ["app"]

app = FastAPI()


@app.get("/items/{item}")
async def item(item: int) -> int:
    """Answer with the path's value."""
    return item


@app.websocket("/rooms/{room}")
async def room(websocket: WebSocket, room: str) -> None:
    """Send every text back."""
    await websocket.accept()
    async for said in websocket.iter_text():
        await websocket.send_text(said)
