"""Changes to a conversation or message that take one button."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from aiohttp import web

from gateway.accept import canceling
from gateway.inbox.talk import listing, page, thread
from gateway.inbox.talk.view import is_sent_again
from gateway.inbox.visit import Visit
from gateway.manage import colleagues
from gateway.problems import Problem
from gateway.store import desk
from gateway.store.errors import ConflictError


async def read(visit: Visit) -> web.StreamResponse:
    """Mark a conversation as read, or as unread."""
    form = await visit.form()
    is_read = form.get("do") != "unread"
    await page.changed(visit, form, {"read": is_read})
    if visit.is_fragment:
        return web.Response(status=204)
    return listing.back(visit, "" if not is_read else f"/c/{visit.id}")


async def change(visit: Visit) -> web.StreamResponse:
    """Close, reopen or assign a conversation; it stays open if they have written meanwhile."""
    form = await visit.form()
    changes: dict[str, Any] = {}
    if form.get("status") in ("open", "closed"):
        changes["status"] = form["status"]
    if "assigned_to" in form:
        given = form["assigned_to"]
        colleague = _id(given) if given else None
        if not await colleagues.can_be_given(visit.services.database, visit.staff, colleague):
            raise _gone()
        changes["assigned_to"] = colleague
    try:
        is_done = await page.changed(visit, form, changes)
    except ConflictError:  # deleted meanwhile
        raise _gone() from None
    return listing.back(visit, f"/c/{visit.id}", done="saved" if is_done else "newer")


async def cancel(visit: Visit) -> web.StreamResponse:
    """Cancel a waiting message."""
    where = await thread.at(visit, visit.id)
    await canceling.cancel(visit.services.database, visit.staff, visit.id, source="inbox")
    return listing.back(visit, f"/c/{where}", done="canceled")


async def retry(visit: Visit) -> web.StreamResponse:
    """Send a failed message again, but only once, however often staff press the button.

    If the new message was canceled, the failed one can be sent once more.
    """
    where = await thread.at(visit, visit.id)
    if not await _is_sent_again(visit):
        try:
            await visit.services.accepting.retry(visit.staff, visit.id)
        except Problem:
            if not await _is_sent_again(visit):  # a colleague was quicker
                raise
    return listing.back(visit, f"/c/{where}", done="again")


async def _is_sent_again(visit: Visit) -> bool:
    async with visit.services.database.as_caller(visit.staff) as db:
        found = await desk.retries(db, visit.staff.organization_id, [visit.id])
    return is_sent_again(found.get(visit.id, []))


def _gone() -> Problem:
    return Problem(422, "This colleague is no longer a member of staff.")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Problem(422, "This colleague is not known.") from None
