"""SendGrid's API on this machine, which answers as each test tells it to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class FakeApi:
    """What it was asked, in order, with the bodies; and what it answers."""

    url: str = ""
    asked: list[tuple[web.Request, bytes]] = field(default_factory=list)
    status: int = 202
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, and answer it."""
        self.asked.append((request, await request.read()))
        return web.Response(status=self.status, text=self.text, headers=self.headers)

    def says(self, status: int, text: str = "", **headers: str) -> None:
        """Let every request from now on get this answer."""
        self.status, self.text = status, text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """A server that stands in for the provider's."""
    fake = FakeApi()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The one session that everything goes out on."""
    async with aiohttp.ClientSession() as session:
        yield session
