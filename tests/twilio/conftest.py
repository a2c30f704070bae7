"""Twilio's API on this machine, which answers as each test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.servers import serving

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeTwilio:
    """Keeps its requests in order, and answers as told."""

    url: str = ""
    asked: list[tuple[web.Request, dict[str, list[str]]]] = field(default_factory=list)
    answer: Answer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        form = await request.post()
        values = {name: [str(value) for value in form.getall(name)] for name in form}
        self.asked.append((request, values))
        assert self.answer is not None
        return await self.answer(request)

    def says(self, status: int, text: str = "", **headers: str) -> None:
        """Answer every request from now on like this."""

        async def answer(_: web.Request) -> web.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(status=status, text=text, headers=named)

        self.answer = answer


@pytest.fixture
async def twilio_api() -> AsyncIterator[FakeTwilio]:
    """A server that stands in for api.twilio.com."""
    async with serving(FakeTwilio()) as fake:
        yield fake


@dataclass
class RawServer:
    """A server that breaks its connections; see `raw_server`."""

    url: str
    connections: int = 0


@pytest.fixture
async def raw_server() -> AsyncIterator[Callable[..., Awaitable[RawServer]]]:
    """Starts a server that reads `until` these bytes, writes `answer`, and ends the connection."""
    servers: list[asyncio.Server] = []

    async def start(*, until: bytes, answer: bytes = b"", reset: bool = True) -> RawServer:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server.connections += 1
            if until:
                await reader.readuntil(until)
            writer.write(answer)
            if reset:
                writer.transport.abort()
            else:
                writer.close()

        listening = await asyncio.start_server(serve, "127.0.0.1", 0)
        servers.append(listening)
        host, port = listening.sockets[0].getsockname()
        server = RawServer(url=f"http://{host}:{port}")
        return server

    yield start
    for listening in servers:
        listening.close()
        await listening.wait_closed()
