"""/v1/templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from channels import email, sms
from channels.model import Channel
from channels.render import RendererBusy, RenderError
from gateway.api.endpoint import Call, Endpoint, respond
from gateway.api.shapes import options
from gateway.api.shapes import templates as shapes
from gateway.api.shapes.base import Listed
from gateway.compose import ComposeError, Template, compose_template
from gateway.draft import shown
from gateway.ids import new_id
from gateway.problems import FieldError, Problem, invalid, not_found
from gateway.store import templates
from gateway.store.database import ConflictError


async def search(call: Call) -> web.Response:
    """One page of templates."""
    query: shapes.TemplateQuery = call.query
    async with call.services.database.as_caller(call.caller) as db:
        page = await templates.search(
            db,
            call.organization_id,
            type_=query.type,
            name=query.name,
            is_active=query.is_active,
            cursor=call.cursor,
            limit=query.limit,
        )
    return respond({"data": [_shown(row) for row in page.rows], "next_cursor": page.next_cursor})


async def create(call: Call) -> web.Response:
    """Store a template whose source compiles; its variables are read from it."""
    wanted: shapes.TemplateIn = call.body
    columns = wanted.model_dump(mode="json")
    columns["variables"] = await _variables(call, wanted.type, columns)
    template_id = new_id()
    try:
        async with call.services.database.as_caller(call.caller) as db:
            await templates.insert(db, call.organization_id, template_id, columns)
            row = await templates.get(db, call.organization_id, template_id)
    except ConflictError:
        raise _taken(wanted.name, wanted.type) from None
    return respond(_shown(row), 201, {"Location": f"/v1/templates/{template_id}"})


async def get(call: Call) -> web.Response:
    """One template."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await templates.get(db, call.organization_id, call.id)
    if row is None:
        raise not_found("template")
    return respond(_shown(row))


async def change(call: Call) -> web.Response:
    """Change a template; its variables follow its source."""
    wanted: shapes.TemplatePatch = call.body
    columns = wanted.model_dump(mode="json", exclude_unset=True)
    nulls = [
        name
        for name in ("name", "type", "content", "is_active", "tags")
        if name in columns and columns[name] is None
    ]
    if nulls:
        raise invalid([FieldError(name, "cannot be null") for name in nulls])
    async with call.services.database.as_caller(call.caller) as db:
        old = await templates.get(db, call.organization_id, call.id)
    if old is None:
        raise not_found("template")
    new = old | columns
    columns["variables"] = await _variables(call, Channel(new["type"]), new)
    try:
        async with call.services.database.as_caller(call.caller) as db:
            await templates.update(db, call.organization_id, call.id, columns)
            row = await templates.get(db, call.organization_id, call.id)
    except ConflictError:
        raise _taken(new["name"], new["type"]) from None
    if row is None:
        raise not_found("template")
    return respond(_shown(row))


async def delete(call: Call) -> web.Response:
    """Delete a template; messages that were made from it stay."""
    async with call.services.database.as_caller(call.caller) as db:
        if not await templates.delete(db, call.organization_id, call.id):
            raise not_found("template")
    return web.Response(status=204)


async def render(call: Call) -> web.Response:
    """Render a template with variables; nothing is stored."""
    async with call.services.database.as_caller(call.caller) as db:
        row = await templates.get(db, call.organization_id, call.id)
    if row is None:
        raise not_found("template")
    template = Template(
        id=row["id"],
        channel=Channel(row["type"]),
        subject=row["subject"],
        source=row["content"],
        options=row["options"] or {},
    )
    try:
        content = await compose_template(call.services.renderer, template, call.body.variables)
    except ComposeError as error:
        raise invalid(error.errors) from None
    measured = sms.measure(content.body) if template.channel is Channel.SMS else None
    return respond(
        {
            "parts": shown(content),
            "encoding": measured.encoding if measured else None,
            "segments": measured.segments if measured else None,
            "forced_by": measured.forced_by if measured else None,
        }
    )


async def _variables(call: Call, channel: Channel, columns: Mapping[str, Any]) -> list[str]:
    """What the sources use; raises `Problem` 422 with line and reason."""
    subject = columns["subject"]
    errors = options.check(channel, columns["options"])
    if subject is not None and channel is not Channel.EMAIL:
        errors.append(FieldError("subject", "belongs to e-mail templates only"))
    if subject is None and channel is Channel.EMAIL:
        errors.append(FieldError("subject", "is missing: an e-mail has one"))
    is_html = channel is Channel.EMAIL and email.looks_like_html(columns["content"])
    sources = [("content", columns["content"], is_html)]
    if subject is not None:
        sources.append(("subject", subject, False))
    sources += [(*source, False) for source in options.sources(channel, columns["options"])]
    used: set[str] = set()
    for name, source, html in sources:
        try:
            used |= set((await call.services.renderer.analyse(source, html=html)).variables)
        except RendererBusy as busy:
            raise Problem(503, str(busy), headers={"Retry-After": "1"}) from None
        except RenderError as error:
            errors.append(FieldError(name, str(error)))
    if errors:
        raise invalid(errors)
    return sorted(used)


def _taken(name: str, channel: str) -> Problem:
    return Problem(409, f"There is a {channel} template with the name {name!r} already.")


def _shown(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row or None that was checked
    return {
        **row,
        "variables": row["variables"] or [],
        "tags": row["tags"] or [],
        "is_active": row["is_active"] is not False,
        "usage_count": row["usage_count"] or 0,
    }


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/templates",
        handler=search,
        summary="Find templates",
        query=shapes.TemplateQuery,
        answer=Listed[shapes.Template],
        problems=(422,),
    ),
    Endpoint(
        method="POST",
        path="/v1/templates",
        handler=create,
        summary="Create a template",
        status=201,
        body=shapes.TemplateIn,
        answer=shapes.Template,
        problems=(400, 409, 413, 422),
    ),
    Endpoint(
        method="GET",
        path="/v1/templates/{id}",
        handler=get,
        summary="One template",
        answer=shapes.Template,
        problems=(404,),
    ),
    Endpoint(
        method="PATCH",
        path="/v1/templates/{id}",
        handler=change,
        summary="Change a template",
        body=shapes.TemplatePatch,
        answer=shapes.Template,
        problems=(400, 404, 409, 413, 422),
    ),
    Endpoint(
        method="DELETE",
        path="/v1/templates/{id}",
        handler=delete,
        summary="Delete a template",
        status=204,
        problems=(404,),
    ),
    Endpoint(
        method="POST",
        path="/v1/templates/{id}/render",
        handler=render,
        summary="Render a template",
        body=shapes.RenderRequest,
        answer=shapes.RenderAnswer,
        problems=(400, 404, 413, 422),
    ),
]
