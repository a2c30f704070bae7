"""/v1/suppressions: who must not be written to, and why."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web

from channels.model import Channel
from gateway import addresses
from gateway.api.endpoint import Call, Endpoint, respond
from gateway.api.shapes import suppressions as shapes
from gateway.api.shapes.base import Listed
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, invalid, not_found
from gateway.store import contacts, suppressions
from gateway.store.database import ApiKey, Staff
from gateway.store.suppressions import Statement
from webhooks.model import Reason

# What people themselves said, or their provider for them: only they, or an owner, take it back.
_THEIR_WORD = (Reason.STOP, Reason.COMPLAINT, Reason.UNSUBSCRIBE)


async def search(call: Call) -> web.Response:
    """One page of suppressions."""
    query: shapes.SuppressionQuery = call.query
    async with call.services.database.as_caller(call.caller) as db:
        wanted = None
        if query.address is not None:
            country = await contacts.country(db, call.organization_id)
            wanted = _forms(query.address, query.channel, country)
        page = await suppressions.search(
            db,
            call.organization_id,
            channel=query.channel,
            addresses=wanted,
            reason=query.reason,
            cursor=call.cursor,
            limit=query.limit,
        )
    return respond({"data": page.rows, "next_cursor": page.next_cursor})


async def add(call: Call) -> web.Response:
    """Put an address on the list; the same once more changes nothing."""
    wanted: shapes.SuppressionIn = call.body
    async with call.services.database.as_caller(call.caller) as db:
        country = await contacts.country(db, call.organization_id)
    address = addresses.read(wanted.channel, wanted.address, country)
    if address is None:
        raise invalid([FieldError("address", addresses.invalid(wanted.channel, country))])
    key = addresses.key(wanted.channel, address)
    async with call.services.database.as_service() as db:
        await suppressions.change(
            db,
            call.organization_id,
            [_statement(call, wanted.channel, key, wanted.reason, {"note": wanted.note})],
            auth_id=_auth_id(call),
        )
        row = await suppressions.find(db, call.organization_id, wanted.channel, key, wanted.reason)
    if row is None:
        raise Problem(409, "This suppression was lifted in the same moment: add it again.")
    return respond(row, 201, {"Location": f"/v1/suppressions/{row['id']}"})


async def get(call: Call) -> web.Response:
    """One suppression, with its evidence."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await suppressions.get(db, call.organization_id, call.id)
    if row is None:
        raise not_found("suppression")
    return respond(row)


async def remove(call: Call) -> web.Response:
    """Lift a suppression; who lifted it is kept with the evidence."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await suppressions.get(db, call.organization_id, call.id)
    if row is None:
        raise not_found("suppression")
    is_admin = isinstance(call.caller, Staff) and call.caller.may_administer
    if row["reason"] in _THEIR_WORD and not is_admin:
        raise Problem(
            403,
            f"The recipient said so themselves ({row['reason']}): they take it back (START, or "
            "subscribing again), or an owner or admin does who has their word.",
        )
    async with call.services.database.as_service() as db:
        await suppressions.change(
            db,
            call.organization_id,
            [_statement(call, row["channel"], row["address"], row["reason"], {}, is_lifted=True)],
            auth_id=_auth_id(call),
        )
    return web.Response(status=204)


def _auth_id(call: Call) -> UUID | None:
    return call.caller.auth_id if isinstance(call.caller, Staff) else None


def _forms(address: str, channel: Channel | None, country: str | None) -> list[str]:
    """Every form in which an address may be on the list."""
    channels = [channel] if channel else list(Channel)
    read = [(c, addresses.read(c, address, country) or address) for c in channels]
    return sorted({form for c, each in read for form in addresses.forms(c, each)})


def _statement(
    call: Call,
    channel: str,
    address: str,
    reason: str,
    detail: dict[str, Any],
    *,
    is_lifted: bool = False,
) -> Statement:
    caller = call.caller
    who = (
        {"api_key": str(caller.id)}
        if isinstance(caller, ApiKey)
        else {"staff": str(caller.auth_id)}
    )
    said = {name: value for name, value in detail.items() if value is not None}
    return Statement(
        id=new_id(),
        channel=channel,
        address=address,
        reason=reason,
        is_lifted=is_lifted,
        source="api",
        detail={**said, **who},
    )


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/suppressions",
        handler=search,
        summary="Addresses that must not be written to",
        query=shapes.SuppressionQuery,
        answer=Listed[shapes.Suppression],
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/suppressions",
        handler=add,
        status=201,
        summary="Write to an address no more",
        body=shapes.SuppressionIn,
        answer=shapes.Suppression,
        problems=(400, 409, 413, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/suppressions/{id}",
        handler=get,
        summary="One suppression with its evidence",
        answer=shapes.Suppression,
        problems=(404,),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/suppressions/{id}",
        handler=remove,
        status=204,
        summary="Lift a suppression",
        problems=(403, 404),
    ),
]
