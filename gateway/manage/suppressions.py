"""Suppressions: looked up, added and lifted; who added or lifted each is recorded."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from channels.model import Channel
from gateway import addresses
from gateway.consent import inheriting
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, found, invalid
from gateway.shapes.suppressions import SuppressionIn
from gateway.store import contacts, suppressions
from gateway.store.database import ApiKey, Caller, Staff
from gateway.store.paging import Cursor, Page
from gateway.store.suppressions import Statement
from gateway.store.values import Row
from gateway.web.services import Services


async def search(
    services: Services,
    caller: Caller,
    *,
    channel: Channel | None,
    address: str | None,
    reason: str | None,
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """One page of suppressions; an address is found in whichever form it is written."""
    async with services.database.as_caller(caller) as db:
        wanted = None
        if address is not None:
            country = await contacts.country(db, caller.organization_id)
            wanted = _forms(address, channel, country)
        return await suppressions.search(
            db,
            caller.organization_id,
            channel=channel,
            addresses=wanted,
            reason=reason,
            cursor=cursor,
            limit=limit,
        )


async def add(services: Services, caller: Caller, wanted: SuppressionIn) -> Row:
    """Put an address on the list; repeating this changes nothing."""
    organization_id = caller.organization_id
    async with services.database.as_caller(caller) as db:
        country = await contacts.country(db, organization_id)
    address = addresses.read(wanted.channel, wanted.address, country)
    if address is None:
        raise invalid([FieldError("address", addresses.invalid(wanted.channel, country))])
    key = addresses.key(wanted.channel, address)
    statement = _statement(caller, wanted.channel, key, wanted.reason, {"note": wanted.note})
    async with services.database.as_service(on_behalf=caller) as db:
        theirs = await inheriting.of_all_theirs(db, organization_id, statement)
        await suppressions.change(db, organization_id, theirs, auth_id=_auth_id(caller))
        row = await suppressions.find(db, organization_id, wanted.channel, key, wanted.reason)
    if row is None:
        raise Problem(409, "This suppression was lifted in the same moment: add it again.")
    return row


async def get(services: Services, caller: Caller, suppression_id: UUID) -> Row:
    """One suppression, with its evidence."""
    async with services.database.as_caller(caller) as db:
        row = await suppressions.get(db, caller.organization_id, suppression_id)
    return found("suppression", row)


def is_their_word(reason: str) -> bool:
    """Whether the recipient said so, or their provider for them: then only they themselves, or an
    owner or admin, may lift it."""
    return reason in inheriting.THEIR_WORD


def may_lift(caller: Caller, reason: str) -> bool:
    """Whether this caller may lift a suppression for this reason."""
    return not is_their_word(reason) or (isinstance(caller, Staff) and caller.may_administer)


async def lift(services: Services, caller: Caller, suppression_id: UUID) -> Row:
    """Lift a suppression, and return it; who lifted it is kept with the evidence.

    If staff or a service had suppressed somebody on WhatsApp, it is lifted for all their addresses;
    if the person had asked for it, only for this one.
    """
    row = await get(services, caller, suppression_id)
    if not may_lift(caller, row["reason"]):
        raise Problem(
            403,
            f"The recipient said so themselves ({row['reason']}): they take it back (START, or "
            "subscribing again), or an owner or admin does who has their word.",
        )
    statement = _statement(
        caller, row["channel"], row["address"], row["reason"], {}, is_lifted=True
    )
    is_ours = row["source"] == statement.source
    async with services.database.as_service(on_behalf=caller) as db:
        also = await inheriting.taken_back(db, caller.organization_id, statement) if is_ours else []
        lifted = [statement, *also]
        await suppressions.change(db, caller.organization_id, lifted, auth_id=_auth_id(caller))
    return row


def _auth_id(caller: Caller) -> UUID | None:
    return caller.auth_id if isinstance(caller, Staff) else None


def _forms(address: str, channel: Channel | None, country: str | None) -> list[str]:
    """Every form in which an address may be on the list."""
    channels = [channel] if channel else list(Channel)
    read = [(c, addresses.read(c, address, country) or address) for c in channels]
    return sorted({form for c, each in read for form in addresses.forms(c, each)})


def _statement(
    caller: Caller,
    channel: str,
    address: str,
    reason: str,
    detail: dict[str, Any],
    *,
    is_lifted: bool = False,
) -> Statement:
    who = (
        {"api_key": str(caller.id)}
        if isinstance(caller, ApiKey)
        else {"staff": str(caller.auth_id)}
    )
    given = {name: value for name, value in detail.items() if value is not None}
    return Statement(
        id=new_id(),
        channel=channel,
        address=address,
        reason=reason,
        is_lifted=is_lifted,
        source="api",
        detail={**given, **who},
    )
