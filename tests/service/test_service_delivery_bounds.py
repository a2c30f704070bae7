"""What one organization's receivers, or its locked rows, cost is its own: others are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from aiohttp import web

from gateway.subscriptions.planning import plan
from tests.servers import serving
from tests.service.receiving import QUICK, Receiver, send, subscribe, telling

if TYPE_CHECKING:
    from gateway.config import Settings
    from tests.service.conftest import Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "x"}


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A service that subscribes."""
    async with serving(Receiver()) as receiver:
        yield receiver


@pytest.fixture
def settings(settings: Settings, receiver: Receiver) -> Settings:
    """Settings of an operator who lets subscriptions lead to the receiver."""
    return settings.model_copy(update={"gateway_subscription_origins": (receiver.url,)})


async def test_a_locked_subscription_holds_up_no_other(
    gateway: Gateway, receiver: Receiver
) -> None:
    """While somebody keeps the rows of an organization's subscriptions locked, what its receivers
    answered waits; another organization is told, and that is noted, as ever."""
    receiver.answer = lambda told: web.Response(status=500 if told.path == "/failing" else 204)
    made = [
        await subscribe(gateway, path, events=["message.accepted"])
        for path in ("/failing", "/taking")
    ]
    await subscribe(gateway, "/other", key=gateway.b.key)
    await gateway.ask("POST", "/v1/messages/batch", {"messages": [SMS] * 32})
    a = gateway.a.organization_id
    await plan(gateway.database, [(a, UUID(each.body["id"])) for each in made])
    async with gateway.database.as_service() as db:
        await db.execute(
            "SELECT FROM gateway.subscriptions WHERE organization_id = $1 FOR UPDATE", a
        )
        async with telling(gateway, replace(QUICK, seconds=1)):
            await receiver.has(32)
            await send(gateway, "theirs", key=gateway.b.key)
            await receiver.has(1, "/other")
            async with asyncio.timeout(4):
                theirs = f"gateway.deliveries WHERE organization_id <> '{a}'"
                while await gateway.count(theirs):  # noqa: ASYNC110 - a table
                    await asyncio.sleep(0.02)
