"""When leads were written to, noted later: also when the process ends, each tenant's apart."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import asyncpg

from gateway.accept.last_contacts import LastContacts
from tests.service.test_service_held import CHANGE_LEAD, held, until

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

NEVER = """
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.id = '{id}' THEN RAISE EXCEPTION 'The CRM says no.'; END IF; RETURN NEW; END $$;
CREATE TRIGGER never BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION never();
"""


async def lead_of(gateway: Gateway, key: str) -> str:
    """A lead of whose key it is."""
    lead: str = (await gateway.ask("POST", "/v1/leads", {"phone": "+447700900123"}, key=key)).body[
        "id"
    ]
    return lead


async def noted(gateway: Gateway, lead: str) -> datetime | None:
    """When it was written to last."""
    async with gateway.database.as_service() as db:
        found: datetime | None = await db.fetchval(
            "SELECT last_contacted_at FROM leads WHERE id = $1", UUID(lead)
        )
    return found


async def test_the_process_ends(gateway: Gateway) -> None:
    """What waits when the process ends is noted before it does, and no task is left behind."""
    lead = await lead_of(gateway, gateway.a.key)
    contacts = LastContacts(gateway.database)
    contacts(gateway.a.organization_id, [UUID(lead)])
    await contacts.close()
    assert await noted(gateway, lead) is not None


async def test_a_lead_is_still_held_when_the_process_ends(gateway: Gateway) -> None:
    """It ends all the same: the lead is noted with the next message to it."""
    lead = await lead_of(gateway, gateway.a.key)
    contacts = LastContacts(gateway.database)
    async with held(gateway, CHANGE_LEAD, lead):
        contacts(gateway.a.organization_id, [UUID(lead)])
        await contacts.close()
    assert await noted(gateway, lead) is None


async def test_a_lead_that_cannot_be_noted(gateway: Gateway) -> None:
    """What another program refuses for one tenant's leads is refused for that one alone."""
    tenants = (gateway.a, gateway.b)
    leads = [await lead_of(gateway, tenant.key) for tenant in tenants]
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute(NEVER.format(id=leads[0]))
    await crm.close()
    contacts = LastContacts(gateway.database)
    for tenant, lead in zip(tenants, leads, strict=True):
        contacts(tenant.organization_id, [UUID(lead)])

    async def second_is_noted() -> bool:
        return await noted(gateway, leads[1]) is not None

    await until(second_is_noted)
    await contacts.close()
    assert await noted(gateway, leads[0]) is None


async def test_a_message_to_a_lead_that_cannot_be_changed(gateway: Gateway) -> None:
    """A constraint of the CRM's that an old lead does not keep refuses each change of it: its
    messages are stored all the same, and other leads of the tenant are noted."""
    good, bad = "+447700900123", "+447700900124"
    leads = {
        phone: (await gateway.ask("POST", "/v1/leads", {"phone": phone})).body["id"]
        for phone in (good, bad)
    }
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute("ALTER TABLE leads ADD CHECK (phone LIKE '%3') NOT VALID")
    await crm.close()
    batch = [{"channel": "sms", "to": to, "body": "Hello"} for to in (bad, good, bad)]
    answer = await gateway.ask("POST", "/v1/messages/batch", {"messages": batch})
    single = await gateway.ask("POST", "/v1/messages", batch[0])
    assert [202, 202, 202] == [item["status"] for item in answer.body["data"]]
    assert 202 == single.status

    async def good_one_is_noted() -> bool:
        return await noted(gateway, leads[good]) is not None

    await until(good_one_is_noted)
    assert await noted(gateway, leads[bad]) is None
    assert 4 == await gateway.count("gateway.queue")


async def test_a_message_that_is_refused(gateway: Gateway) -> None:
    """Whose message of a batch a rule refuses is not noted as written to: nothing is sent."""
    good, bad = "+447700900123", "+447700900124"
    leads = {
        phone: (await gateway.ask("POST", "/v1/leads", {"phone": phone})).body["id"]
        for phone in (good, bad)
    }
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute("ALTER TABLE messages ADD CHECK (to_address LIKE '%3') NOT VALID")
    await crm.close()
    batch = [{"channel": "sms", "to": to, "body": "Hello"} for to in (bad, good)]
    answer = await gateway.ask("POST", "/v1/messages/batch", {"messages": batch})
    assert [503, 202] == [item["status"] for item in answer.body["data"]]

    async def good_one_is_noted() -> bool:
        return await noted(gateway, leads[good]) is not None

    await until(good_one_is_noted)
    assert await noted(gateway, leads[bad]) is None
