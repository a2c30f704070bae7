"""/v1/messages/{id}/why."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from gateway.api.endpoint import Call, Endpoint
from gateway.problems import found
from gateway.shapes import why as shapes
from gateway.store import why as stored
from gateway.web.http import respond
from gateway.why import explain


async def why(call: Call) -> web.Response:
    """What happened to one message, and what to do, in plain words."""
    async with call.services.database.as_caller(call.caller) as db:
        story = found("message", await stored.story(db, call.organization_id, call.id))
    return respond(asdict(explain(story)))


ENDPOINTS = [
    Endpoint(
        method="GET",
        path="/v1/messages/{id}/why",
        handler=why,
        summary="What became of a message and what to do, in plain words",
        answer=shapes.Explanation,
    ),
]
