"""/v1/senders: the addresses to send from, for owners and admins."""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.manage import senders
from gateway.shapes import accounts as shapes
from gateway.shapes.base import Listed
from gateway.web.http import respond, respond_page


async def search_senders(call: Call) -> web.Response:
    """One page of senders."""
    query: shapes.SenderQuery = call.query
    page = await senders.search(call.services, call.caller, query.channel, call.cursor, query.limit)
    return respond_page(page)


async def create_sender(call: Call) -> web.Response:
    """Store an address to send from; a new default replaces the old one."""
    row = await senders.create(call.services, call.caller, call.body)
    return respond(row, 201, {"Location": f"/v1/senders/{row['id']}"})


async def get_sender(call: Call) -> web.Response:
    """One sender."""
    return respond(await senders.get(call.services, call.caller, call.id))


async def change_sender(call: Call) -> web.Response:
    """Change whether it is the default or in use, or its rate; a rate of null means no limit."""
    return respond(await senders.change(call.services, call.caller, call.id, call.body))


async def delete_sender(call: Call) -> web.Response:
    """Delete a sender; messages that wait to be sent from it will fail."""
    await senders.delete(call.services, call.caller, call.id)
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
        conflicts=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/senders/{id}",
        handler=get_sender,
        admin=True,
        summary="One sender",
        answer=shapes.Sender,
    ),
    Endpoint(
        method="PATCH",
        path="/v1/senders/{id}",
        handler=change_sender,
        admin=True,
        summary="Change a sender",
        body=shapes.SenderPatch,
        answer=shapes.Sender,
        conflicts=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/senders/{id}",
        handler=delete_sender,
        admin=True,
        summary="Delete a sender",
        status=204,
    ),
]
