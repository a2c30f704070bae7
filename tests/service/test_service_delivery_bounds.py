"""What one organization's receivers, or its locked rows, cost is its own: others are told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web

from gateway.store.database import Database, Transaction
from gateway.subscriptions.planning import plan
from tests.servers import serving
from tests.service.receiving import QUICK, Receiver, send, settled, subscribe, telling

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
    answered waits, and is then noted, so that nothing is told twice; another organization is told,
    and that is noted, as ever."""
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
        async with telling(gateway, replace(QUICK, seconds=20)):
            await receiver.has(32)
            await send(gateway, "theirs", key=gateway.b.key)
            await receiver.has(1, "/other")
            async with asyncio.timeout(10):
                theirs = f"gateway.deliveries WHERE organization_id <> '{a}'"
                while await gateway.count(theirs):  # noqa: ASYNC110 - a table
                    await asyncio.sleep(0.02)
            await db.execute("ROLLBACK AND CHAIN")
            await settled(gateway, made[1], pending=0)
    taken = [each.id for each in receiver.told if each.path == "/taking"]
    assert (32, 32) == (len(taken), len(set(taken)))


class Counted(Database):
    """A database, and how many transactions the gateway itself had."""

    count = 0

    def as_service(self, **options: Any) -> Transaction:
        """One more."""
        self.count += 1
        return super().as_service(**options)


async def test_slow_receivers_have_not_all_places(gateway: Gateway, receiver: Receiver) -> None:
    """An organization whose receiver takes its time leaves a quarter of all places to others."""
    receiver.hanging.add("/slow")
    await subscribe(gateway, "/slow", events=["message.accepted"])
    await subscribe(gateway, "/other", key=gateway.b.key)
    await send(gateway, "first")
    async with telling(gateway, replace(QUICK, seconds=30, slow=0.02), places=8):
        await receiver.has(1)
        await asyncio.sleep(0.1)
        await gateway.ask("POST", "/v1/messages/batch", {"messages": [SMS] * 12})
        await receiver.has(6)
        await send(gateway, "theirs", key=gateway.b.key)
        await receiver.has(1, "/other")
        assert 6 == len([each for each in receiver.told if each.path == "/slow"])


async def test_slow_receivers_that_had_all_places(gateway: Gateway, receiver: Receiver) -> None:
    """Where they had them before anybody knew that they are slow, each that ends is for others."""
    receiver.hanging.add("/slow")
    await subscribe(gateway, "/slow", events=["message.accepted"])
    await subscribe(gateway, "/other", key=gateway.b.key)
    await gateway.ask("POST", "/v1/messages/batch", {"messages": [SMS] * 8})
    async with telling(gateway, replace(QUICK, seconds=30, slow=0.02), places=8):
        await receiver.has(8)
        await send(gateway, "theirs", key=gateway.b.key)
        await asyncio.sleep(0.1)
        receiver.go_on.release()
        await receiver.has(1, "/other")


async def test_a_slow_receiver_leaves_places_to_its_neighbour(
    gateway: Gateway, receiver: Receiver
) -> None:
    """Of an organization's places those that become free go to whichever of its receivers has the
    fewest: two that hang leave the third all that they do not have yet."""
    receiver.hanging |= {"/slow1", "/slow2"}
    made = [
        await subscribe(gateway, path, events=["message.accepted"])
        for path in ("/slow1", "/slow2", "/quick")
    ]
    await gateway.ask("POST", "/v1/messages/batch", {"messages": [SMS] * 60})
    a = gateway.a.organization_id
    await plan(gateway.database, [(a, UUID(each.body["id"])) for each in made])
    async with telling(gateway, replace(QUICK, seconds=30)):
        await receiver.has(60, "/quick")


async def test_what_cannot_be_planned_is_not_looked_for_again_at_once(
    gateway: Gateway, receiver: Receiver
) -> None:
    """While another worker holds a subscription's place the events that it is behind by are looked
    for once in a while, not again and again."""
    await subscribe(gateway)
    await send(gateway, "Hello")
    async with gateway.database.as_service() as db:
        await db.execute("SELECT FROM gateway.subscriptions FOR UPDATE")
        database = await Counted.connect(str(gateway.settings.database_url))
        assert isinstance(database, Counted)
        async with telling(replace(gateway, database=database), replace(QUICK, rest=0.1)):
            began = time.monotonic()
            await asyncio.sleep(0.4)
            async with asyncio.timeout(20):
                while database.count < 4:  # noqa: ASYNC110 - a busy machine takes longer
                    await asyncio.sleep(0.02)
            took = time.monotonic() - began
        await database.close()
        assert database.count <= 14 * took / 0.4
    async with telling(gateway):
        await receiver.has(1)


async def test_an_attempt_that_nobody_made(gateway: Gateway, receiver: Receiver) -> None:
    """What was claimed, but could not be read, has had no attempt, and is due again at once."""
    made = await subscribe(gateway, events=["message.accepted"])
    await send(gateway, "Hello")
    holder = (gateway.a.organization_id, UUID(made.body["id"]))
    await plan(gateway.database, [holder])
    owner = await asyncpg.connect(str(gateway.settings.database_url))
    await owner.execute("ALTER TABLE messages RENAME COLUMN body TO text")
    async with telling(gateway):
        await asyncio.sleep(0.2)
    await owner.execute("ALTER TABLE messages RENAME COLUMN text TO body")
    await owner.close()
    assert [] == receiver.told
    assert 1 == await gateway.count("gateway.deliveries WHERE attempts = 0 AND due_at <= now()")


async def test_large_messages_one_after_the_other(gateway: Gateway, receiver: Receiver) -> None:
    """Of a subscription's large messages one is in memory at a time; small ones do not wait."""
    receiver.hanging.add("/")
    made = await subscribe(gateway, events=["message.accepted"])
    await send(gateway, "small", "large", "large", "large")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET body = repeat('x', 300000) WHERE body = 'large'")
    async with telling(gateway, replace(QUICK, seconds=20)):
        await receiver.has(2)
        await asyncio.sleep(0.2)
        first = [len(each.body) for each in receiver.told]
        receiver.hanging.clear()
        for _ in first:
            receiver.go_on.release()
        await settled(gateway, made, pending=0)
    assert [5, 300_000] == sorted(first)
    assert 4 == len({each.id for each in receiver.told})


async def test_large_messages_of_an_organization(gateway: Gateway, receiver: Receiver) -> None:
    """A receiver that hangs with a large message holds up no large message for another one of its
    organization; of three that hang the third has to wait."""
    receiver.hanging |= {"/slow1", "/slow2", "/slow3"}
    for path in ("/slow1", "/quick"):
        await subscribe(gateway, path, events=["message.accepted"])
    await send(gateway, *["large"] * 4)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET body = repeat('x', 300000)")
    async with telling(gateway, replace(QUICK, seconds=20)):
        await receiver.has(4, "/quick")
        await receiver.has(1, "/slow1")
        for path in ("/slow2", "/slow3"):
            await subscribe(gateway, path, events=["message.canceled"])
        (first, *_) = (await gateway.ask("GET", "/v1/messages")).body["data"]
        await gateway.ask("POST", f"/v1/messages/{first['id']}/cancel", {})
        await receiver.has(6)
        await asyncio.sleep(0.2)
        assert 6 == len(receiver.told)
