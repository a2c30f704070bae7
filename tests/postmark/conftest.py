"""Postmark's API on this machine, which answers as each test tells it to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class FakePostmark:
    """What it was asked, in order, with the bodies; and what it answers."""

    url: str = ""
    asked: list[tuple[web.Request, bytes]] = field(default_factory=list)
    status: int = 200
    text: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, and answer it."""
        self.asked.append((request, await request.read()))
        return web.Response(status=self.status, text=self.text)


@pytest.fixture
async def postmark_api() -> AsyncIterator[FakePostmark]:
    """A server that stands in for api.postmarkapp.com."""
    fake = FakePostmark()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """The one session that everything goes out on."""
    async with aiohttp.ClientSession() as session:
        yield session
