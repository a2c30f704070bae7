"""When leads were written to last, where that could not be noted with the message itself.

Somebody held the lead just then, the CRM in a long transaction: the message is stored and sent all
the same, and this notes it when the lead is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.logs import logger
from gateway.store import messages
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError

_log = logger(__name__)

# Seconds between two looks; how many leads wait at most, and how long (one that was deleted is
# never free): what is left out is noted with the next message to that lead.
_AGAIN = 1.0
_MOST = 10_000
_LONGEST = timedelta(hours=1)


class LastContacts:
    """Notes it later."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[UUID, UUID], datetime] = {}
        self._noting: asyncio.Task[None] | None = None

    def __call__(self, organization_id: UUID, leads: Collection[UUID]) -> None:
        """A message to each of these was stored just now."""
        now = datetime.now(UTC)
        for lead in leads:
            if len(self._waiting) < _MOST:
                self._waiting[organization_id, lead] = now
        if self._waiting and self._noting is None:
            self._noting = asyncio.create_task(self._note())

    async def _note(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_AGAIN)
                try:
                    await self._note_free()
                except DatabaseAwayError as error:
                    _log.warning("leads wait for a note of their last message", error=str(error))
        except Exception:  # noqa: BLE001 - nobody waits for this task
            _log.exception("leads cannot be noted")
        finally:
            self._noting = None

    async def _note_free(self) -> None:
        oldest = datetime.now(UTC) - _LONGEST
        self._waiting = {lead: at for lead, at in self._waiting.items() if at > oldest}
        for organization_id in {organization for organization, _ in self._waiting}:
            wanted = {
                lead: at
                for (organization, lead), at in self._waiting.items()
                if organization == organization_id
            }
            async with self._database.as_service() as db:
                noted = await messages.touch_leads(
                    db, organization_id, list(wanted), max(wanted.values())
                )
            for lead in noted:
                if self._waiting[organization_id, lead] == wanted[lead]:
                    del self._waiting[organization_id, lead]
