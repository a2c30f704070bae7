"""The three panes: the list, the conversation, and the contact."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from gateway.accept.known import as_uuid
from gateway.inbox.talk import composing, contact, listing, thread
from gateway.inbox.visit import Visit
from gateway.store import conversations, desk

_DONE = {
    **composing.TAKEN,
    "canceled": "The message is canceled.",
    "again": "The message is being sent again.",
    "saved": "Saved.",
    "newer": "They have written since you opened this page, so it was not closed.",
    "meanwhile": "This was said with them meanwhile. What you wrote was not sent: it is below.",
    "apart": "The address now has a conversation of its own: this one.",
    "merged": "Both are one conversation now.",
    "lifted": "They can be written to again.",
    "suppressed": "Nothing goes to that address any more.",
}


def done(visit: Visit) -> str | None:
    """The notice of what was done on the page before."""
    return _DONE.get(visit.request.query.get("done", ""))


def kept(visit: Visit) -> dict[str, str]:
    """What a page that is elsewhere by now takes along: the list's filters, and the notice."""
    query = visit.request.query
    notice = {"done": query["done"]} if done(visit) else {}
    return listing.Wanted.of(query).chosen | notice


async def home(visit: Visit) -> web.StreamResponse:
    """The list; for htmx only its rows."""
    context = await listing.context(visit, visit.cursor)
    if visit.is_fragment:
        return visit.page("talk/rows.html", **context)
    return visit.page("talk/home.html", **context)


async def show(visit: Visit) -> web.StreamResponse:
    """A conversation; for htmx the messages before a cursor."""
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        if visit.is_fragment:
            said = await thread.context(visit, db, row)
            return visit.page("talk/days.html", row=row, **said)
    if row["id"] != visit.id:
        # It was merged into another one.
        return visit.redirect(f"/c/{row['id']}", **kept(visit), was=str(visit.id))
    return await whole(visit)


async def found(visit: Visit) -> web.StreamResponse:
    """Redirect from the list to the latest message of a conversation that the words find."""
    wanted = listing.Wanted.of(visit.request.query)
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        message_id = await thread.found(visit, db, row, wanted.q) if wanted.q else None
    query = wanted.chosen
    if row["id"] != visit.id:
        query["was"] = str(visit.id)  # it was merged into another one
    path = f"/c/{row['id']}"
    if message_id is None:
        return visit.redirect(path, **query)
    return visit.redirect(path, f"m-{message_id}", **query, at=str(message_id))


async def whole(
    visit: Visit, *, status: int = 200, compose: composing.Composing | None = None
) -> web.Response:
    """The page of a conversation, with what is being written there."""
    services, staff = visit.services, visit.staff
    listed = await listing.context(visit)
    async with services.database.as_caller(staff) as db:
        row = await thread.known(visit, db)
        said = await thread.context(visit, db, row)
        form = compose or await composing.begin(visit, db, row)
        who = await contact.context(visit, db, row, form.further)
        was = await thread.merged(visit, db, row)
    return visit.page(
        "talk/conversation.html",
        status=status,
        row=row,
        name=listing.name_of(row),
        composing=form,
        was=was,
        done=done(visit),
        **(listed | said | who),
    )


async def message(visit: Visit) -> web.StreamResponse:
    """One message as in the thread: requested when it changes while the page is open."""
    async with visit.services.database.as_caller(visit.staff) as db:
        shown = await thread.one(visit, db, visit.id)
    return visit.page("talk/one.html", message=shown)


async def changed(visit: Visit, form: Mapping[str, str], changes: dict[str, Any]) -> bool:
    """Change a conversation; False if it was to be closed, but the contact has written meanwhile.

    The form says which message is the newest on its page (`seen`): anything that the contact has
    written since then stays unread, and keeps the conversation open.
    """
    organization_id = visit.staff.organization_id
    async with visit.services.database.as_caller(visit.staff) as db:
        row = await thread.known(visit, db)
        if "seen" in form:
            await conversations.hold(db, organization_id, row["id"])
            seen = as_uuid(form["seen"])
            unseen = await desk.written_since(db, organization_id, row["id"], seen)
            if unseen and changes.get("status") == "closed":
                return False
            changes |= {"unseen": unseen}
        await conversations.change(db, organization_id, row["id"], changes)
    return True
