"""Deletes accounts at providers, with all webhooks that came in for them."""

from __future__ import annotations

from uuid import UUID

from gateway.again import in_steps, once_more
from gateway.problems import found, not_found, not_now
from gateway.store import accounts, upkeep
from gateway.store.database import Caller
from gateway.store.errors import RolledBackError
from gateway.web.services import Services


async def delete(
    services: Services, caller: Caller, account_id: UUID, *, seconds: float = 15.0
) -> None:
    """Delete an account with its senders and all webhooks that came in for it.

    Raises `Problem` 503 if there are more than can be deleted in so many seconds; what was deleted
    by then stays deleted.
    """
    async with services.database.as_caller(caller) as db:
        found("account", await accounts.get_account(db, caller.organization_id, account_id))

    # First, in steps: otherwise the statement that deletes the account would delete them all, and
    # might take longer than a statement may.
    async def forget() -> bool | None:
        async with services.database.as_service(on_behalf=caller) as db:
            count = await accounts.forget_what_came(
                db, caller.organization_id, account_id, upkeep.FORGET_AT_ONCE
            )
        return True if count < upkeep.FORGET_AT_ONCE else None

    if await in_steps(forget, seconds) is None:
        raise not_now("More came in for this account than can be deleted at once: try again.")
    if not await once_more(lambda: _delete(services, caller, account_id), (RolledBackError,)):
        raise not_found("account")


async def _delete(services: Services, caller: Caller, account_id: UUID) -> bool:
    # May be rolled back: its senders are deleted, too, and something else may have one locked.
    async with services.database.as_caller(caller) as db:
        return await accounts.delete_account(db, caller.organization_id, account_id)
