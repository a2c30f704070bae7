"""Organizations, staff, API keys, provider accounts and senders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from channels import call
from gateway.store.database import Connection, Staff
from gateway.store.paging import Cursor, Page, after, page
from gateway.store.sql import fetch_row, fetch_rows, queries
from gateway.store.values import Row, as_json

_SQL = queries("accounts")


@dataclass(frozen=True, slots=True)
class SealedAccount:
    """A provider account with its credentials as they are stored."""

    id: UUID
    organization_id: UUID
    provider: str
    credentials: bytes
    settings: Row | None


async def insert_organization(
    db: Connection, organization_id: UUID, name: str, slug: str, settings: Row
) -> bool:
    """Store an organization; False when the slug is taken."""
    made = await db.fetchval(
        _SQL["insert_organization"], organization_id, name, slug, as_json(settings)
    )
    return made is not None


async def insert_staff(
    db: Connection,
    user_id: UUID,
    auth_id: UUID,
    email: str,
    full_name: str | None,
    organization_id: UUID,
    role: str,
) -> None:
    """Store a member of staff; raises `ConflictError` when the e-mail address is taken."""
    await db.execute(
        _SQL["insert_staff"], user_id, auth_id, email, full_name, organization_id, role
    )


async def staff_by_email(db: Connection, email: str) -> Row | None:
    """The member of staff with this e-mail address; of several spellings, the exact one."""
    return await fetch_row(db, _SQL["staff_by_email"], email)


async def staff_of_mailbox(db: Connection, email: str) -> list[UUID]:
    """The `auth_id` of each member of staff with this e-mail address, in any organization."""
    return [row["auth_id"] for row in await db.fetch(_SQL["staff_of_mailbox"], email)]


async def staff_by_auth_id(db: Connection, auth_id: UUID) -> Staff | None:
    """An active member of staff, read as that person."""
    row = await db.fetchrow(_SQL["staff_by_auth_id"], auth_id)
    return Staff(auth_id=auth_id, **row) if row else None


async def insert_api_key(
    db: Connection,
    key_id: UUID,
    organization_id: UUID,
    name: str,
    prefix: str,
    digest: bytes,
    *,
    is_test: bool,
) -> None:
    """Store an API key as its look-up prefix and its digest."""
    await db.execute(_SQL["insert_api_key"], key_id, organization_id, name, prefix, digest, is_test)


async def api_keys_by_prefix(db: Connection, prefixes: Sequence[str]) -> list[Row]:
    """The keys with these prefixes that are not revoked; two keys rarely share a prefix."""
    return await fetch_rows(db, _SQL["api_keys_by_prefix"], list(prefixes))


async def list_api_keys(
    db: Connection, organization_id: UUID, cursor: Cursor | None, limit: int
) -> Page:
    """One page of keys, without their digests."""
    return page(
        await db.fetch(_SQL["list_api_keys"], organization_id, *after(cursor), limit + 1), limit
    )


async def get_api_key(db: Connection, organization_id: UUID, key_id: UUID) -> Row | None:
    """One key, without its digest."""
    return await fetch_row(db, _SQL["get_api_key"], organization_id, key_id)


async def revoke_api_key(db: Connection, organization_id: UUID, key_id: UUID) -> bool:
    """Revoke a key for good; False if there is none."""
    return await db.fetchval(_SQL["revoke_api_key"], organization_id, key_id) is not None


async def insert_account(
    db: Connection,
    account_id: UUID,
    organization_id: UUID,
    provider: str,
    name: str,
    credentials: bytes,
) -> None:
    """Store a provider account with sealed credentials."""
    await db.execute(
        _SQL["insert_account"], account_id, organization_id, provider, name, credentials
    )


async def list_accounts(
    db: Connection, organization_id: UUID, cursor: Cursor | None, limit: int
) -> Page:
    """One page of accounts, without their credentials."""
    return page(
        await db.fetch(_SQL["list_accounts"], organization_id, *after(cursor), limit + 1), limit
    )


async def get_account(db: Connection, organization_id: UUID, account_id: UUID) -> Row | None:
    """One account, without its credentials."""
    return await fetch_row(db, _SQL["get_account"], organization_id, account_id)


async def update_account(
    db: Connection,
    organization_id: UUID,
    account_id: UUID,
    *,
    name: str | None,
    is_active: bool | None,
    credentials: bytes | None,
    same_as: datetime | None,
) -> None:
    """Change the values that are not None.

    `same_as`: the new credentials are of the same account at the provider as those stored at that
    time, if these have not been changed since; None: they are of another one.
    """
    if credentials is not None:
        await db.execute(
            _SQL["replace_credentials"], organization_id, account_id, credentials, same_as
        )
    await db.execute(_SQL["update_account"], organization_id, account_id, name, is_active)


async def delete_account(db: Connection, organization_id: UUID, account_id: UUID) -> bool:
    """Delete an account with its senders, requests and kept reports; False if there is none.

    One statement deletes all of it, so most is deleted before: see `forget_what_came`.
    """
    return await db.fetchval(_SQL["delete_account"], organization_id, account_id) is not None


async def forget_what_came(
    db: Connection, organization_id: UUID, account_id: UUID, limit: int
) -> int:
    """Delete requests and reports that were kept for an account, at most `limit` of each."""
    count: int = await db.fetchval(_SQL["forget_what_came"], organization_id, account_id, limit)
    return count


async def open_account(db: Connection, account_id: UUID) -> SealedAccount | None:
    """The account that a webhook's path names, active or not: reports still come in for it."""
    row = await db.fetchrow(_SQL["open_account"], account_id, call.SETTINGS)
    return SealedAccount(**row) if row else None


