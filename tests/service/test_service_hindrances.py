"""Where another program's trigger waits, or takes long, for one tenant's rows, only that waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
import pytest

from channels.model import Sent
from gateway.accept.falling_back import FallingBack
from gateway.accept.last_contacts import LastContacts
from gateway.accept.template_uses import TemplateUses
from gateway.dispatch.hindered import Hindered
from gateway.dispatch.outcomes import Outcomes
from gateway.dispatch.pace import Pace
from gateway.dispatch.quarantine import Quarantine
from gateway.observability.metrics import Metrics
from gateway.receive.reporting import Received, Reporting
from gateway.receive.unmatched import UnmatchedReports
from gateway.store.errors import HeldError, SlowError
from tests.service.test_service_dispatch import Provider, provider
from tests.service.test_service_held import until
from tests.service.test_service_quarantine import SMS, keep_reports, run, send, statuses
from tests.service.test_service_reporting import received, report

if TYPE_CHECKING:
    from gateway.dispatch.dispatching import Dispatching
    from tests.service.conftest import Gateway, Tenant

__all__ = ["provider"]  # a fixture

# The CRM counts what happens to rows, in a row of its own for each tenant.
COUNTS = """
CREATE TABLE IF NOT EXISTS public.crm_stats AS SELECT id, 0 AS n FROM organizations;
CREATE OR REPLACE FUNCTION public.crm_counts() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN
  UPDATE public.crm_stats SET n = n + 1 WHERE id = NEW.organization_id;
  RETURN NEW;
END $$;
CREATE TRIGGER crm_counts BEFORE {} ON public.{}
  FOR EACH ROW EXECUTE FUNCTION public.crm_counts();
"""
# It asks a server that does not answer, as with a blocking http_post(), or is not to be found.
ASKS = """
CREATE FUNCTION public.crm_asks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.organization_id = '{}' THEN {} END IF; RETURN NEW; END $$;
CREATE TRIGGER crm_asks BEFORE {} ON public.{}
  FOR EACH ROW EXECUTE FUNCTION public.crm_asks();
"""
HANGS = "PERFORM pg_sleep(25);"
FAILS = "RAISE EXCEPTION 'Could not resolve host: crm.example' USING ERRCODE = 'XX000';"


@asynccontextmanager
async def counting(gateway: Gateway, *tenants: Tenant) -> AsyncIterator[None]:
    """A transaction of the CRM's that has changed what it counts for these tenants."""
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        async with crm.transaction():
            ids = [tenant.organization_id for tenant in tenants]
            await crm.execute("UPDATE crm_stats SET n = 0 WHERE id = ANY ($1)", ids)
            yield
    finally:
        await crm.close()


async def step(quarantine: Quarantine, worker: Dispatching, limit: int = 10) -> float:
    """Send what a claim brings; the seconds that it took."""
    began = time.monotonic()
    turns = await quarantine.claim(limit, [])
    took = time.monotonic() - began
    for turn in turns:
        await worker.work(turn)
    return took


