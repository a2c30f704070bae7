"""/v1/templates."""

from __future__ import annotations

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.manage import templates
from gateway.shapes import templates as shapes
from gateway.shapes.base import Listed
from gateway.web.http import respond, respond_page


async def search(call: Call) -> web.Response:
    """One page of templates."""
    query: shapes.TemplateQuery = call.query
    page = await templates.search(
        call.services,
        call.caller,
        type_=query.type,
        name=query.name,
        is_active=query.is_active,
        cursor=call.cursor,
        limit=query.limit,
    )
    return respond_page(page)


async def create(call: Call) -> web.Response:
    """Store a template whose source compiles; its variables are read from it."""
    row = await templates.create(call.services, call.caller, call.body)
    return respond(row, 201, {"Location": f"/v1/templates/{row['id']}"})


async def get(call: Call) -> web.Response:
    """One template."""
    return respond(await templates.get(call.services, call.caller, call.id))


async def change(call: Call) -> web.Response:
    """Change a template; its variables are read from the new source."""
    return respond(await templates.change(call.services, call.caller, call.id, call.body))


async def delete(call: Call) -> web.Response:
    """Delete a template; messages that were made from it stay."""
    await templates.delete(call.services, call.caller, call.id)
    return web.Response(status=204)


async def render(call: Call) -> web.Response:
    """Render a template with variables; nothing is stored."""
    row = await templates.get(call.services, call.caller, call.id)
    return respond(await templates.render(call.services, call.caller, row, call.body.variables))


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/templates",
        handler=search,
        summary="Find templates",
        query=shapes.TemplateQuery,
        answer=Listed[shapes.Template],
    ),
    Endpoint(
        method="POST",
        path="/v1/templates",
        handler=create,
        summary="Create a template",
        status=201,
        body=shapes.TemplateIn,
        answer=shapes.Template,
        conflicts=True,
    ),
    Endpoint(
        method="GET",
        path="/v1/templates/{id}",
        handler=get,
        summary="One template",
        answer=shapes.Template,
    ),
    Endpoint(
        method="PATCH",
        path="/v1/templates/{id}",
        handler=change,
        summary="Change a template",
        body=shapes.TemplatePatch,
        answer=shapes.Template,
        conflicts=True,
    ),
    Endpoint(
        method="DELETE",
        path="/v1/templates/{id}",
        handler=delete,
        summary="Delete a template",
        status=204,
    ),
    Endpoint(
        method="POST",
        path="/v1/templates/{id}/render",
        handler=render,
        summary="Render a template",
        body=shapes.RenderRequest,
        answer=shapes.RenderAnswer,
    ),
]
