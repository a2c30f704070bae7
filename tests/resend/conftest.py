"""Resend's API on this machine: one mail for each Idempotency-Key, as its documentation says."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from tests.servers import serving
from tests.service.conftest import api, ask, database, gateway, settings, tenants

__all__ = (
    "FakeResend",
    "api",
    "ask",
    "database",
    "gateway",
    "resend_api",
    "settings",
    "tenants",
)


@dataclass
class FakeResend:
    """Keeps its requests in order, with bodies, and the mails that it took by their keys.

    With `is_silent` it takes a mail and breaks the connection. `answers` are its files by path;
    None means that a file is gone (410).
    """

    url: str = ""
    asked: list[tuple[web.Request, bytes]] = field(default_factory=list)
    taken: dict[str, bytes] = field(default_factory=dict)
    is_silent: bool = False
    answers: dict[str, bytes | None] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Keep the request, and answer it."""
        body = await request.read()
        self.asked.append((request, body))
        if request.path in self.answers:
            found = self.answers[request.path]
            return web.Response(status=200 if found is not None else 410, body=found)
        key = request.headers["Idempotency-Key"]
        if self.taken.setdefault(key, body) != body:
            error = {"statusCode": 409, "name": "invalid_idempotent_request", "message": "No."}
            return web.Response(status=409, text=json.dumps(error))
        if self.is_silent and request.transport is not None:
            request.transport.abort()
        return web.Response(text=json.dumps({"id": f"mail-{list(self.taken).index(key)}"}))


@pytest.fixture
async def resend_api() -> AsyncIterator[FakeResend]:
    """A server that stands in for api.resend.com."""
    async with serving(FakeResend()) as fake:
        yield fake
