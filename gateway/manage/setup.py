"""Sets up organizations, for the commands, the demo and the tests."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

from channels import phone
from channels.model import Channel
from gateway import addresses, links, registry
from gateway.ids import new_id
from gateway.manage.keys import NewKey, new_key
from gateway.sign_in_mail import LINK_SECONDS
from gateway.store import accounts, sessions
from gateway.store.database import Database
from gateway.store.errors import ConflictError
from gateway.vault import Vault

_NAME = 200  # characters, as in /v1


class SetupError(Exception):
    """Something cannot be set up as it was asked for; one line says why."""


async def create_organization(database: Database, name: str, *, country: str | None = None) -> UUID:
    """A new organization; names may repeat, the slug is made unique."""
    _check_name(name, "An organization")
    if country is not None and country.upper() not in phone.COUNTRIES:
        raise SetupError(f"{country!r} is not a country: give its two letters, such as GB.")
    organization_id = new_id()
    settings: dict[str, Any] = {"country": country.upper()} if country else {}
    start = _slug(name)
    async with database.as_service() as db:
        slug, number = start, 1
        while not await accounts.insert_organization(db, organization_id, name, slug, settings):
            number += 1
            # After a few tries the slug gets a part of the id: names may repeat thousands of times.
            slug = f"{start}-{number}" if number < 10 else f"{start}-{organization_id.hex[-12:]}"
    return organization_id


async def create_staff(
    database: Database,
    organization_id: UUID,
    email: str,
    role: str,
    *,
    full_name: str | None = None,
    auth_id: UUID | None = None,
) -> tuple[UUID, UUID]:
    """(id, auth_id) of a new member of staff; `auth_id` is the `sub` of their tokens."""
    if addresses.read(Channel.EMAIL, email, None) is None:
        raise SetupError(f"{email!r} is not an e-mail address: write it as ada@example.com.")
    if full_name is not None:
        _check_name(full_name, "A member of staff")
    user_id = new_id()
    auth_id = auth_id or uuid4()
    try:
        async with database.as_service() as db:
            # Also if only upper and lower case differ: it is the same mailbox, and must belong to
            # one person.
            if await accounts.staff_by_email(db, email) is not None:
                raise SetupError(f"There is a member of staff with the address {email} already.")
            await accounts.insert_staff(
                db, user_id, auth_id, email, full_name, organization_id, role
            )
    except ConflictError as conflict:
        if "organization" in conflict.constraint:
            raise SetupError(f"There is no organization {organization_id}.") from None
        taken = "auth id" if "auth_id" in conflict.constraint else f"address {email}"
        raise SetupError(f"There is a member of staff with this {taken} already.") from None
    return user_id, auth_id


async def new_link(
    database: Database, organization_id: UUID, auth_id: UUID, *, seconds: float = LINK_SECONDS
) -> UUID:
    """The id of a new link that signs a member of staff in, once."""
    link_id = new_id()
    async with database.as_service() as db:
        await sessions.insert_link(db, organization_id, link_id, auth_id, seconds=seconds)
    return link_id


async def sign_in_url(
    database: Database, vault: Vault, base_url: str, email: str, *, seconds: float = LINK_SECONDS
) -> str:
    """The URL of a new link that signs in the member of staff with this address, once."""
    async with database.as_service() as db:
        row = await accounts.staff_by_email(db, email)
    if row is None:
        raise SetupError(f"There is no member of staff with the address {email}.")
    if not row["is_active"] or row["organization_id"] is None:
        raise SetupError(f"{email} is not an active member of staff of an organization.")
    link_id = await new_link(database, row["organization_id"], row["auth_id"], seconds=seconds)
    return links.sign_in_url(vault, base_url, row["organization_id"], link_id)


async def create_key(
    database: Database, organization_id: UUID, name: str, *, is_test: bool
) -> NewKey:
    """A new API key of an organization."""
    _check_name(name, "A key")
    try:
        async with database.as_service() as db:
            return await new_key(db, organization_id, name, is_test=is_test)
    except ConflictError:
        raise SetupError(f"There is no organization {organization_id}.") from None


async def add_account(
    database: Database,
    vault: Vault,
    organization_id: UUID,
    provider: str,
    credentials: Mapping[str, str],
) -> UUID:
    """A new provider account; the provider is not contacted."""
    try:
        checked = registry.check_credentials(provider, credentials)
    except registry.NotPossibleError as error:
        raise SetupError(f"This account cannot be added: {error}.") from None
    account_id = new_id()
    try:
        async with database.as_service() as db:
            await accounts.insert_account(
                db,
                account_id,
                organization_id,
                provider,
                provider,
                vault.seal(organization_id, checked),
            )
    except ConflictError:
        raise SetupError(f"There is no organization {organization_id}.") from None
    return account_id


async def add_sender(
    database: Database,
    account_id: UUID,
    channel: Channel,
    address: str,
    *,
    is_default: bool,
    rate: float | None,
) -> UUID:
    """A new sender of an account's organization."""
    sender_id = new_id()
    try:
        async with database.as_service() as db:
            account = await accounts.open_account(db, account_id)
            if account is None:
                raise SetupError(f"There is no account {account_id}.")
            stored = registry.sender_address(account.provider, channel, address)
            await accounts.insert_sender(
                db,
                sender_id,
                account.organization_id,
                account_id,
                channel,
                stored,
                is_default=is_default,
                rate=rate,
            )
    except registry.NotPossibleError as error:
        raise SetupError(f"This sender cannot be added: {error}.") from None
    except ConflictError as conflict:
        if "account_id" in conflict.constraint:  # the account was deleted since it was read
            raise SetupError(f"There is no account {account_id}.") from None
        if "default" in conflict.constraint:
            raise SetupError(f"Another {channel} default was just set: try again.") from None
        raise SetupError(f"The organization has the {channel} sender {address} already.") from None
    return sender_id


def _check_name(name: str, whose: str) -> None:
    """Raise `SetupError` for a name that could not be read in a list or on a terminal."""
    if not name.strip():
        raise SetupError(f"{whose} needs a name.")
    if len(name) > _NAME:
        raise SetupError(f"{whose}'s name has {_NAME} characters at most, it has {len(name)}.")
    for character in name:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp"):
            code = f"U+{ord(character):04X}"
            raise SetupError(f"{whose}'s name is one line of text: leave out {code}.")


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60] or "organization"
