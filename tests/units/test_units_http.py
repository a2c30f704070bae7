"""One request to a provider: what surely has not left is told from what may have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from channels.errors import RefusedForNow
from channels.http import Limits, ask
from tests.servers import FakeApi, serving

HASTY = Limits(connect=0.1, total=0.6)


class Silent(AbstractResolver):
    """A DNS that answers nobody."""

    async def resolve(self, host: str, *_: object, **__: object) -> list[ResolveResult]:
        """Wait longer than anybody would."""
        await asyncio.sleep(60)
        raise OSError(host)

    async def close(self) -> None:
        """Nothing is held."""


@dataclass
class Slow(FakeApi):
    """A provider that answers nobody."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, and let it wait."""
        self.asked.append((request, await request.read()))
        self.reached.set()
        await asyncio.sleep(60)
        return web.Response()


async def post(session: aiohttp.ClientSession, url: str, limits: Limits = HASTY) -> None:
    """One request whose answer nobody needs."""
    await ask(session, "POST", url, provider="Acme", headers={}, body=b"x", limits=limits)


async def test_a_name_that_nobody_resolves() -> None:
    """While the DNS is silent nothing leaves: it is refused for now, not lost."""
    connector = aiohttp.TCPConnector(resolver=Silent())
    async with aiohttp.ClientSession(connector=connector) as session:
        with pytest.raises(RefusedForNow) as raised:
            await post(session, "https://api.acme.example/")
    assert "unreachable" == raised.value.code


async def test_no_room_among_the_connections() -> None:
    """A request that waits for a connection until its time is over has not left either."""

    connector = aiohttp.TCPConnector(limit=1)
    async with serving(Slow()) as slow, aiohttp.ClientSession(connector=connector) as session:
        first = asyncio.create_task(post(session, slow.url, Limits(connect=5, total=60)))
        await slow.reached.wait()
        with pytest.raises(RefusedForNow):
            await post(session, slow.url)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert 1 == len(slow.asked)
