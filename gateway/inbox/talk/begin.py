"""Writing the first message to a lead or client."""

from __future__ import annotations

from aiohttp import web

from gateway.inbox.talk import composing, contact, listing, page, person
from gateway.inbox.visit import Visit
from gateway.store import conversations


async def find(visit: Visit) -> web.StreamResponse:
    """Search for somebody to write to."""
    q = person.asked(visit)
    async with visit.services.database.as_caller(visit.staff) as db:
        found = await person.search(visit, db, q)
    wanted = listing.Wanted.of(visit.request.query)
    return visit.page("talk/find.html", q=q, found=found, wanted=wanted)


async def show(visit: Visit) -> web.StreamResponse:
    """The page for the first message to a lead or client; redirects if they have a conversation."""
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await person.known(visit, db)
    if row["conversation_id"] is not None:
        return visit.redirect(f"/c/{row['conversation_id']}", **page.kept(visit))
    return await whole(visit)


async def whole(
    visit: Visit, *, status: int = 200, compose: composing.Composing | None = None
) -> web.Response:
    """The page of a lead or client without a conversation, with what is being written."""
    organization_id = visit.staff.organization_id
    listed = await listing.context(visit)
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await person.known(visit, db)
        form = compose or await composing.begin(visit, db, row)
        stops = await contact.stops(visit, db, row["addresses"])
        cards = await contact.cards(db, organization_id, row)
        elsewhere = {
            address: await conversations.get(db, organization_id, held)
            for address, held in row["elsewhere"].items()
        }
    return visit.page(
        "talk/begin.html",
        status=status,
        row=row,
        name=listing.name_of(row),
        composing=form,
        done=page.done(visit),
        cards=cards,
        elsewhere=[
            (address, held["id"], listing.name_of(held))
            for address, held in elsewhere.items()
            if held is not None
        ],
        **(listed | stops),
    )
