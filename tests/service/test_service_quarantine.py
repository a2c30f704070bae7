"""An organization whose entries cannot be claimed holds up no other's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg
from structlog.testing import capture_logs

from gateway.dispatch.quarantine import Quarantine
from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from gateway.store import queue
from gateway.vault import Vault
from tests.service.conftest import make_tenant
from tests.service.test_service_dispatch import Provider, provider

if TYPE_CHECKING:
    from gateway.dispatch.turns import Turns
    from tests.service.conftest import Gateway, Tenant

__all__ = ["provider"]  # a fixture

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
# The CRM's: what it does with a message fails for one tenant.
TRIGGER = """
CREATE FUNCTION public.crm_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.organization_id = '{}' THEN RAISE EXCEPTION 'no automation for this tenant'; END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER crm_follows BEFORE UPDATE ON public.messages
  FOR EACH ROW EXECUTE FUNCTION public.crm_follows();
"""

# This one fails for several of its messages in one statement.
ONE_AT_A_TIME = """
CREATE FUNCTION public.crm_counts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF 1 < (SELECT count(*) FROM new WHERE organization_id = '{}') THEN RAISE 'one at a time'; END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER crm_counts AFTER UPDATE ON public.messages
  REFERENCING NEW TABLE AS new FOR EACH STATEMENT EXECUTE FUNCTION public.crm_counts();
