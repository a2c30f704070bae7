"""What the CRM holds in a long transaction holds up nobody else, and is not lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg
import pytest
from aiohttp import web

from channels.model import Channel, Sent
from gateway.dispatch.outcomes import Outcomes
from gateway.dispatch.pace import Pace
from gateway.observability.metrics import Metrics
from gateway.receive.reporting import Reporting
from gateway.receive.unmatched import UnmatchedReports
from gateway.store import queue
from gateway.store.errors import HeldError
from tests.service.test_service_dispatch import Provider, provider, step
from tests.service.test_service_reporting import received, report
from tests.service.wires import connect, from_sendgrid

__all__ = ["provider"]  # a fixture

if TYPE_CHECKING:
    from gateway.receive.reporting import Received
    from tests.service.conftest import Answer, Gateway

THEIRS, OTHER = "+447700900123", "+447700900124"
CHANGE_LEAD = "UPDATE leads SET notes = 'The CRM writes.' WHERE id = $1"
CHANGE_MESSAGE = "UPDATE messages SET metadata = '{\"crm\": 1}' WHERE id = $1"
# So long ago that nobody will look at it any more in a second.
ALMOST_TOO_OLD = """
UPDATE gateway.unmatched_reports SET received_at = now() - interval '9 minutes 59 seconds'
"""
# Seconds: below the ten after which PostgreSQL would have ended a wait.
QUICK = 9.5


@asynccontextmanager
async def held(gateway: Gateway, statement: str, row: str) -> AsyncIterator[None]:
    """A transaction of the CRM that has changed a row, and stays open."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        async with connection.transaction():
            await connection.execute(statement, UUID(row))
            yield
    finally:
        await connection.close()


async def send(gateway: Gateway, to: str = THEIRS, *, key: str | None = None) -> Answer:
    """A message of tenant A, or of whose key it is."""
    body = {"channel": "sms", "to": to, "body": "Hello"}
    return await gateway.ask("POST", "/v1/messages", body, key=key)


async def row_of(gateway: Gateway, message: Answer, *, key: str | None = None) -> Any:
    """A message as it is now."""
    return (await gateway.ask("GET", f"/v1/messages/{message.body['id']}", key=key)).body


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Return when it is so."""
    async with asyncio.timeout(20):
        while True:
            if await is_so():
                return
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("statement", [CHANGE_LEAD, "SELECT FROM leads WHERE id = $1 FOR UPDATE"])
async def test_messages_beside_a_lead_that_is_held(gateway: Gateway, statement: str) -> None:
    """Another tenant's messages are stored while the CRM of one holds a lead that it writes to."""
    lead = (await gateway.ask("POST", "/v1/leads", {"phone": THEIRS})).body["id"]
    async with held(gateway, statement, lead), asyncio.TaskGroup() as together:
        for _ in range(4):
            together.create_task(send(gateway))
        await asyncio.sleep(0.2)
        # Whoever waited for the CRM would be refused: it holds the lead until they are answered.
        others = [together.create_task(send(gateway, key=gateway.b.key)) for _ in range(4)]
        answers = await asyncio.gather(*others)
        assert [202] * 4 == [answer.status for answer in answers]


async def test_a_message_to_a_lead_that_is_held(gateway: Gateway) -> None:
    """It is stored and the lead linked; when it was written to is noted when the CRM is done."""
    lead = (await gateway.ask("POST", "/v1/leads", {"phone": THEIRS})).body["id"]

    async def contacted() -> Any:
        return (await gateway.ask("GET", f"/v1/leads/{lead}")).body["last_contacted_at"]

    async with held(gateway, CHANGE_LEAD, lead):
        sent = await send(gateway)
        assert (202, lead) == (sent.status, sent.body["lead_id"])
        assert None is await contacted()

    async def is_noted() -> bool:
        return await contacted() is not None

    await until(is_noted)
    assert sent.body["created_at"][:19] <= (await contacted())[:19]


