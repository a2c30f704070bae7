"""gateway/web/bodies.py: who has room for a large body, and what the others hear."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.web.bodies import LARGE
from gateway.web.connections import Patience
from tests.service.test_service_connections import FORM, QUICK, listen, serving

if TYPE_CHECKING:
    from gateway.config import Settings


async def test_more_in_bodies_than_there_is_room_for(settings: Settings) -> None:
    """Where large bodies are more than a process may keep, the one that has been coming for longest
    is refused; small ones are taken, and there is room again when one is answered."""
    part = b"x" * (2 * LARGE)
    large = FORM + b"Content-Length: %d\r\n\r\nemail=" % (6 + 2 * len(part))
    small = FORM + b"Content-Length: 11\r\n\r\nemail=a@b.c"
    async with serving(settings, Patience(), bodies=5 * LARGE) as line:
        for _ in range(2):
            async with line.open() as (slow, dripping), line.open() as (reader, writer):
                dripping.write(large + part)
                await dripping.drain()
                await asyncio.sleep(0.2)  # it has come
                writer.write(large + part)
                await writer.drain()
                async with line.open() as (little, telling):
                    telling.write(small)
                    assert 200 == (await listen(little)).status
                writer.write(part)
                refused, taken = await listen(slow), await listen(reader)

            assert (503, "1", "close") == (
                refused.status,
                refused.headers["Retry-After"],
                refused.headers["Connection"],
            )
            assert 422 == taken.status  # it is no address


async def test_a_body_that_is_refused_while_it_comes(settings: Settings) -> None:
    """Its sender goes on for a moment, and finds the answer all the same, not a reset."""
    part = b"x" * LARGE
    large = FORM + b"Content-Length: %d\r\n\r\nemail=" % (6 + 9 * len(part))
    async with (
        serving(settings, Patience(), bodies=2 * LARGE) as line,
        line.open() as (reader, writer),
    ):
        writer.write(large)
        for _ in range(9):
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.02)
        assert 503 == (await listen(reader)).status


async def test_who_does_not_read_the_answer() -> None:
    """Their bodies leave room for others' as soon as they are answered, and they are cut."""

    async def answer(request: web.Request) -> web.Response:
        size = len(await request.read())
        return web.Response(body=b"x" * (12 * 2**20 if size > LARGE else size))

    app = web.Application()
    app.router.add_post("/", answer)
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    large = post % (3 * LARGE) + b"x" * (3 * LARGE)
    patience = Patience(answer=QUICK.answer, look=QUICK.look)
    async with (
        serving(app, patience, bodies=4 * LARGE) as line,
        line.open() as (first, one),
        line.open() as (second, two),
        asyncio.timeout(10),
    ):
        for reader, writer in ((first, one), (second, two)):
            writer.write(large)
            assert b"HTTP/1.1 200 OK\r\n" == await reader.readline()
        await asyncio.sleep(2 * QUICK.answer)
        for reader in (first, second):
            assert len(await reader.read()) < 12 * 2**20
