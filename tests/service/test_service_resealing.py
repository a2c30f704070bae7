"""`gateway reseal`: a key of GATEWAY_SECRET_KEYS is replaced; nothing that it sealed is lost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from uuid import UUID

from gateway.ids import new_id
from gateway.manage.resealing import Resealed, reseal
from gateway.vault import Vault
from tests.service.conftest import KEYS

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

NEW = os.urandom(32)
ALL = """
SELECT id, organization_id, credentials FROM gateway.provider_accounts UNION ALL
SELECT id, organization_id, credentials FROM gateway.subscriptions
"""
MANY = """
INSERT INTO gateway.provider_accounts (id, organization_id, provider, name, credentials)
SELECT gen_random_uuid(), organization_id, provider, name || n, credentials
FROM gateway.provider_accounts, generate_series(1, 150) AS n
"""


async def opened(gateway: Gateway, *keys: bytes) -> dict[UUID, dict[str, str]]:
    """All secrets by the ids of their rows, which these keys open."""
    vault = Vault(keys)
    async with gateway.database.as_service() as db:
        rows = await db.fetch(ALL)
    return {row["id"]: vault.open(row["organization_id"], row["credentials"]) for row in rows}


async def test_what_an_earlier_key_sealed(gateway: Gateway, ask: Ask) -> None:
    """All of it is sealed with the first key, and opens without the earlier one; once more it is
    done already."""
    await ask("POST", "/v1/subscriptions", {"url": "https://crm.example.com/hook"})
    async with gateway.database.as_service() as db:
        await db.execute(MANY)
    before = await opened(gateway, *KEYS)
    done = await reseal(gateway.database, Vault((NEW, *KEYS)))
    again = await reseal(gateway.database, Vault((NEW, *KEYS)))

    assert before == await opened(gateway, NEW)
    assert (len(before) - 1, 1, []) == (done.accounts, done.subscriptions, done.closed)
    assert done.accounts > 200  # which are read at a time
    assert Resealed() == again


async def test_what_no_key_opens(gateway: Gateway) -> None:
    """It is named, and stays as it is: the key may be found again."""
    lost, organization_id = Vault((os.urandom(32),)), gateway.a.organization_id
    sealed, account_id = lost.seal(organization_id, {"auth_token": "x"}), new_id()
    async with gateway.database.as_service() as db:
        await db.execute(
            "INSERT INTO gateway.provider_accounts (id, organization_id, provider, name,"
            " credentials) VALUES ($1, $2, 'twilio', 'lost', $3)",
            account_id,
            organization_id,
            sealed,
        )
    done = await reseal(gateway.database, Vault((NEW, *KEYS)))

    async with gateway.database.as_service() as db:
        kept = await db.fetchval(
            "SELECT credentials FROM gateway.provider_accounts WHERE id = $1", account_id
        )
    assert ([account_id], sealed) == (done.closed, kept)
