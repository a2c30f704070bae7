"""Providers' servers on this machine, which answer as each test tells them to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from aiohttp import web
from aiohttp.test_utils import TestServer


class Fake(Protocol):
    """A fake provider: `serving` sets its `url`, and passes requests to `handle`."""

    url: str

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, whatever its path."""
        ...


F = TypeVar("F", bound=Fake)


@asynccontextmanager
async def serving(fake: F) -> AsyncIterator[F]:
    """Serve a fake provider on a real port while the block runs."""
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@dataclass
class FakeApi:
    """Keeps its requests in order, with their bodies, and answers as told."""

    url: str = ""
    asked: list[tuple[web.Request, bytes]] = field(default_factory=list)
    status: int = 200
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        self.asked.append((request, await request.read()))
        return web.Response(status=self.status, text=self.text, headers=self.headers)

    def says(self, status: int, text: str = "", **headers: str) -> None:
        """Answer every request from now on like this."""
        self.status, self.text = status, text
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
