"""The page that explains what happened to one message, with its timeline."""

from __future__ import annotations

from aiohttp import web

from gateway.inbox.talk import listing, thread
from gateway.inbox.visit import Visit
from gateway.problems import Problem
from gateway.store import conversations, why
from gateway.why import explain


async def show(visit: Visit) -> web.StreamResponse:
    """The page of one message."""
    organization_id = visit.staff.organization_id
    async with visit.services.database.as_caller(visit.staff) as db:
        story = await why.story(db, organization_id, visit.id)
        if story is None:
            raise Problem(404, "There is no such message, or it is another organization's.")
        message = await thread.one(visit, db, visit.id)
        conversation_id = story.message["conversation_id"]
        row = await conversations.get(db, organization_id, conversation_id)
    return visit.page(
        "talk/why.html",
        message=message,
        row=row,
        name=listing.name_of(row) if row else "",
        explanation=explain(story, visit.clock.zone),
    )
