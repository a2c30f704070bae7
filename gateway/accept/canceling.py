"""Canceling a message, unless a worker has claimed it."""

from __future__ import annotations

from uuid import UUID

from channels.model import Status
from gateway.accept import repeating
from gateway.problems import Problem, found
from gateway.store import messages, reports
from gateway.store.database import Caller, Database
from gateway.store.reports import Event, event_id
from gateway.store.values import Row


async def cancel(database: Database, caller: Caller, message_id: UUID, *, source: str) -> Row:
    """Cancel a message; returns its new row. Raises `Problem` 404, or 409 if it is too late.

    409, too, if a test key wants to cancel a message that no test key sent.
    """
    organization_id = caller.organization_id
    async with database.as_caller(caller) as db:
        row = found("message", await messages.get(db, organization_id, message_id))
    if caller.is_test and not repeating.is_test(row):
        raise Problem(409, "No test key sent this message: a test key cannot cancel it.")
    async with database.as_service(on_behalf=caller) as db:
        if not await messages.take_back(db, organization_id, message_id):
            # Its status may be new, for example because another request has canceled it.
            row = found("message", await messages.get(db, organization_id, message_id))
            raise _late(row["status"])
        event = Event(
            organization_id=organization_id,
            message_id=message_id,
            id=event_id(message_id, "canceled"),
            type="canceled",
            status="canceled",
            source=source,
        )
        for advance in await reports.record(db, [event]):
            if advance.old_status != Status.PENDING:  # a worker had it, and gave it back
                raise _late(advance.old_status)
        return found("message", await messages.get(db, organization_id, message_id))


def _late(status: str) -> Problem:
    return Problem(
        409,
        f"This message is {status}: only one that is pending, and that no worker has taken up, "
        "can be canceled.",
    )
