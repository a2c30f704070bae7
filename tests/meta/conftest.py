"""A Graph API on this machine, which answers as each test tells it to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from tests.servers import serving


@dataclass
class FakeMeta:
    """Keeps its requests in order, and answers as told."""

    url: str = ""
    asked: list[tuple[web.Request, Any]] = field(default_factory=list)
    status: int = 200
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        self.asked.append((request, await request.json()))
        return web.Response(status=self.status, text=self.text, headers=self.headers)


@pytest.fixture
async def meta_api() -> AsyncIterator[FakeMeta]:
    """A server that stands in for graph.facebook.com."""
    async with serving(FakeMeta()) as fake:
        yield fake
