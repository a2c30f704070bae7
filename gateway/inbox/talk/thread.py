"""The messages of a conversation, page by page, oldest at the top, with a line for each day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any
from uuid import UUID

from gateway.inbox.talk import view
from gateway.inbox.talk.kinds import media_ids
from gateway.inbox.talk.view import Shown
from gateway.inbox.visit import Visit
from gateway.problems import Problem
from gateway.store import conversations, desk, media, messages
from gateway.store.database import Connection
from gateway.store.messages import MessageFilter
from gateway.store.paging import MOST_BYTES
from gateway.store.values import Row

_LIMIT = 40


async def known(visit: Visit, db: Connection) -> Row:
    """The conversation in the path, also by an id that was merged into it; raises `Problem` 404."""
    row = await conversations.get(db, visit.staff.organization_id, visit.id)
    if row is None:
        raise Problem(404, "There is no such conversation, or it is another organization's.")
    return row


async def merged(visit: Visit, db: Connection, row: Row) -> UUID | None:
    """The conversation that the query says was merged into this one, if that is so.

    A draft of it moves over; a link that anybody wrote must not move that of another conversation.
    """
    try:
        was = UUID(visit.request.query.get("was", ""))
    except ValueError:
        return None
    now = await conversations.current(db, visit.staff.organization_id, was)
    return was if now == row["id"] != was else None


async def context(visit: Visit, db: Connection, row: Row) -> dict[str, Any]:
    """A page of the thread: the latest messages, or those before a cursor (`older`)."""
    page = await messages.search(
        db,
        visit.staff.organization_id,
        MessageFilter(conversation_id=row["id"]),
        visit.cursor,
        _LIMIT,
        most_bytes=MOST_BYTES,
    )
    rows = page.rows[::-1]
    return {
        "days": by_day(await shown(visit, db, rows), visit.clock.zone),
        "older": page.next_cursor,
        "last_id": rows[-1]["id"] if rows else None,
    }


async def one(visit: Visit, db: Connection, message_id: UUID) -> Shown:
    """One message; raises `Problem` 404."""
    row = await messages.get(db, visit.staff.organization_id, message_id)
    if row is None:
        raise Problem(404, "There is no such message, or it is another organization's.")
    return (await shown(visit, db, [row]))[0]


async def shown(visit: Visit, db: Connection, rows: Sequence[Row]) -> list[Shown]:
    """Messages as they are shown, with the states of their files and their retries."""
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
