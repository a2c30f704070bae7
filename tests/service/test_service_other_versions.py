"""What another version of the gateway has stored, which this one does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.service.wires import row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

RENAME = "UPDATE gateway.provider_accounts SET provider = $1 WHERE provider = $2"
DUE = "UPDATE gateway.queue SET run_at = now()"


async def test_a_provider_that_this_version_has_not(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Its accounts are shown, without URLs; their messages wait for the version that has it."""
    sent = await send(ask, "sms", "+447700900123", body="Hello")
    await change(gateway, RENAME, "telegram", "twilio")
    for _ in range(2):
        await step(api.worker(gateway))
        await change(gateway, DUE)
    accounts = await ask("GET", "/v1/accounts", key=gateway.a.owner)
    assert [("telegram", {})] == [(a["provider"], a["webhooks"]) for a in accounts.body["data"]]
    assert [] == api.asked

    await change(gateway, RENAME, "twilio", "telegram")
    await change(gateway, DUE)
    api.says(201, {"sid": "SM" + "6" * 32})
    await step(api.worker(gateway))
    assert "sent" == (await row_of(ask, sent))["status"]
    assert 1 == len(api.asked)


async def change(gateway: Gateway, statement: str, *values: str) -> None:
    """Do as the other version does."""
    async with gateway.database.as_service() as db:
        await db.execute(statement, *values)
