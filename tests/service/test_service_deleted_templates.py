"""A template goes however many messages were made from it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from gateway.ids import new_id
from gateway.manage import templates
from gateway.problems import Problem
from gateway.store.database import ApiKey
from tests.service.test_service_quarantine import run

if TYPE_CHECKING:
    from gateway.web.services import Services
    from tests.service.conftest import Ask, Gateway

TEMPLATE = {"name": "news", "type": "sms", "content": "Hello"}
MADE = """
INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,
  template_id, updated_at)
SELECT $1, 'sms', 'outbound', '+1999', '+447100900123', '', $2, NULL FROM generate_series(1, $3)
"""


async def test_one_that_is_not_deleted_stays_whole(gateway: Gateway, ask: Ask) -> None:
    """Messages know what they were made from where another program's table keeps the template."""
    template = (await ask("POST", "/v1/templates", TEMPLATE)).body["id"]
    async with gateway.database.as_service() as db:
        await db.execute(MADE, gateway.a.organization_id, template, 3)
    await run(gateway, "CREATE TABLE crm (template_id uuid REFERENCES message_templates (id))")
    await run(gateway, "INSERT INTO crm SELECT id FROM message_templates")
    assert 409 == (await ask("DELETE", f"/v1/templates/{template}")).status
    assert 3 == await gateway.count("messages WHERE template_id IS NOT NULL")


async def test_what_takes_too_long_goes_on_when_it_is_asked_for_again(
    gateway: Gateway, ask: Ask
) -> None:
    """Each time so many messages let go of it as there is time for, which are few in a statement;
    it goes with the last of them, and they stay."""
    template = (await ask("POST", "/v1/templates", TEMPLATE)).body["id"]
    a = gateway.a.organization_id
    async with gateway.database.as_service() as db:
        await db.execute(MADE, a, template, 601)
    services = cast("Services", SimpleNamespace(database=gateway.database))
    caller = ApiKey(id=new_id(), organization_id=a, is_test=False)

    with pytest.raises(Problem) as problem:
        await templates.delete(services, caller, template, seconds=0, few=100)

    assert 503 == problem.value.status
    assert 101 == await gateway.count("messages WHERE template_id IS NOT NULL")
    assert 404 == (await ask("DELETE", f"/v1/templates/{template}", key=gateway.b.key)).status
    assert 101 == await gateway.count("messages WHERE template_id IS NOT NULL")
    assert 204 == (await ask("DELETE", f"/v1/templates/{template}")).status
    assert 404 == (await ask("GET", f"/v1/templates/{template}")).status
    assert 601 == await gateway.count("messages WHERE template_id IS NULL")
