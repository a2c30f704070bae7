"""/v1/senders: the addresses to send from, for owners and admins."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway import registry
from gateway.api.endpoint import Call, Endpoint, respond
from gateway.api.shapes import accounts as shapes
from gateway.api.shapes.base import Listed
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, invalid, not_found
from gateway.store import accounts
from gateway.store.database import ConflictError

Row = dict[str, Any]


async def search_senders(call: Call) -> web.Response:
    """One page of senders."""
    query: shapes.SenderQuery = call.query
    async with call.services.database.as_caller(call.caller) as db:
        page = await accounts.list_senders(
            db, call.organization_id, query.channel, call.cursor, query.limit
        )
    return respond({"data": page.rows, "next_cursor": page.next_cursor})


async def create_sender(call: Call) -> web.Response:
    """Store an address to send from; a default takes the place of the one before."""
    wanted: shapes.SenderIn = call.body
    sender_id = new_id()
    try:
        async with call.services.database.as_caller(call.caller) as db:
            account = await accounts.get_account(db, call.organization_id, wanted.account_id)
            if account is None:
                raise invalid([FieldError("account_id", "is no account of your organization")])
            address = registry.sender_address(account["provider"], wanted.channel, wanted.address)
            await accounts.insert_sender(
                db,
                sender_id,
                call.organization_id,
                wanted.account_id,
                wanted.channel,
                address,
                is_default=wanted.is_default,
                rate=wanted.rate,
            )
            row = await accounts.get_sender(db, call.organization_id, sender_id)
    except registry.NotPossibleError as error:
        raise invalid([FieldError(*problem) for problem in error.problems]) from None
    except ConflictError:
        raise Problem(409, "Your organization has this sender already.") from None
    return respond(row, 201, {"Location": f"/v1/senders/{sender_id}"})


async def get_sender(call: Call) -> web.Response:
    """One sender."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_sender(db, call.organization_id, call.id)
    if row is None:
        raise not_found("sender")
    return respond(row)


async def change_sender(call: Call) -> web.Response:
    """Change default, use or rate; a rate of null means none."""
    wanted: shapes.SenderPatch = call.body
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_sender(db, call.organization_id, call.id)
        if row is None:
            raise not_found("sender")
        await accounts.update_sender(
            db,
            call.organization_id,
            call.id,
            row["channel"],
            is_default=wanted.is_default,
            is_active=wanted.is_active,
            rate=wanted.rate,
            set_rate="rate" in wanted.model_fields_set,
        )
        row = await accounts.get_sender(db, call.organization_id, call.id)
    return respond(row)


async def delete_sender(call: Call) -> web.Response:
    """Delete a sender; what waits to be sent from it will fail."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await accounts.delete_sender(db, call.organization_id, call.id):
            raise not_found("sender")
    return web.Response(status=204)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/senders",
        handler=search_senders,
        admin=True,
        summary="Senders",
        query=shapes.SenderQuery,
        answer=Listed[shapes.Sender],
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/senders",
        handler=create_sender,
        admin=True,
        status=201,
        summary="Add a sender",
        body=shapes.SenderIn,
        answer=shapes.Sender,
        problems=(400, 409, 413, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/senders/{id}",
        handler=get_sender,
        admin=True,
        summary="One sender",
        answer=shapes.Sender,
        problems=(404,),
    ),
    Endpoint(
        method="PATCH",
        path="/v1/senders/{id}",
        handler=change_sender,
        admin=True,
        summary="Change a sender",
        body=shapes.SenderPatch,
        answer=shapes.Sender,
        problems=(400, 404, 413, 422),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/senders/{id}",
        handler=delete_sender,
        admin=True,
        summary="Delete a sender",
        status=204,
        problems=(404,),
    ),
]