async def test_a_message_to_a_lead_that_nobody_may_refer_to(gateway: Gateway) -> None:
    """What cannot be stored while the CRM holds a lead is refused for now, by its reason."""
    lead = (await gateway.ask("POST", "/v1/leads", {"phone": THEIRS})).body["id"]
    async with held(gateway, "SELECT FROM leads WHERE id = $1 FOR UPDATE", lead):
        refused = await send(gateway)
    assert (503, "1") == (refused.status, refused.headers["Retry-After"])
    assert "Another program" in refused.body["detail"]
    assert 202 == (await send(gateway)).status


@pytest.mark.parametrize(
    "statement", [CHANGE_MESSAGE, "SELECT FROM messages WHERE id = $1 FOR UPDATE"]
)
async def test_sending_beside_a_message_that_is_held(
    gateway: Gateway, provider: Provider, statement: str
) -> None:
    """A worker sends what it can while the CRM holds a message, and that one when it is free."""
    ours = await send(gateway)
    other = await send(gateway, key=gateway.b.key)
    worker = provider.worker(gateway)
    async with held(gateway, statement, ours.body["id"]):
        assert 1 == await step(worker)
        assert "sent" == (await row_of(gateway, other, key=gateway.b.key))["status"]
        assert "pending" == (await row_of(gateway, ours))["status"]

    async def is_sent() -> bool:
        await step(worker)
        return bool((await row_of(gateway, ours))["status"] == "sent")

    await until(is_sent)
    assert 2 == len(provider.posts)
    attempts = await gateway.ask("GET", f"/v1/messages/{ours.body['id']}/events")
    assert ["sent", "attempt", "accepted"] == [event["type"] for event in attempts.body["data"]]


async def test_outcomes_beside_a_message_that_is_held(gateway: Gateway, provider: Provider) -> None:
    """What a provider took is recorded while the CRM holds another message that was taken."""
    first, second = await send(gateway), await send(gateway, OTHER)
    worker = provider.worker(gateway)
    claimed = {str(turn.claimed.message_id): turn.claimed for turn in await worker.claim(100)}
    outcomes = Outcomes(gateway.database, Metrics(), worker.lease_id, Pace())

    async with asyncio.TaskGroup() as together, held(gateway, CHANGE_MESSAGE, first.body["id"]):
        for n, message in enumerate((first, second)):
            entry = claimed[message.body["id"]]
            together.create_task(outcomes.sent(entry, Sent(external_id=f"SM{n}"), 0.0))

        async def is_sent() -> bool:
            return bool((await row_of(gateway, second))["status"] == "sent")

        async with asyncio.timeout(QUICK):
            await until(is_sent)
        assert "sending" == (await row_of(gateway, first))["status"]
    row = await row_of(gateway, first)
    assert ("sent", "SM0") == (row["status"], row["external_id"])
    assert 0 == await gateway.count("gateway.queue")


async def test_late_outcomes_beside_messages_that_are_held(
    gateway: Gateway, provider: Provider
) -> None:
    """Answers that become late while the CRM holds their messages take few connections: what
    another organization's messages have come to is recorded at once."""
    batch = [{"channel": "sms", "to": f"+4477009{n:05}", "body": "Hello"} for n in range(100)]
    assert 207 == (await gateway.ask("POST", "/v1/messages/batch", {"messages": batch})).status
    other = await send(gateway, key=gateway.b.key)
    worker = provider.worker(gateway)
    claimed = [turn.claimed for turn in await worker.claim(100) + await worker.claim(100)]
    assert 101 == len(claimed)
    outcomes = Outcomes(gateway.database, Metrics(), worker.lease_id, Pace())
    theirs = "UPDATE messages SET metadata = '{}' WHERE organization_id = $1"
    async with (
        asyncio.TaskGroup() as together,
        held(gateway, theirs, str(gateway.a.organization_id)),
    ):
        for n, entry in enumerate(claimed):
            if entry.organization_id == gateway.a.organization_id:
                together.create_task(outcomes.sent(entry, Sent(external_id=f"SM{n}"), 14.5))
            else:
                free = entry
        await asyncio.sleep(2.5)
        async with asyncio.timeout(5):
            await outcomes.sent(free, Sent(external_id="SM-free"), 0.0)
        assert "sent" == (await row_of(gateway, other, key=gateway.b.key))["status"]
    assert 0 == await gateway.count("gateway.queue")