async def test_what_a_trigger_waits_for(gateway: Gateway, provider: Provider) -> None:
    """While the CRM holds what its trigger needs for one tenant's messages, the others' are sent,
    at first after some seconds and then at once; that tenant's are once it is free."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    await run(gateway, COUNTS.format("UPDATE", "messages"))
    worker = provider.worker(gateway)
    quarantine = Quarantine(gateway.database, worker.claim, hindered=Hindered(first=2))

    async with counting(gateway, gateway.a):
        assert 15 > await step(quarantine, worker)
        assert ["sent"] == await statuses(gateway, gateway.b)
        for longest in (2, 1, 1):  # the first time that tenant is tried apart
            await send(gateway, gateway.b)
            assert longest > await step(quarantine, worker)
        assert ["sent"] * 4 == await statuses(gateway, gateway.b)
        await asyncio.sleep(2)
        assert 2 > await step(quarantine, worker)  # whether it is free by now
        assert 1 > await step(quarantine, worker)
        assert ["pending"] == await statuses(gateway, gateway.a)
    await step(Quarantine(gateway.database, worker.claim), worker)
    assert ["sent"] == await statuses(gateway, gateway.a)
    await asyncio.sleep(4)
    await send(gateway, gateway.a)
    assert 1 > await step(quarantine, worker)
    assert ["sent"] * 2 == await statuses(gateway, gateway.a)
    assert 6 == len(provider.posts)


async def test_a_trigger_that_takes_long(gateway: Gateway, provider: Provider) -> None:
    """While the CRM's trigger takes long for one tenant's messages, the others' are sent."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    await run(gateway, ASKS.format(gateway.a.organization_id, HANGS, "UPDATE", "messages"))
    worker = provider.worker(gateway)
    quarantine = Quarantine(gateway.database, worker.claim)

    await step(quarantine, worker)
    assert ["sent"] == await statuses(gateway, gateway.b)
    for longest in (3, 1):
        await send(gateway, gateway.b)
        assert longest > await step(quarantine, worker)
    assert ["sent"] * 3 == await statuses(gateway, gateway.b)
    assert ["pending"] == await statuses(gateway, gateway.a)


async def test_one_message_that_a_trigger_waits_with(gateway: Gateway, provider: Provider) -> None:
    """Where that happens with one message of a tenant's, its others are sent, too, and nobody waits
    for it again: that tenant is claimed for apart."""
    for body in ("waits", "Hello", "Hello", "Hello"):
        await gateway.ask("POST", "/v1/messages", SMS | {"body": body}, key=gateway.a.key)
    await send(gateway, gateway.b)
    guarded = COUNTS.format("UPDATE", "messages").replace(
        "FOR EACH ROW", "FOR EACH ROW WHEN (NEW.body = 'waits')"
    )
    await run(gateway, guarded)
    worker = provider.worker(gateway)
    quarantine = Quarantine(gateway.database, worker.claim)

    async with counting(gateway, gateway.a):
        await step(quarantine, worker)
        assert ["sent"] == await statuses(gateway, gateway.b)
        assert 3 > await step(quarantine, worker)
        assert ["sent", "sent", "sent", "pending"] == await statuses(gateway, gateway.a)
        await run(gateway, "UPDATE gateway.queue SET run_at = now()")  # as after two minutes
        for tenant in (gateway.a, gateway.b):
            await send(gateway, tenant)
        assert 3 > await step(quarantine, worker)
        assert ["sent"] * 2 == await statuses(gateway, gateway.b)
        assert ["sent"] * 4 + ["pending"] == await statuses(gateway, gateway.a)
    await run(gateway, "UPDATE gateway.queue SET run_at = now()")
    await step(quarantine, worker)
    assert ["sent"] * 5 == await statuses(gateway, gateway.a)


