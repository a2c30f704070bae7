"""WhatsApp's window is checked again before a message is sent: it may have closed since accept.

If a template is sent in place of the text, it is stored in the row before that: whatever happens
later (a lost answer, another attempt, somebody who reads the message) concerns what was sent.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from channels.errors import Refused, RefusedForNow
from gateway.consent import standing
from gateway.dispatch.events import event_of, ids
from gateway.observability.logs import logger
from gateway.parts import Parts, outside_of_window
from gateway.store import queue, reports
from gateway.store.database import Connection, Database
from gateway.store.errors import HeldError, RefusedError, RolledBackError
from gateway.store.queue import Claimed

_log = logger(__name__)

# Seconds to wait for a row that another program has locked.
_PATIENCE = 1


class NotNowError(Exception):
    """Another worker has the entry by now, or another program has its row locked: do not send."""


async def as_it_stands(
    database: Database, claimed: Claimed, parts: Parts, lease_id: UUID
) -> tuple[Claimed, Parts]:
    """The message as it may be sent now, its text or its template; raises `NotNowError`.

    Raises `Refused` if neither may be sent.
    """
    if parts.window_until is None or datetime.now(UTC) < parts.window_until:
        return claimed, parts
    try:
        async with database.as_service(patience=_PATIENCE) as db:
            theirs, ours = claimed.to_address, claimed.from_address
            if await standing.window_until(db, claimed.organization_id, theirs, ours):
                return claimed, parts
            if parts.outside is None:
                raise Refused(
                    "More than 24 hours since the recipient last wrote: only a template can be "
                    "sent.",
                    code="window_closed",
                )
            return await _switched(db, claimed, parts, lease_id)
    except (HeldError, RolledBackError) as error:
        raise NotNowError("another program holds its row") from error
    except RefusedError as error:
        _log.error("the database refuses a row", **error.rule, **ids(claimed))
        text = "Another program does not let its template take the place of its text."
        raise RefusedForNow(text, code="form") from error


async def _switched(
    db: Connection, claimed: Claimed, parts: Parts, lease_id: UUID
) -> tuple[Claimed, Parts]:
    """The template, stored in the row, with an event that tells why it is not the text."""
    body, parts = outside_of_window(claimed.body, parts)
    stored = parts.as_json()
    if not await queue.say_instead(db, claimed, lease_id, body, stored):
        raise NotNowError("it is another worker's, or was sent")
    await reports.record(db, [event_of(claimed, "window_closed", "window_closed", None)])
    return replace(claimed, body=body, attachments=[], parts=stored), parts