async def stored(
    db: Connection, organization_id: UUID, account_id: UUID
) -> tuple[bytes, datetime] | None:
    """An account's credentials as they are stored, and when it was last changed."""
    row = await db.fetchrow(_SQL["stored"], organization_id, account_id)
    return (row["credentials"], row["updated_at"]) if row else None


async def versions(db: Connection, organization_id: UUID, provider: str) -> dict[UUID, datetime]:
    """When accounts at one provider were changed; those in use first, then the oldest first."""
    return dict(map(tuple, await db.fetch(_SQL["versions"], organization_id, provider)))


async def sealed(db: Connection, account_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    """The credentials of accounts, as they are stored."""
    return dict(map(tuple, await db.fetch(_SQL["sealed"], list(account_ids))))


async def insert_sender(
    db: Connection,
    sender_id: UUID,
    organization_id: UUID,
    account_id: UUID,
    channel: str,
    address: str,
    *,
    is_default: bool,
    rate: float | None,
) -> None:
    """Store a sender; a new default replaces the old one."""
    if is_default:
        await _clear_default(db, organization_id, channel)
    await db.execute(
        _SQL["insert_sender"],
        sender_id,
        organization_id,
        account_id,
        channel,
        address,
        is_default,
        rate,
    )


async def list_senders(
    db: Connection,
    organization_id: UUID,
    channel: str | None,
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """One page of senders."""
    return page(
        await db.fetch(_SQL["list_senders"], organization_id, channel, *after(cursor), limit + 1),
        limit,
    )


async def get_sender(db: Connection, organization_id: UUID, sender_id: UUID) -> Row | None:
    """One sender."""
    return await fetch_row(db, _SQL["get_sender"], organization_id, sender_id)


async def update_sender(
    db: Connection,
    organization_id: UUID,
    sender_id: UUID,
    channel: str,
    *,
    is_default: bool | None,
    is_active: bool | None,
    rate: float | None,
    set_rate: bool,
) -> None:
    """Change what is given."""
    if is_default:
        await _clear_default(db, organization_id, channel)
    await db.execute(
        _SQL["update_sender"], organization_id, sender_id, is_default, is_active, rate, set_rate
    )


async def _clear_default(db: Connection, organization_id: UUID, channel: str) -> None:
    await db.execute(_SQL["hold_default_sender"], organization_id, channel)
    await db.execute(_SQL["clear_default_sender"], organization_id, channel)


async def delete_sender(db: Connection, organization_id: UUID, sender_id: UUID) -> bool:
    """Delete a sender; False where there is none."""
    return await db.fetchval(_SQL["delete_sender"], organization_id, sender_id) is not None
