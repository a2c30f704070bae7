"""gateway/live/hub.py: one feed reads for all streams of an organization, and is begun anew."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.live.hub import Live
from gateway.live.subscription import EndedError
from gateway.store.database import ApiKey

if TYPE_CHECKING:
    from gateway.store.live import Happened
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123"}


def render(_: str, happened: Happened) -> bytes:
    """What was said; one text cannot be rendered."""
    if happened.row["body"] == "odd":
        raise ZeroDivisionError
    return str(happened.row["body"]).encode()


async def test_a_mistake_ends_streams_and_not_events(
    gateway: Gateway, ask: Ask, database: str
) -> None:
    """Where a feed fails its streams end; the next one reads, also before and after those left."""
    live = Live(gateway.database, database, render, streams_of_one=2)
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
