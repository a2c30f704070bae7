"""Room for the files of mails: what waits for it, and what other programs write of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from uuid import UUID

from aiohttp import web

from channels.model import Channel
from tests.servers import FakeApi, serving
from tests.service import falling
from tests.service.test_service_attachments import ADA, MAIL, PDF, inline
from tests.service.wires import connect, row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


@dataclass
class Narrow(FakeApi):
    """A provider that takes its time; how many requests it had at most at the same time.

    The first ones wait for each other, until there are `together`.
    """

    under_way: int = 0
    most: int = 0
    together: int = 1
    are_there: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note how many there are, and answer after a moment."""
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.most >= self.together:
            self.are_there.set()
        async with asyncio.timeout(20):
            await self.are_there.wait()
        await asyncio.sleep(0.5)
        self.under_way -= 1
        self.asked.append((request, await request.read()))
        return web.Response(status=202, headers={"X-Message-Id": f"sg-{len(self.asked)}"})


async def test_files_have_room(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Mails whose files are more than a worker has room for go one after the other; those without
    files pass them, and what waits for too long is given back."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    kept = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    files = [inline(PDF), {"url": kept["attachments"][0]["url"]}]
    async with serving(Narrow(together=3)) as narrow:
        to_narrow = replace(api, url=narrow.url)
        await step(api.worker(gateway))
        for file in (*files, None, None):
            await send(ask, "email", ADA, **MAIL, attachments=[file] if file else [])
        worker = to_narrow.worker(gateway, most_bytes=len(PDF))
        await asyncio.gather(*map(worker.work, await worker.claim(100)))
        assert (4, 3) == (len(narrow.asked), narrow.most)

        worker = to_narrow.worker(gateway, most_bytes=len(PDF), longest_wait=0.05)
        for file in files:
            await send(ask, "email", ADA, **MAIL, attachments=[file])
        await asyncio.gather(*map(worker.work, await worker.claim(100)))
        assert (5, 1) == (len(narrow.asked), await gateway.count("gateway.queue"))
        assert 1 == await step(worker)
    assert (6, 0) == (len(narrow.asked), await gateway.count("gateway.queue"))


async def test_what_has_no_room_until_its_time_is_over(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """A mail that waits for room, and is given back, leaves no more once something else was sent
    instead."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    first = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    instead = {"channel": "sms", "after": 60, "to": falling.ADA}
    second = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)], fallback=[instead])
    async with serving(Narrow()) as narrow:
        to_narrow = replace(api, url=narrow.url)
        worker = to_narrow.worker(gateway, most_bytes=len(PDF), longest_wait=0.05)
        turns = await worker.claim(2)
        await falling.late(gateway)
        assert 1 == await falling.follow(gateway)
        one, other = sorted(turns, key=lambda turn: str(turn.claimed.message_id) != first["id"])
        leaving = asyncio.create_task(worker.work(one))
        await narrow.are_there.wait()  # it has the room
        await worker.work(other)
        await leaving
        assert (1, 2) == (len(narrow.asked), await gateway.count("gateway.queue"))
    await step(api.worker(gateway))

    assert ["sent", "canceled"] == [(await row_of(ask, row))["status"] for row in (first, second)]
    assert ["/2010"] == [request.path[:5] for request, _ in api.asked]


async def test_files_that_are_none(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail whose files another program made something else of has failed, and keeps no place."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    mails = [await send(ask, "email", ADA, **MAIL) for _ in range(3)]
    async with gateway.database.as_service() as db:
        for mail, value in zip(mails, ("5", "true", '[{"url": 5}]'), strict=True):
            change = "UPDATE messages SET attachments = $1 WHERE id = $2"
            await db.execute(change, value, UUID(mail["id"]))
    worker = api.worker(gateway)
    await asyncio.gather(*map(worker.work, await worker.claim(10)), return_exceptions=True)

    rows = [await row_of(ask, mail) for mail in mails]
    assert [("failed", "form")] * 3 == [(row["status"], row["error_code"]) for row in rows]
    assert 0 == await gateway.count("gateway.queue")


async def test_a_dead_workers_mail_without_room(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What was taken over from a dead worker and finds no room is the next one's at once."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    for _ in range(2):
        await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    async with serving(Narrow()) as narrow:
        worker = replace(api, url=narrow.url).worker(
            gateway, most_bytes=len(PDF), longest_wait=0.05
        )
        [first, _] = await worker.claim(2)
        async with gateway.database.as_service() as db:
            change = "UPDATE gateway.queue SET lease_until = now() WHERE message_id <> $1"
            await db.execute(change, first.claimed.message_id)
        [second] = await worker.claim(2)
        assert second.claimed.was_leased
        sending = asyncio.create_task(worker.work(first))
        while not narrow.under_way:  # noqa: ASYNC110 - a server's number
            await asyncio.sleep(0.005)
        await worker.work(second)
        [again] = await worker.claim(2)
        assert (second.claimed.message_id, 1) == (again.claimed.message_id, again.claimed.attempts)
        await sending
