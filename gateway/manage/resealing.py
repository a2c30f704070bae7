"""Resealing: secrets sealed with an old key of GATEWAY_SECRET_KEYS are sealed with the first."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from gateway.store import sealed
from gateway.store.database import Database
from gateway.store.sealed import Kind
from gateway.vault import Vault, VaultError


@dataclass(kw_only=True, slots=True)
class Resealed:
    """How many were resealed, and the ids of those that no key opens, which stay as they are."""

    accounts: int = 0
    subscriptions: int = 0
    closed: list[UUID] = field(default_factory=list)


async def reseal(database: Database, vault: Vault) -> Resealed:
    """Seal everything with the first key; may run beside everything else, and more than once."""
    result = Resealed()
    result.accounts = await _all(database, vault, Kind.ACCOUNTS, result.closed)
    result.subscriptions = await _all(database, vault, Kind.SUBSCRIPTIONS, result.closed)
    return result


async def _all(database: Database, vault: Vault, kind: Kind, closed: list[UUID]) -> int:
    count, after = 0, None
    while True:
        async with database.as_service() as db:
            found = await sealed.with_another_key(db, kind, vault.key_id, after)
            if not found:
                return count
            for each in found:
                try:
                    secrets = vault.open(each.organization_id, each.credentials)
                except VaultError:
                    closed.append(each.id)
                    continue
                new = vault.seal(each.organization_id, secrets)
                count += await sealed.replace(db, kind, each, new)
        after = found[-1].id
