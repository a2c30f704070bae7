"""gateway/live/hub.py: one feed reads for all streams of an organization, and is begun anew; what
streams have missed is read in turns."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from gateway.live.hub import Live
from gateway.live.subscription import EndedError, Subscription
from gateway.store.database import ApiKey
from gateway.store.listener import Listener

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.live.events import Row
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123"}


def render(_name: str, _at: datetime, row: Row) -> bytes:
    """What was said; one text cannot be rendered."""
    if row["body"] == "odd":
        raise ZeroDivisionError
    return str(row["body"]).encode()


async def test_a_mistake_ends_streams_and_not_events(
    gateway: Gateway, ask: Ask, database: str
) -> None:
    """Where a feed fails its streams end; the next one reads, also before and after those left."""
    live = Live(gateway.database, Listener(gateway.database, database), render, streams_of_one=2)
    running = asyncio.create_task(live.run())
    organization_id = gateway.a.organization_id
    caller = ApiKey(id=organization_id, organization_id=organization_id, is_test=False)
    try:
        async with AsyncExitStack() as later:
            async with live.subscribe(caller) as first, live.subscribe(caller) as other:
                await ask("POST", "/v1/messages", {**SMS, "body": "odd"})
                for each in (first, other):
                    with pytest.raises(EndedError, match="the server made a mistake"):
                        await each.next(10)
                second = await later.enter_async_context(live.subscribe(caller))
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
                caller = ApiKey(
                    id=tenant.organization_id, organization_id=tenant.organization_id, is_test=False
                )
                start = (await streams.enter_async_context(live.subscribe(caller))).position
                await ask("POST", "/v1/messages", {**SMS, "body": "missed"}, key=tenant.key)
                opened = [
                    await streams.enter_async_context(live.subscribe(caller, start))
                    for _ in range(many)
                ]
                reading += [(caller.organization_id, each) for each in opened]

            async def read(organization_id: UUID, stream: Subscription) -> None:
                assert [b"missed"] == [event.data for event in await stream.next(10)]
                order.append(organization_id)

            await asyncio.gather(*(read(*each) for each in reading))
    finally:
        live.stop()

    assert 13 == len(order)
    assert order.index(gateway.b.organization_id) < 7