async def test_what_keeps_everybody_waiting(gateway: Gateway, provider: Provider) -> None:
    """Where no tenant's messages can be claimed in time, none is left out for that: all are claimed
    as soon as it is over."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    await run(gateway, COUNTS.format("UPDATE", "messages"))
    worker = provider.worker(gateway)
    quarantine = Quarantine(gateway.database, worker.claim)

    async with counting(gateway, gateway.a, gateway.b):
        for longest in (15, 5):  # the second time it is not looked at whose they are
            began = time.monotonic()
            with pytest.raises(HeldError):
                await quarantine.claim(10, [])
            assert longest > time.monotonic() - began
    assert 1 > await step(quarantine, worker)
    for tenant in (gateway.a, gateway.b):
        assert ["sent"] == await statuses(gateway, tenant)


async def test_a_request_that_a_trigger_waits_with(gateway: Gateway) -> None:
    """Of requests that come together only those fail whose rows the trigger waits with."""
    await run(gateway, COUNTS.format("INSERT", "messages"))

    async def ask(tenant: Tenant) -> tuple[int, str]:
        answer = await gateway.ask("POST", "/v1/messages", SMS, key=tenant.key)
        return answer.status, answer.body.get("detail", "")

    async with counting(gateway, gateway.a):
        pairs = [ask(tenant) for _ in range(5) for tenant in (gateway.a, gateway.b)]
        answers = await asyncio.gather(*pairs)
    held = (503, "Another program is changing what this is about, and takes long: try again.")
    assert {held} == set(answers[::2])
    assert {(202, "")} == set(answers[1::2])


async def test_a_request_that_a_trigger_is_slow_with(gateway: Gateway) -> None:
    """The same holds for a trigger that takes long."""
    await run(gateway, ASKS.format(gateway.a.organization_id, HANGS, "INSERT", "messages"))
    first = asyncio.create_task(gateway.ask("POST", "/v1/messages", SMS, key=gateway.a.key))
    await asyncio.sleep(0.5)
    body = SMS | {"to": "+447700900124"}
    second = asyncio.create_task(gateway.ask("POST", "/v1/messages", body, key=gateway.a.key))
    async with asyncio.timeout(15):
        other = await gateway.ask("POST", "/v1/messages", SMS, key=gateway.b.key)
    assert 202 == other.status
    for asked in (first, second):
        answer = await asked
        assert 503 == answer.status
        assert "The database takes too long for this: try again." == answer.body["detail"]


async def test_a_lead_whose_trigger_waits(gateway: Gateway) -> None:
    """A message is stored though a trigger waits with a change of its lead, and the next at once;
    the leads of another tenant are noted meanwhile."""
    phone = "+447700900123"
    leads = {}
    for tenant in (gateway.a, gateway.b):
        lead = await gateway.ask("POST", "/v1/leads", {"phone": phone}, key=tenant.key)
        leads[tenant.key] = UUID(lead.body["id"])
    await run(gateway, COUNTS.format("UPDATE", "leads"))
    body = {"channel": "sms", "lead_id": str(leads[gateway.a.key]), "body": "Hello"}

    async with counting(gateway, gateway.a):
        assert 202 == (await gateway.ask("POST", "/v1/messages", body)).status
        began = time.monotonic()
        assert 202 == (await gateway.ask("POST", "/v1/messages", body)).status
        assert 1 > time.monotonic() - began
        later = LastContacts(gateway.database)
        for tenant in (gateway.a, gateway.b):
            later(tenant.organization_id, [leads[tenant.key]])

        async def is_noted() -> bool:
            return bool(await gateway.count("leads WHERE last_contacted_at IS NOT NULL"))

        await until(is_noted)
        await later.close()
        assert 1 == await gateway.count("leads WHERE last_contacted_at IS NOT NULL")


async def test_reports_that_a_trigger_waits_with(gateway: Gateway) -> None:
    """Reports are answered though a trigger waits with a message of one, which is recorded later;
    the others are recorded at once."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'x' || id")
        rows = await db.fetch("SELECT organization_id, id FROM messages")
    found = {row["organization_id"]: row["id"] for row in rows}
    await run(gateway, COUNTS.format("UPDATE", "messages"))
    reporting = Reporting(gateway.database, Metrics())
    told = [told_of(gateway, tenant, found) for tenant in (gateway.a, gateway.b)]

    async with counting(gateway, gateway.a):
        async with asyncio.timeout(15):
            await asyncio.gather(*map(reporting.store, told))
        assert ["delivered"] == await statuses(gateway, gateway.b)
        async with asyncio.timeout(1):
            await reporting.store(told_of(gateway, gateway.a, found))
        assert ["pending"] == await statuses(gateway, gateway.a)
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered"] == await statuses(gateway, gateway.a)


def told_of(gateway: Gateway, tenant: Tenant, found: dict[UUID, UUID]) -> Received:
    """A request of its provider's with a report of a tenant's message."""
    about = found[tenant.organization_id]
    return received(gateway, [report(about, f"x{about}")], tenant)


