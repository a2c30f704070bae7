"""/v1/api-keys, for owners and admins; a key is shown only once."""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.manage.keys import new_key
from gateway.problems import found, not_found
from gateway.shapes import accounts as shapes
from gateway.shapes.base import Listed, PageQuery
from gateway.store import accounts
from gateway.web.http import respond, respond_page


async def search_keys(call: Call) -> web.Response:
    """One page of API keys, without the keys."""
    async with call.services.database.as_caller(call.caller) as db:
        page = await accounts.list_api_keys(db, call.organization_id, call.cursor, call.query.limit)
    return respond_page(page)


async def create_key(call: Call) -> web.Response:
    """Make a key; this answer is the only one that shows it."""
    wanted: shapes.ApiKeyIn = call.body
    async with call.services.database.as_caller(call.caller) as db:
        made = await new_key(db, call.organization_id, wanted.name, is_test=wanted.test)
        row = await accounts.get_api_key(db, call.organization_id, made.id)
    shown = {**found("API key", row), "key": made.key}
    return respond(shown, 201, {"Location": f"/v1/api-keys/{made.id}"})


async def get_key(call: Call) -> web.Response:
    """One API key, without the key."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await accounts.get_api_key(db, call.organization_id, call.id)
    return respond(found("API key", row))


async def revoke_key(call: Call) -> web.Response:
    """Revoke a key for good; its row stays, with the time."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await accounts.revoke_api_key(db, call.organization_id, call.id):
            raise not_found("API key")
    call.services.keyring.forget()  # in this process the key stops working before the answer
    return web.Response(status=204)


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/api-keys",
        handler=search_keys,
        admin=True,
        summary="API keys",
        query=PageQuery,
        answer=Listed[shapes.ApiKey],
    ),
    Endpoint(
        method="POST",
        path="/v1/api-keys",
        handler=create_key,
        admin=True,
        status=201,
        summary="Make an API key",
        body=shapes.ApiKeyIn,
        answer=shapes.NewApiKey,
    ),
    Endpoint(
        method="GET",
        path="/v1/api-keys/{id}",
        handler=get_key,
        admin=True,
        summary="One API key",
        answer=shapes.ApiKey,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/api-keys/{id}",
        handler=revoke_key,
        admin=True,
        summary="Revoke an API key",
        status=204,
    ),
]
