"""gateway/live/hub.py: one feed reads for all streams of an organization, and is begun anew; what
streams have missed is read in turns."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from gateway.live import hub
from gateway.live.hub import Live
from gateway.live.watcher import EndedError, Watcher
from gateway.store.database import ApiKey
from gateway.store.listener import Listener

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.store.values import Row
    from tests.service.conftest import Ask, Gateway, Tenant

SMS = {"channel": "sms", "to": "+447700900123"}


def render(_name: str, _at: datetime, row: Row) -> bytes:
    """What was said; one text cannot be rendered."""
    if row["body"] == "odd":
        raise ZeroDivisionError
    return str(row["body"]).encode()


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads here is somebody whom the database does not know."""
    monkeypatch.setattr(hub, "_CHECK", 600.0)


def caller_of(tenant: Tenant) -> ApiKey:
    """A key of an organization."""
    return ApiKey(id=tenant.organization_id, organization_id=tenant.organization_id, is_test=False)


async def grow(gateway: Gateway, message_id: UUID, size: int) -> None:
    """Give a message a text of so many bytes."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET body = repeat('x', $2) WHERE id = $1", message_id, size
        )


def whole(name: str, _at: datetime, row: Row) -> bytes:
    """What was said, of a conversation last."""
    said = row if name.startswith("message.") else row["last_message"]
    return str(said["body"]).encode()


async def test_a_mistake_ends_streams_and_not_events(
    gateway: Gateway, ask: Ask, database: str
) -> None:
    """Where a feed fails its streams end; the next one reads, also before and after those left."""
    live = Live(gateway.database, Listener(gateway.database, database), render, streams_of_one=2)
    running = asyncio.create_task(live.run())
    caller = caller_of(gateway.a)
    try:
        async with AsyncExitStack() as later:
            async with live.watch(caller) as first, live.watch(caller) as other:
                await ask("POST", "/v1/messages", {**SMS, "body": "odd"})
                for each in (first, other):
                    with pytest.raises(EndedError, match="the server made a mistake"):
                        await each.next(10)
                second = await later.enter_async_context(live.watch(caller))
                await ask("POST", "/v1/messages", {**SMS, "body": "one"})
                assert [b"one"] == [event.data for event in await second.next(10)]
            await ask("POST", "/v1/messages", {**SMS, "body": "two"})
            assert [b"two"] == [event.data for event in await second.next(10)]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_those_who_read_again_wait_for_one_of_each_organization(
    gateway: Gateway, ask: Ask, database: str
) -> None:
    """What a stream has missed is read before all that another organization's many have missed."""
    live = Live(gateway.database, Listener(gateway.database, database), render)
    order: list[UUID] = []
    try:
        async with AsyncExitStack() as streams:
            reading = []
            for tenant, many in ((gateway.a, 12), (gateway.b, 1)):
                caller = caller_of(tenant)
                start = (await streams.enter_async_context(live.watch(caller))).position
                await ask("POST", "/v1/messages", {**SMS, "body": "missed"}, key=tenant.key)
                opened = [
                    await streams.enter_async_context(live.watch(caller, start))
                    for _ in range(many)
                ]
                reading += [(caller.organization_id, each) for each in opened]

            async def read(organization_id: UUID, stream: Watcher) -> None:
                assert [b"missed"] == [event.data for event in await stream.next(10)]
                order.append(organization_id)

            await asyncio.gather(*(read(*each) for each in reading))
    finally:
        live.stop()

    assert 13 == len(order)
    assert order.index(gateway.b.organization_id) < 7


async def test_what_was_missed_comes_in_parts_of_a_mib(
    gateway: Gateway, ask: Ask, database: str
) -> None:
    """What was missed comes in parts of a MiB, or of one event that is larger, each event once."""
    live = Live(gateway.database, Listener(gateway.database, database), whole)
    caller = caller_of(gateway.a)
    async with live.watch(caller) as stream:
        start = stream.position
    for n in range(6):
        await ask("POST", "/v1/messages", {**SMS, "body": f"number {n}"})
    (talk,) = (await ask("GET", "/v1/conversations")).body["data"]
    await ask("PATCH", f"/v1/conversations/{talk['id']}", {"status": "closed"})
    async with live.watch(caller, start) as stream:
        small = await stream.next(10)
    sizes = [400_000, 400_000, 400_000, 1_500_000, 10, 600_000, 600_000]
    assert len(sizes) == len(small)
    for each, size in zip(small[:-1], sizes[:-1], strict=True):  # the last: of the conversation
        await grow(gateway, each.about, size)

    parts = []
    async with live.watch(caller, start) as stream:
        while part := await stream.next(0.5):
            parts.append(part)

    assert [each.about for each in small] == [each.about for part in parts for each in part]
    assert [[400_000, 400_000], [400_000], [1_500_000], [10, 600_000], [600_000]] == [
        [len(each.data) for each in part] for part in parts
    ]


async def test_few_hold_what_they_have_missed(gateway: Gateway, ask: Ask, database: str) -> None:
    """Sixteen streams of an organization hold a part of what they have missed: another one has its
    own when one of these asks for more, or leaves. Other organizations do not wait for them."""
    live = Live(gateway.database, Listener(gateway.database, database), render)
    starts = {}
    for tenant in (gateway.a, gateway.b):
        async with live.watch(caller_of(tenant)) as stream:
            starts[tenant.key] = stream.position
        await ask("POST", "/v1/messages", {**SMS, "body": "missed"}, key=tenant.key)

    async def open_one(streams: AsyncExitStack, tenant: Tenant) -> Watcher:
        stream = live.watch(caller_of(tenant), starts[tenant.key])
        return await streams.enter_async_context(stream)

    async with AsyncExitStack() as streams, AsyncExitStack() as leaving:
        of_a = [await open_one(streams, gateway.a) for _ in range(17)]
        of_a.insert(0, await open_one(leaving, gateway.a))
        assert [1] * 16 == [len(await each.next(10)) for each in of_a[:16]]
        assert [] == await of_a[16].next(0.1)
        assert 1 == len(await (await open_one(streams, gateway.b)).next(10))
        assert [] == await of_a[1].next(0)  # it is at the end, and holds nothing any more
        assert 1 == len(await of_a[16].next(10))
        assert [] == await of_a[17].next(0.1)
        await leaving.aclose()
        assert 1 == len(await of_a[17].next(10))