async def test_reports_beside_a_message_that_is_held(gateway: Gateway) -> None:
    """Reports are answered while the CRM holds the message of one, which is recorded later."""
    first, second = await send(gateway), await send(gateway, OTHER)
    ids = [UUID(message.body["id"]) for message in (first, second)]
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'x' || id WHERE id = ANY ($1)", ids)
    reporting = Reporting(gateway.database, Metrics())
    missed = UnmatchedReports(gateway.database, Metrics())
    async with held(gateway, CHANGE_MESSAGE, first.body["id"]):
        told = [received(gateway, [report(about, f"x{about}")]) for about in ids]
        async with asyncio.timeout(QUICK):
            await asyncio.gather(*map(reporting.store, told))
            await missed.apply()
        assert "delivered" == (await row_of(gateway, second))["status"]
        assert "pending" == (await row_of(gateway, first))["status"]
    await missed.apply()
    assert "delivered" == (await row_of(gateway, first))["status"]
    assert 0 == await gateway.count("gateway.unmatched_reports")
    await reporting.store(received(gateway, list(told[0].reports)))  # the same once more
    events = await gateway.ask("GET", f"/v1/messages/{first.body['id']}/events")
    assert ["delivered", "accepted"] == [event["type"] for event in events.body["data"]]


async def test_bounces_beside_a_message_that_is_held(gateway: Gateway) -> None:
    """Reports that speak of addresses, too, are answered, and what they say of these holds."""
    account_id = await connect(gateway, "sendgrid", Channel.EMAIL)
    mail = {"channel": "email", "to": "ann@x.example", "subject": "Hello", "body": "Hello"}
    sent = await gateway.ask("POST", "/v1/messages", mail)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'sg-1'")
    bounce = {
        "event": "bounce", "sg_event_id": "b1", "sg_message_id": "sg-1.x", "timestamp": 1764165600,
        "email": "ann@x.example", "type": "bounce", "status": "5.1.1", "reason": "no such user",
    }  # fmt: skip
    async with held(gateway, CHANGE_MESSAGE, sent.body["id"]), asyncio.timeout(QUICK):
        answer = await from_sendgrid(gateway, account_id, [bounce])
        assert 200 <= answer.status < 300
        assert 1 == await gateway.count("gateway.suppressions")
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert "failed" == (await row_of(gateway, sent))["status"]


@pytest.mark.parametrize("external_id", [None, "another"])
async def test_a_report_by_our_id_alone(gateway: Gateway, external_id: str | None) -> None:
    """A report without an id to be found by is refused for now, with nothing stored, and alone."""
    first, second = await send(gateway), await send(gateway, key=gateway.b.key)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET external_id = 'one' WHERE id = $1", UUID(first.body["id"])
        )
    reporting = Reporting(gateway.database, Metrics())
    async with held(gateway, CHANGE_MESSAGE, first.body["id"]):
        told = [report(UUID(first.body["id"]), external_id)]
        with pytest.raises(HeldError):
            await reporting.store(received(gateway, told))
    assert 0 == await gateway.count("gateway.webhook_requests")
    assert "pending" == (await row_of(gateway, second, key=gateway.b.key))["status"]
    await reporting.store(received(gateway, told))
    assert "delivered" == (await row_of(gateway, first))["status"]


@pytest.mark.parametrize("provider", ["twilio", "meta"])
async def test_a_report_of_a_message_whose_answer_is_lost(gateway: Gateway, provider: str) -> None:
    """A report that brings the id which the lost answer would have told is kept where the provider
    can be asked for that id; where it cannot, nobody would find it, and it is to come again."""
    sent = await send(gateway)
    about = UUID(sent.body["id"])
    async with gateway.database.as_service() as db:  # which both of them carry
        await db.execute("UPDATE messages SET channel = 'whatsapp' WHERE id = $1", about)

    def told() -> Received:
        its = received(gateway, [report(about, "x")])
        return replace(its, account=replace(its.account, provider=provider))

    reporting = Reporting(gateway.database, Metrics())
    async with held(gateway, CHANGE_MESSAGE, sent.body["id"]):
        refused = pytest.raises(HeldError) if provider == "meta" else nullcontext()
        with refused:
            await reporting.store(told())
    assert (provider == "twilio") == await gateway.count("gateway.unmatched_reports")
    await reporting.store(told())
    assert "delivered" == (await row_of(gateway, sent))["status"]


