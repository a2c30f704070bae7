"""/v1/leads and /v1/clients: the same handlers for both kinds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from gateway import addresses, placing
from gateway.api.endpoint import Call, Endpoint
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, found, invalid, not_found
from gateway.shapes import contacts as shapes
from gateway.shapes.base import Listed
from gateway.store import contacts
from gateway.store.contacts import Kind
from gateway.store.errors import ConflictError
from gateway.store.values import Row
from gateway.web.http import respond, respond_page

Handler = Callable[[Call], Awaitable[web.Response]]


def _search(kind: Kind) -> Handler:
    async def search(call: Call) -> web.Response:
        query = call.query
        status = query.status if kind == "lead" else query.membership_status
        async with call.services.database.as_caller(call.caller) as db:
            page = await contacts.search(
                db,
                kind,
                call.organization_id,
                status=status,
                email=query.email,
                cursor=call.cursor,
                limit=query.limit,
            )
        return respond_page(page)

    return search


def _create(kind: Kind) -> Handler:
    async def create(call: Call) -> web.Response:
        contact_id = new_id()
        columns = call.body.model_dump(mode="json", exclude_unset=True)
        try:
            async with call.services.database.as_caller(call.caller) as db:
                await contacts.insert(db, kind, call.organization_id, contact_id, columns)
                row = found(kind, await contacts.get(db, kind, call.organization_id, contact_id))
                country = await contacts.country(db, call.organization_id)
        except ConflictError as conflict:
            raise _refused(conflict) from None
        await _adopt(call, kind, row, country)
        return respond(row, 201, {"Location": f"/v1/{kind}s/{contact_id}"})

    return create


def _get(kind: Kind) -> Handler:
    async def get(call: Call) -> web.Response:
        async with call.services.database.as_caller(call.caller) as db:
            row = await contacts.get(db, kind, call.organization_id, call.id)
        return respond(found(kind, row))

    return get


def _change(kind: Kind) -> Handler:
    async def change(call: Call) -> web.Response:
        columns: dict[str, Any] = call.body.model_dump(mode="json", exclude_unset=True)
        try:
            async with call.services.database.as_caller(call.caller) as db:
                if not await contacts.update(db, kind, call.organization_id, call.id, columns):
                    raise not_found(kind)
                row = found(kind, await contacts.get(db, kind, call.organization_id, call.id))
                country = await contacts.country(db, call.organization_id)
        except ConflictError as conflict:
            raise _refused(conflict) from None
        await _adopt(call, kind, row, country)
        return respond(row)

    return change


async def _adopt(call: Call, kind: Kind, row: Row, country: str | None) -> None:
    """Link earlier conversations with a contact's addresses to the contact."""
    await placing.adopt(
        call.services.database,
        call.organization_id,
        kind,
        row["id"],
        addresses.all_of(row, country),
    )


def _refused(conflict: ConflictError) -> Problem:
    if "assigned_to" in conflict.constraint:
        return invalid([FieldError("assigned_to", "is not a member of staff of your organization")])
    # The schema makes a client's address unique across all organizations: saying more
    # than "cannot be used" would tell one tenant about another's clients.
    return Problem(409, "This e-mail address cannot be used for a client.")


def _endpoints(
    kind: Kind,
    new: type[BaseModel],
    patch: type[BaseModel],
    query: type[BaseModel],
    shape: type[BaseModel],
    page: type[BaseModel],
) -> list[Endpoint]:
    path = f"/v1/{kind}s"
    return [
        Endpoint(
            method="GET",
            path=path,
            handler=_search(kind),
            summary=f"Find {kind}s",
            query=query,
            answer=page,
        ),
        Endpoint(
            method="POST",
            path=path,
            handler=_create(kind),
            summary=f"Create a {kind}",
            status=201,
            body=new,
            answer=shape,
            conflicts=True,
        ),
        Endpoint(
            method="GET",
            path=f"{path}/{{id}}",
            handler=_get(kind),
            summary=f"One {kind}",
            answer=shape,
        ),
        Endpoint(
            method="PATCH",
            path=f"{path}/{{id}}",
            handler=_change(kind),
            summary=f"Change a {kind}",
            body=patch,
            answer=shape,
            conflicts=True,
        ),
    ]


ENDPOINTS = [
    *_endpoints(
        "lead",
        shapes.LeadIn,
        shapes.LeadPatch,
        shapes.LeadQuery,
        shapes.Lead,
        Listed[shapes.Lead],
    ),
    *_endpoints(
        "client",
        shapes.ClientIn,
        shapes.ClientPatch,
        shapes.ClientQuery,
        shapes.Client,
        Listed[shapes.Client],
    ),
]