async def test_kept_reports_that_a_trigger_waits_with(gateway: Gateway) -> None:
    """Of reports that were kept those are recorded with whose messages no trigger waits."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    await keep_reports(gateway)
    await run(gateway, COUNTS.format("UPDATE", "messages"))
    async with counting(gateway, gateway.a):
        await UnmatchedReports(gateway.database, Metrics()).apply()
        assert ["delivered"] == await statuses(gateway, gateway.b)
        assert ["pending"] == await statuses(gateway, gateway.a)
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered"] == await statuses(gateway, gateway.a)


async def test_an_outcome_that_a_trigger_waits_with(gateway: Gateway, provider: Provider) -> None:
    """What a provider has taken is recorded while a trigger waits with another tenant's."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    worker = provider.worker(gateway)
    claimed = [turn.claimed for turn in await worker.claim(10)]
    await run(gateway, COUNTS.format("UPDATE", "messages"))
    outcomes = Outcomes(gateway.database, Metrics(), worker.lease_id, Pace())

    async with asyncio.TaskGroup() as together, counting(gateway, gateway.a):
        for n, entry in enumerate(claimed):
            together.create_task(outcomes.sent(entry, Sent(external_id=f"SM{n}"), 0.0))

        async def is_sent() -> bool:
            return await statuses(gateway, gateway.b) == ["sent"]

        await until(is_sent)
        assert ["sending"] == await statuses(gateway, gateway.a)
    assert ["sent"] == await statuses(gateway, gateway.a)


async def test_a_next_step_whose_trigger_fails_as_if_the_database_were_away(
    gateway: Gateway,
) -> None:
    """What a trigger says in the words of an outage keeps no other tenant's fallback waiting."""
    step_ = {"channel": "sms", "body": "second", "after": 60, "until": "delivered"}
    for tenant in (gateway.a, gateway.b):
        sent = await gateway.ask(
            "POST", "/v1/messages", SMS | {"fallback": [step_]}, key=tenant.key
        )
        assert 202 == sent.status
    await run(gateway, ASKS.format(gateway.a.organization_id, FAILS, "INSERT", "messages"))
    await run(gateway, "UPDATE gateway.fallbacks SET due_at = now()")

    await FallingBack(gateway.database, Metrics()).follow()

    assert [2, 1] == [len(await statuses(gateway, each)) for each in (gateway.b, gateway.a)]


async def test_uses_of_a_template_whose_trigger_takes_long(gateway: Gateway) -> None:
    """Uses of the other templates are counted."""
    for tenant in (gateway.a, gateway.b):
        template = {"name": "hello", "type": "sms", "content": "Hello"}
        await gateway.ask("POST", "/v1/templates", template, key=tenant.key)
        body = {"channel": "sms", "to": SMS["to"], "template": "hello"}
        assert 202 == (await gateway.ask("POST", "/v1/messages", body, key=tenant.key)).status
    rule = ASKS.format(gateway.a.organization_id, HANGS, "UPDATE", "message_templates")
    await run(gateway, rule)
    uses = TemplateUses(gateway.database)
    await uses.fold()
    assert 1 == await gateway.count("message_templates WHERE usage_count = 1")


async def test_a_statement_that_takes_long(gateway: Gateway) -> None:
    """It ends after twenty seconds, or sooner where that is asked for."""
    for seconds, shown in ((None, "20s"), (1.5, "1500ms")):
        async with gateway.database.as_service(patience=0.5, seconds=seconds) as db:
            assert shown == await db.fetchval("SHOW statement_timeout")
            assert "500ms" == await db.fetchval("SHOW lock_timeout")
    with pytest.raises(SlowError):
        async with gateway.database.as_service(patience=1, seconds=0.1) as db:
            await db.execute("SELECT pg_sleep(5)")