async def test_a_report_that_waits_long_is_found(gateway: Gateway) -> None:
    """However long the CRM holds a message, what was kept of it is looked for until it is free."""
    sent = await send(gateway)
    about = UUID(sent.body["id"])
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'x' WHERE id = $1", about)
    reporting = Reporting(gateway.database, Metrics())
    missed = UnmatchedReports(gateway.database, Metrics())
    await missed.apply()  # all of what waited was looked through
    async with held(gateway, CHANGE_MESSAGE, sent.body["id"]):
        await reporting.store(received(gateway, [report(about, "x")]))
        async with gateway.database.as_service() as db:
            await db.execute(ALMOST_TOO_OLD)
        for _ in range(2):
            await missed.apply()
            await asyncio.sleep(1.2)
    await missed.apply()
    assert "delivered" == (await row_of(gateway, sent))["status"]


async def test_messages_behind_those_that_are_being_deleted(
    gateway: Gateway, provider: Provider
) -> None:
    """The CRM deletes more messages of one tenant than are looked at for a claim, and takes long:
    what is due behind them is sent meanwhile."""
    body = {"channel": "sms", "to": THEIRS, "body": "Hello"}
    for _ in range(2):
        await gateway.ask("POST", "/v1/messages/batch", {"messages": [body] * 60})
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    worker = provider.worker(gateway)
    async with crm.transaction():
        await crm.execute("DELETE FROM messages")
        message = await send(gateway, OTHER)
        claims = [await worker.claim(100) for _ in range(4)]
    await crm.close()
    ids = [str(turn.claimed.message_id) for turns in claims for turn in turns]
    assert [message.body["id"]] == ids


async def test_one_tenants_share_stays_its_share(gateway: Gateway, provider: Provider) -> None:
    """Where more is looked through, each organization still gets as much as the others."""
    body = {"channel": "sms", "to": THEIRS, "body": "Hello"}
    batch = {"messages": [body] * 30}
    for tenant in (gateway.a, gateway.b):
        await gateway.ask("POST", "/v1/messages/batch", batch, key=tenant.key)
    worker = provider.worker(gateway)
    async with gateway.database.as_service() as db:
        claimed = await queue.claim(db, 20, worker.lease_id, 30, reach=100)
    counted = Counter(entry.organization_id for entry in claimed)
    assert [10, 10] == list(counted.values())
    assert {False} == {entry.is_hidden for entry in claimed}


async def test_outcomes_that_are_held_leave_connections(
    gateway: Gateway, provider: Provider
) -> None:
    """However many outcomes wait for messages that the CRM holds, most connections are free for the
    others."""
    body = {"channel": "sms", "to": THEIRS, "body": "Hello"}
    await gateway.ask("POST", "/v1/messages/batch", {"messages": [body] * 32})
    worker = provider.worker(gateway)
    turns = await worker.claim(100)
    provider.answer = lambda: web.Response(status=429)
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    async with crm.transaction():
        await crm.execute("SELECT FROM messages FOR UPDATE")
        working = [asyncio.create_task(worker.work(turn)) for turn in turns]
        await asyncio.sleep(32 / 8 + 3)  # each has waited for its message once
        longest = 0.0
        for _ in range(5):
            began = time.monotonic()
            async with gateway.database.as_service() as db:
                await db.fetchval("SELECT 1")
            longest = max(longest, time.monotonic() - began)
        assert longest < 2
    await crm.close()
    await asyncio.gather(*working)
    async with gateway.database.as_service() as db:
        assert 32 == await db.fetchval("SELECT count(*) FROM gateway.queue WHERE refusals = 1")
