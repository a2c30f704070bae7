"""One request to a provider: what surely has not left is told from what may have."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from channels.errors import RefusedForNow
from channels.http import Limits, ask, parse_date
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


@pytest.mark.parametrize(
    ("zone", "hour"),
    [
        ("-0400", 20), ("-04:00", 20), ("-4:00", 20), ("-04:00 (EDT)", 20), ("+02:00", 14),
        ("+2", 14), ("GMT+0200", 14), ("utc+2", 14), ("UTC", 16), ("Z", 16), ("", 16),
    ],
)  # fmt: skip
def test_zones(zone: str, hour: int) -> None:
    """A zone is read as mail programs write it, also where the RFC has no colon."""
    expected = datetime(2014, 8, 1, hour, 45, 32, tzinfo=UTC)
    assert expected == parse_date(f"Fri, 1 Aug 2014 16:45:32 {zone}".strip())
