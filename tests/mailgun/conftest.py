"""Mailgun's API on this machine, which answers as each test tells it to."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.servers import serving

QUEUED = '{"id": "<m1@example.com>", "message": "Queued. Thank you."}'


@dataclass
class FakeMailgun:
    """Keeps its requests in order, with forms as another parser reads them; answers as told."""

    url: str = ""
    asked: list[web.Request] = field(default_factory=list)
    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    status: int = 200
    text: str = QUEUED
    headers: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        self.asked.append(request)
        for name, value in (await request.post()).items():
            if isinstance(value, web.FileField):
                self.files.append((name, value.filename, value.content_type, value.file.read()))
            else:
                self.fields.append((name, str(value)))
        return web.Response(status=self.status, text=self.text, headers=self.headers)

    def says(self, status: int, text: str, **headers: str) -> None:
        """Answer every request from now on like this."""
        self.status, self.text, self.headers = status, text, headers


@pytest.fixture
async def mailgun_api() -> AsyncIterator[FakeMailgun]:
    """A server that stands in for api.mailgun.net."""
    async with serving(FakeMailgun()) as fake:
        yield fake
