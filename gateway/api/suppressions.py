"""/v1/suppressions: who must not be written to, and why."""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.manage import suppressions
from gateway.shapes import suppressions as shapes
from gateway.shapes.base import Listed
from gateway.web.http import respond, respond_page


async def search(call: Call) -> web.Response:
    """One page of suppressions."""
    query: shapes.SuppressionQuery = call.query
    page = await suppressions.search(
        call.services,
        call.caller,
        channel=query.channel,
        address=query.address,
        reason=query.reason,
        cursor=call.cursor,
        limit=query.limit,
    )
    return respond_page(page)


async def add(call: Call) -> web.Response:
    """Put an address on the list; repeating this changes nothing."""
    row = await suppressions.add(call.services, call.caller, call.body)
    return respond(row, 201, {"Location": f"/v1/suppressions/{row['id']}"})


async def get(call: Call) -> web.Response:
    """One suppression, with its evidence."""
    return respond(await suppressions.get(call.services, call.caller, call.id))


async def remove(call: Call) -> web.Response:
    """Lift a suppression; who lifted it is kept with the evidence."""
    await suppressions.lift(call.services, call.caller, call.id)
    return web.Response(status=204)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/suppressions",
        handler=search,
        summary="Addresses that must not be written to",
        query=shapes.SuppressionQuery,
        answer=Listed[shapes.Suppression],
    ),
    Endpoint(
        method="POST",
        path="/v1/suppressions",
        handler=add,
        status=201,
        summary="Write to an address no more",
        body=shapes.SuppressionIn,
        answer=shapes.Suppression,
        conflicts=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/suppressions/{id}",
        handler=get,
        summary="One suppression with its evidence",
        answer=shapes.Suppression,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/suppressions/{id}",
        handler=remove,
        status=204,
        summary="Lift a suppression",
    ),
]
