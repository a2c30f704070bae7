"""Server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html"""

from __future__ import annotations

from aiohttp import web

from gateway.store.positions import Position
from gateway.web.streaming import Stream

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # nginx would collect events before it passes them on
}


class EventStream(Stream):
    """A stream of events, on a connection of its own."""

    def __init__(self, request: web.Request) -> None:
        super().__init__(request, HEADERS)
        self.response.force_close()

    async def begin(self, retry: int, position: Position) -> None:
        """Say in how many milliseconds to connect again once it is cut, and where it stands.

        With an id before the first event nothing is missed by who is cut off before it.
        """
        await self.send(f"retry: {retry}\n".encode() + beat(position))

    async def end(self, why: str) -> None:
        """Say why nothing more comes."""
        await self.send(f": {why}\n\n".encode())


def beat(position: Position) -> bytes:
    """A comment, which no client hears of, and the place, which it keeps."""
    return f": live\nid: {position}\n\n".encode()
