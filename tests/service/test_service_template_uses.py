"""How often templates were used: what is wrong with one of them holds up no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg

from gateway.accept.template_uses import TemplateUses
from tests.service.test_service_held import held

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

TEMPLATE = {"name": "hello", "type": "sms", "content": "Hello"}
CHANGE = "UPDATE message_templates SET description = 'The CRM writes.' WHERE id = $1"
NEVER = """
CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN IF NEW.id = '{id}' THEN RAISE EXCEPTION 'The CRM says no.'; END IF; RETURN NEW; END $$;
CREATE TRIGGER never BEFORE UPDATE ON message_templates FOR EACH ROW EXECUTE FUNCTION never();
"""


async def used(gateway: Gateway, key: str) -> str:
    """A template of whose key it is, used once."""
    made = await gateway.ask("POST", "/v1/templates", TEMPLATE, key=key)
    message = {"channel": "sms", "to": "+447700900123", "template": "hello"}
    answer = await gateway.ask("POST", "/v1/messages", message, key=key)
    assert 202 == answer.status
    template_id: str = made.body["id"]
    return template_id


async def counts(gateway: Gateway) -> dict[str, int]:
    """How often each template was used, without what waits to be added."""
    async with gateway.database.as_service() as db:
        rows = await db.fetch("SELECT id, usage_count FROM message_templates")
    return {str(row["id"]): row["usage_count"] or 0 for row in rows}


async def test_a_template_that_another_program_holds(gateway: Gateway) -> None:
    """It is counted when it is free, the others at once."""
    first, second = await used(gateway, gateway.a.key), await used(gateway, gateway.b.key)
    uses = TemplateUses(gateway.database)
    async with held(gateway, CHANGE, first):
        async with asyncio.timeout(5):
            await uses.fold()
        assert {first: 0, second: 1} == await counts(gateway)
    await uses.fold()
    assert {first: 1, second: 1} == await counts(gateway)
    assert 0 == await gateway.count("gateway.template_uses")


async def test_a_template_that_cannot_be_written_to(gateway: Gateway) -> None:
    """What another program refuses for one tenant's template is refused for that one alone."""
    first, second = await used(gateway, gateway.a.key), await used(gateway, gateway.b.key)
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute(NEVER.format(id=first))
    uses = TemplateUses(gateway.database)
    await uses.fold()
    assert {first: 0, second: 1} == await counts(gateway)

    await crm.execute("DROP TRIGGER never ON message_templates")
    await crm.close()
    await uses.fold()  # it is left alone for a while
    assert {first: 0, second: 1} == await counts(gateway)
    await TemplateUses(gateway.database).fold()
    assert {first: 1, second: 1} == await counts(gateway)
