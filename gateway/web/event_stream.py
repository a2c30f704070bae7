"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from aiohttp import web

from gateway.store.positions import Position
from gateway.web.streaming import Stream

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # otherwise nginx collects events before it passes them on
}


class EventStream(Stream):
    """A stream of events, on a connection of its own."""

    def __init__(self, request: web.Request) -> None:
        super().__init__(request, HEADERS)
        self.response.force_close()

    async def begin(self, retry: int, position: Position) -> None:
        """Tell the client after how many milliseconds to reconnect, and its position.

        The id before the first event makes sure that a client that is cut off then misses nothing.
        """
        await self.send(f"retry: {retry}\n".encode() + beat(position))

    async def end(self, why: str) -> None:
        """Say why the stream ends."""
        await self.send(f": {why}\n\n".encode())


def beat(position: Position) -> bytes:
    """A comment, which clients ignore, and the position, which they remember."""
    return f": live\nid: {position}\n\n".encode()
