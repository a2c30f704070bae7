"""The messages of a conversation, page by page, oldest at the top, with a line for each day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any
from uuid import UUID

from gateway.accept.known import as_uuid
from gateway.inbox.talk import person, view
from gateway.inbox.talk.kinds import media_ids
from gateway.inbox.talk.view import Shown
from gateway.inbox.visit import Visit
from gateway.problems import Problem
from gateway.store import conversations, desk, media, messages
from gateway.store.database import Connection
from gateway.store.messages import MessageFilter
from gateway.store.paging import MOST_BYTES, Cursor, Page
from gateway.store.searching import SearchError
from gateway.store.values import Row

_LIMIT = 40
# If a page shows a message that was searched for: at least `_BEFORE` messages come before it, and
# `_BEHIND` - 1 after it.
_BEFORE, _BEHIND = 5, 11
# Pages with one of these in their query may not have the latest messages.
PAST = frozenset({"at", "cursor"})


async def known(visit: Visit, db: Connection) -> Row:
    """The conversation in the path, or the one that it was merged into; raises `Problem` 404."""
    row = await conversations.get(db, visit.staff.organization_id, visit.id)
    if row is None:
        raise Problem(404, "There is no such conversation, or it is another organization's.")
    return row


async def whom(visit: Visit, db: Connection) -> Row:
    """The conversation in the path, or the lead or client in it."""
    if person.is_meant(visit):
        return await person.known(visit, db)
    return await known(visit, db)


async def merged(visit: Visit, db: Connection, row: Row) -> UUID | None:
    """The conversation in the query (`was`), but only if it was merged into this one.

    Its draft moves here. The check keeps a forged link from moving drafts of other conversations.
    """
    try:
        was = UUID(visit.request.query.get("was", ""))
    except ValueError:
        return None
    now = await conversations.current(db, visit.staff.organization_id, was)
    return was if now == row["id"] != was else None


async def context(visit: Visit, db: Connection, row: Row) -> dict[str, Any]:
    """A page of the thread: the latest messages, those before a cursor, or those around `at`.

    `is_past`: there are later messages.
    """
    at = None if visit.cursor else as_uuid(visit.request.query.get("at", ""))
    cursor = visit.cursor or await _around(visit, db, row, at)
    page = await _page(visit, db, row, cursor)
    if at and all(each["id"] != at for each in page.rows):
        # The later messages are so long that they fill the page: then the page ends with `at`.
        behind = await desk.further_on(db, visit.staff.organization_id, row["id"], at, 1)
        if behind is not None:
            cursor, page = behind, await _page(visit, db, row, behind)
    rows = page.rows[::-1]
    return {
        "is_past": cursor is not None,
        "days": by_day(await shown(visit, db, rows), visit.clock.zone),
        "older": page.next_cursor,
        "last_id": rows[-1]["id"] if rows else None,
    }


async def _page(visit: Visit, db: Connection, row: Row, cursor: Cursor | None) -> Page:
    return await messages.search(
        db,
        visit.staff.organization_id,
        MessageFilter(conversation_id=row["id"]),
        cursor,
        _LIMIT,
        most_bytes=MOST_BYTES,
    )


async def _around(visit: Visit, db: Connection, row: Row, at: UUID | None) -> Cursor | None:
    """The cursor of the page that has the message `at`; None if that is the latest page."""
    if at is None:
        return None
    where = (db, visit.staff.organization_id, row["id"], at)
    if await desk.further_on(*where, _LIMIT - _BEFORE) is None:
        return None
    return await desk.further_on(*where, _BEHIND)


async def found(visit: Visit, db: Connection, row: Row, q: str) -> UUID | None:
    """The latest message that the words find; None if none is, or it is the conversation's last."""
    try:
        page = await messages.search(
            db,
            visit.staff.organization_id,
            MessageFilter(conversation_id=row["id"], q=q),
            None,
            1,
            most_bytes=MOST_BYTES,
        )
    except SearchError:
        return None
    newest = page.rows[0]["id"] if page.rows else None
    return None if newest == row["last_message_id"] else newest


async def one(visit: Visit, db: Connection, message_id: UUID) -> Shown:
    """One message; raises `Problem` 404."""
    row = await messages.get(db, visit.staff.organization_id, message_id)
    if row is None:
        raise Problem(404, "There is no such message, or it is another organization's.")
    return (await shown(visit, db, [row]))[0]


async def shown(visit: Visit, db: Connection, rows: Sequence[Row]) -> list[Shown]:
    """Messages as they are shown, with their files and retries."""
    wanted = media_ids(rows)
    kept = await media.by_ids(db, visit.staff.organization_id, wanted) if wanted else {}
    states = {
        file_id: {"state": file.state, "reason": file.reason} for file_id, file in kept.items()
    }
    organization_id = visit.staff.organization_id
    failed = [row["id"] for row in rows if row["status"] == "failed"]
    again = await desk.retries(db, organization_id, failed) if failed else {}
    followed = await desk.followed(db, organization_id, failed) if failed else frozenset()
    carried = await desk.providers(db, organization_id, failed) if failed else {}
    return [
        view.shown(
            row,
            visit.clock.now,
            states,
            retries=again.get(row["id"], ()),
            is_followed=row["id"] in followed,
            carried_by=carried.get(row["id"]),
        )
        for row in rows
    ]


async def at(visit: Visit, message_id: UUID) -> UUID:
    """The conversation that a message is in; raises `Problem` 404."""
    async with visit.services.database.as_caller(visit.staff) as db:
        found = await desk.conversation_of(db, visit.staff.organization_id, message_id)
    if found is None:
        raise Problem(404, "There is no such message, or it is another organization's.")
    return found


def by_day(said: Sequence[Shown], zone: tzinfo) -> list[list[Shown]]:
    """The messages of each day together, in the viewer's zone."""
    days: list[list[Shown]] = []
    for message in said:
        if days and _day(days[-1][-1], zone) == _day(message, zone):
            days[-1].append(message)
        else:
            days.append([message])
    return days


def _day(message: Shown, zone: tzinfo) -> Any:  # noqa: ANN401 - a date, compared only
    return message.at.astimezone(zone).date()