"""

# It holds for old rows, too, once they change.
RULE = "ALTER TABLE messages ADD CONSTRAINT crm_news CHECK (body <> 'old') NOT VALID"

# This one says so only when the transaction is committed.
LATE = """
CREATE FUNCTION public.crm_late() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.body = 'old' THEN RAISE EXCEPTION 'no'; END IF;
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER crm_late AFTER UPDATE ON public.messages DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION public.crm_late();
"""


async def run(gateway: Gateway, statement: str) -> None:
    """Do as the CRM's own login does."""
    connection = await asyncpg.connect(str(gateway.settings.database_url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def send(gateway: Gateway, tenant: Tenant) -> None:
    """A message of a tenant."""
    sent = await gateway.ask("POST", "/v1/messages", SMS, key=tenant.key)
    assert 202 == sent.status


async def statuses(gateway: Gateway, tenant: Tenant) -> list[str]:
    """How a tenant's messages stand."""
    rows = (await gateway.ask("GET", "/v1/messages", key=tenant.key)).body["data"]
    return [row["status"] for row in rows]


async def test_a_trigger_that_refuses_one_tenant(gateway: Gateway, provider: Provider) -> None:
    """What the CRM's trigger refuses for one tenant is tried again later; all others are sent."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    more = [
        await make_tenant(gateway.database, vault, f"More{n}", f"+1555123100{n}") for n in range(3)
    ]
    others = [gateway.b, *more]
    for tenant in (gateway.a, *others):
        await send(gateway, tenant)
    await run(gateway, TRIGGER.format(gateway.a.organization_id))
    worker = provider.worker(gateway)
    asked: list[int] = []

    async def claim(
        limit: int, without: Sequence[UUID], senders: Sequence[UUID], **how: bool
    ) -> Turns:
        asked.append(limit)
        return await worker.claim(limit, without, senders, **how)

    async def step(quarantine: Quarantine) -> int:
        asked.clear()
        turns = await quarantine.claim(10, [])
        for turn in turns:
            await worker.work(turn)
        return len(turns)

    quarantine = Quarantine(gateway.database, claim)
    assert 4 == await step(quarantine)
    assert [["sent"]] * 4 == [await statuses(gateway, tenant) for tenant in others]
    assert ["pending"] == await statuses(gateway, gateway.a)
    assert 0 == await step(quarantine)
    assert [10] == asked  # without it, and nobody is asked about once more
    await run(gateway, "DROP TRIGGER crm_follows ON public.messages")
    assert 0 == await step(quarantine)
    await run(gateway, "UPDATE gateway.queue SET run_at = now()")  # as after two minutes
    assert 1 == await step(Quarantine(gateway.database, claim))
    assert ["sent"] == await statuses(gateway, gateway.a)
    assert 5 == len(provider.posts)


async def test_a_message_that_a_rule_refuses(gateway: Gateway, provider: Provider) -> None:
    """A message whose row a new rule of the CRM's refuses holds up no other of its organization: it
    alone is tried again later."""
    for body in ("old", "Hello", "Hello"):
        sent = await gateway.ask("POST", "/v1/messages", SMS | {"body": body}, key=gateway.a.key)
        assert 202 == sent.status
    await run(gateway, RULE)
    worker = provider.worker(gateway)
    quarantine = Quarantine(gateway.database, worker.claim)

    with capture_logs() as logs:
        turns = await quarantine.claim(10, [])
    for turn in turns:
        await worker.work(turn)

    (line,) = [line for line in logs if line["event"] == "the database refuses a row"]
    assert ("crm_news", str(sent.body["organization_id"])) == (
        line["constraint"],
        line["organization_id"],
    )
    assert ["sent", "sent", "pending"] == await statuses(gateway, gateway.a)
    assert [] == await quarantine.claim(10, [])
    await run(gateway, "ALTER TABLE messages DROP CONSTRAINT crm_news")
    await run(gateway, "UPDATE gateway.queue SET run_at = now()")  # as after two minutes
    for turn in await quarantine.claim(10, []):
        await worker.work(turn)
    assert ["sent"] * 3 == await statuses(gateway, gateway.a)


async def why_of(gateway: Gateway, body: str) -> str:
    """How the state of a message of tenant A is explained."""
    rows = (await gateway.ask("GET", "/v1/messages", key=gateway.a.key)).body["data"]
    (row, *_) = [row for row in rows if row["body"] == body]
    path = f"/v1/messages/{row['id']}/why"
    return str((await gateway.ask("GET", path, key=gateway.a.key)).body["summary"])


async def test_refused_messages_before_others(gateway: Gateway, provider: Provider) -> None:
    """Where all that a claim takes is refused, what comes after it is claimed; an organization that
    has nothing else waits for some seconds."""
    for body in ("old", "old", "old", "Hello"):
        await gateway.ask("POST", "/v1/messages", SMS | {"body": body}, key=gateway.a.key)
    await send(gateway, gateway.b)
    await run(gateway, RULE)
    worker = provider.worker(gateway)
    quarantine = Quarantine(gateway.database, worker.claim)

    for _ in range(2):
        for turn in await quarantine.claim(1, []):
            await worker.work(turn)

    assert ["sent", "pending", "pending", "pending"] == await statuses(gateway, gateway.a)
    assert ["sent"] == await statuses(gateway, gateway.b)
    later = "gateway.queue WHERE lease_id IS NULL AND run_at > now() + interval '100 s'"
    assert 3 == await gateway.count(later)
    assert "a rule of the database refuses it" in await why_of(gateway, "old")
    await run(gateway, "UPDATE gateway.senders SET rate = 5")
    assert "waits for its turn" in await why_of(gateway, "old")
    await run(gateway, "UPDATE gateway.queue SET run_at = now()")
    assert [] == await quarantine.claim(1, [])
    await send(gateway, gateway.a)
    assert [] == await quarantine.claim(1, [])


async def test_a_rule_that_waits_for_the_commit(gateway: Gateway, provider: Provider) -> None:
    """A message that a deferred rule refuses holds up no other of its organization, and neither
    does a report of it."""
    for body in ("old", "Hello"):
        await gateway.ask("POST", "/v1/messages", SMS | {"body": body}, key=gateway.a.key)
    await run(gateway, LATE)
    worker = provider.worker(gateway)

    for turn in await Quarantine(gateway.database, worker.claim).claim(10, []):
        await worker.work(turn)
    assert ["sent", "pending"] == await statuses(gateway, gateway.a)

    await run(gateway, "ALTER TABLE messages DISABLE TRIGGER crm_late")
    await keep_reports(gateway)
    await run(gateway, "ALTER TABLE messages ENABLE TRIGGER crm_late")
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered", "pending"] == await statuses(gateway, gateway.a)


async def test_many_refused_messages_before_others(gateway: Gateway, provider: Provider) -> None:
    """However many messages a rule refuses, at most 30 come due again in a minute: fewer than are
    looked at, so that what comes after them has its turn."""
    old = SMS | {"body": "old", "priority": "high"}
    await gateway.ask("POST", "/v1/messages/batch", {"messages": [old] * 40}, key=gateway.a.key)
    await run(gateway, RULE)
    claim = provider.worker(gateway).claim

    for soonest in (119, 199):  # the second time behind those of the first
        await run(gateway, "UPDATE gateway.queue SET run_at = now()")
        assert [] == await Quarantine(gateway.database, claim).claim(50, [])
        async with gateway.database.as_service() as db:
            seconds = await db.fetch(
                "SELECT extract(epoch FROM run_at - now())::integer FROM gateway.queue"
            )
        due = sorted(n for (n,) in seconds)
        assert soonest <= due[0]
        assert all(due[n] - due[n - 30] > 55 for n in range(30, len(due)))


async def test_a_locked_message_among_refused_ones(gateway: Gateway, provider: Provider) -> None:
    """A message that is only locked is tried again in two seconds, not when refused ones are."""
    for body in ("old", "Hello", "locked"):
        await gateway.ask("POST", "/v1/messages", SMS | {"body": body}, key=gateway.a.key)
    await run(gateway, RULE)
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    lock = crm.transaction()
    await lock.start()
    await crm.execute("SELECT FROM messages WHERE body = 'locked' FOR UPDATE")

    turns = await Quarantine(gateway.database, provider.worker(gateway).claim).claim(10, [])

    await lock.rollback()
    rows = await crm.fetch(
        "SELECT body, run_at < now() + interval '3 s' FROM gateway.queue q"
        " JOIN messages m ON m.id = message_id WHERE q.lease_id IS NULL ORDER BY body"
    )
    await crm.close()
    assert ["Hello"] == [turn.claimed.body for turn in turns]
    assert [("locked", True), ("old", False)] == [tuple(row) for row in rows]


async def test_reports_of_a_tenant_that_a_trigger_refuses(gateway: Gateway) -> None:
    """Reports that waited for their messages are recorded for all but the one, whose stay."""
    for tenant in (gateway.a, gateway.b):
        await send(gateway, tenant)
    await keep_reports(gateway)
    await run(gateway, TRIGGER.format(gateway.a.organization_id))
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered"] == await statuses(gateway, gateway.b)
    assert ["pending"] == await statuses(gateway, gateway.a)
    assert 1 == await gateway.count("gateway.unmatched_reports")
    await run(gateway, "DROP TRIGGER crm_follows ON public.messages")
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered"] == await statuses(gateway, gateway.a)


async def keep_reports(gateway: Gateway) -> None:
    """A report of each message that was kept while the provider's id was being stored."""
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'x' || id")
        await db.execute(
            "INSERT INTO gateway.unmatched_reports (organization_id, account_id, external_id, id,"
            " type, status, occurred_at, source) SELECT m.organization_id, a.id, m.external_id,"
            " gen_random_uuid(), 'delivered', 'delivered', now(), 'twilio' FROM messages m"
            " JOIN gateway.provider_accounts a USING (organization_id)"
        )


async def test_reports_of_a_message_that_a_rule_refuses(gateway: Gateway) -> None:
    """A report whose message a rule refuses waits alone: the others of its organization do not
    wait until they are forgotten."""
    for body in ("Hello", "old", "Hello"):
        await gateway.ask("POST", "/v1/messages", SMS | {"body": body}, key=gateway.a.key)
    await keep_reports(gateway)
    await run(gateway, RULE)
    unmatched = UnmatchedReports(gateway.database, Metrics())
    await unmatched.apply()
    await unmatched.apply()
    assert ["delivered", "pending", "delivered"] == await statuses(gateway, gateway.a)
    assert 1 == await gateway.count("gateway.unmatched_reports")


async def test_reports_that_are_refused_only_together(gateway: Gateway) -> None:
    """Reports that a trigger refuses together, though each of them is taken, hold up no other
    organization's."""
    for tenant in (gateway.a, gateway.a, gateway.b):
        await send(gateway, tenant)
    await keep_reports(gateway)
    await run(gateway, ONE_AT_A_TIME.format(gateway.a.organization_id))
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered"] == await statuses(gateway, gateway.b)
    assert ["pending"] * 2 == await statuses(gateway, gateway.a)


async def test_who_waits(gateway: Gateway) -> None:
    """Each organization with something in the queue is named once."""
    async with gateway.database.as_service() as db:
        assert [] == await queue.waiting_organizations(db)
    for tenant in (gateway.a, gateway.b, gateway.a):
        await send(gateway, tenant)
    async with gateway.database.as_service() as db:
        found = await queue.waiting_organizations(db)
    assert sorted([gateway.a.organization_id, gateway.b.organization_id]) == found
