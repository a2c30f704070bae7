"""Senders: the addresses to send from."""

from __future__ import annotations

from uuid import UUID

from gateway import registry
from gateway.again import once_more
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, found, invalid, not_found
from gateway.shapes.accounts import SenderIn, SenderPatch
from gateway.store import accounts
from gateway.store.database import Caller
from gateway.store.errors import ConflictError, RolledBackError
from gateway.store.paging import Cursor, Page
from gateway.store.values import Row
from gateway.web.services import Services


async def search(
    services: Services, caller: Caller, channel: str | None, cursor: Cursor | None, limit: int
) -> Page:
    """One page of senders."""
    async with services.database.as_caller(caller) as db:
        return await accounts.list_senders(db, caller.organization_id, channel, cursor, limit)


async def search_accounts(
    services: Services, caller: Caller, cursor: Cursor | None, limit: int
) -> Page:
    """One page of the accounts that senders belong to, without their secrets."""
    async with services.database.as_caller(caller) as db:
        return await accounts.list_accounts(db, caller.organization_id, cursor, limit)


async def create(services: Services, caller: Caller, wanted: SenderIn) -> Row:
    """Store an address to send from; a new default replaces the old one."""
    return await once_more(lambda: _create(services, caller, wanted), (RolledBackError,))


async def _create(services: Services, caller: Caller, wanted: SenderIn) -> Row:
    sender_id = new_id()
    try:
        async with services.database.as_caller(caller) as db:
            account = await accounts.get_account(db, caller.organization_id, wanted.account_id)
            if account is None:
                raise invalid([FieldError("account_id", "is not an account of your organization")])
            address = registry.sender_address(account["provider"], wanted.channel, wanted.address)
            await accounts.insert_sender(
                db,
                sender_id,
                caller.organization_id,
                wanted.account_id,
                wanted.channel,
                address,
                is_default=wanted.is_default,
                rate=wanted.rate,
            )
            row = await accounts.get_sender(db, caller.organization_id, sender_id)
    except registry.NotPossibleError as error:
        raise invalid([FieldError(*problem) for problem in error.problems]) from None
    except ConflictError as conflict:
        raise _refused(conflict) from None
    return found("sender", row)


async def get(services: Services, caller: Caller, sender_id: UUID) -> Row:
    """One sender."""
    async with services.database.as_caller(caller) as db:
        return found("sender", await accounts.get_sender(db, caller.organization_id, sender_id))


async def change(services: Services, caller: Caller, sender_id: UUID, wanted: SenderPatch) -> Row:
    """Change whether it is the default or in use, or its rate; a rate of null means no limit."""
    return await once_more(lambda: _change(services, caller, sender_id, wanted), (RolledBackError,))


async def _change(services: Services, caller: Caller, sender_id: UUID, wanted: SenderPatch) -> Row:
    try:
        async with services.database.as_caller(caller) as db:
            row = await accounts.get_sender(db, caller.organization_id, sender_id)
            await accounts.update_sender(
                db,
                caller.organization_id,
                sender_id,
                found("sender", row)["channel"],
                is_default=wanted.is_default,
                is_active=wanted.is_active,
                rate=wanted.rate,
                set_rate="rate" in wanted.model_fields_set,
            )
            return found("sender", await accounts.get_sender(db, caller.organization_id, sender_id))
    except ConflictError as conflict:
        raise _refused(conflict) from None


async def delete(services: Services, caller: Caller, sender_id: UUID) -> None:
    """Delete a sender; messages that wait to be sent from it will fail."""
    async with services.database.as_caller(caller) as db:
        if not await accounts.delete_sender(db, caller.organization_id, sender_id):
            raise not_found("sender")


def _refused(conflict: ConflictError) -> Problem:
    if "account_id" in conflict.constraint:  # the account was deleted since it was read
        return invalid([FieldError("account_id", "is not an account of your organization")])
    if "default" in conflict.constraint:
        return Problem(409, "Another default was just set for this channel: try again.")
    return Problem(409, "Your organization has this sender already.")
