"""`leads.last_contacted_at`, if it could not be set in the transaction that stored the message.

Another program had locked the lead, such as the CRM in a long transaction. The message is stored
and sent all the same, and the time is set here once the lead is free.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.store import messages
from gateway.store.database import Database
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError

_log = logger(__name__)

# Seconds between two attempts.
_AGAIN = 1.0
# Seconds to wait for a lock.
_PATIENCE = 1.0
# Seconds for the last attempt, when the process ends.
_AT_END = 2.0
# How many leads may wait, and for how long (a deleted one is never free). A lead that is dropped
# gets its time with the next message to it.
_MOST = 10_000
_LONGEST = timedelta(hours=1)


class LastContacts:
    """Sets `last_contacted_at` once the lead is free."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[tuple[UUID, UUID], datetime] = {}
        self._noting: asyncio.Task[None] | None = None
        self._hindered: Lately[UUID] = Lately()

    def __call__(self, organization_id: UUID, leads: Collection[UUID]) -> None:
        """A message to each of these was stored just now."""
        now = datetime.now(UTC)
        for lead in leads:
            if len(self._waiting) < _MOST:
                self._waiting[organization_id, lead] = now
        if self._waiting and self._noting is None:
            self._noting = asyncio.create_task(self._note())

    async def close(self) -> None:
        """Try a last time: the process ends, and only it knows of these leads."""
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.gather(self._noting, return_exceptions=True)
        if self._waiting:
            try:
                async with asyncio.timeout(_AT_END):
                    await self._note_free()
            except (DatabaseAwayError, TimeoutError) as error:
                _log.warning("leads wait for a note of their last message", error=str(error))

    async def _note(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(_AGAIN)
                try:
                    await self._note_free()
                except DatabaseAwayError as error:
                    _log.warning("leads wait for a note of their last message", error=str(error))
        finally:
            self._noting = None

    async def _note_free(self) -> None:
        """Set the time of leads that are no longer locked; raises `DatabaseAwayError`."""
        oldest = datetime.now(UTC) - _LONGEST
        self._waiting = {lead: at for lead, at in self._waiting.items() if at > oldest}
        for organization_id in {organization for organization, _ in self._waiting}:
            if organization_id in self._hindered:
                continue
            wanted = {
                lead: at
                for (organization, lead), at in self._waiting.items()
                if organization == organization_id
            }
            try:
                done = await self._note_or_drop(organization_id, wanted)
            except OF_ITS_ROWS as error:  # such as a slow trigger of the CRM's: others are tried
                _log.warning("leads wait for a note of their last message", error=str(error))
                self._hindered.add(organization_id)
                continue
            for lead in done:
                if self._waiting[organization_id, lead] == wanted[lead]:
                    del self._waiting[organization_id, lead]

    async def _note_or_drop(
        self, organization_id: UUID, wanted: Mapping[UUID, datetime]
    ) -> Sequence[UUID]:
        """The leads that are done, or never will be because a trigger or a constraint refuses them.

        Halves a group that fails, so that one bad lead does not hinder the others.
        """
        try:
            return await self._note_now(organization_id, wanted)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - the others are noted
            if len(wanted) == 1:
                _log.exception("leads cannot be noted", organization_id=str(organization_id))
                return list(wanted)
        leads = sorted(wanted)
        done: list[UUID] = []
        for half in (leads[: len(leads) // 2], leads[len(leads) // 2 :]):
            done += await self._note_or_drop(organization_id, {lead: wanted[lead] for lead in half})
        return done

    async def _note_now(
        self, organization_id: UUID, wanted: Mapping[UUID, datetime]
    ) -> Sequence[UUID]:
        async with self._database.as_service(patience=_PATIENCE) as db:
            return await messages.touch_leads(
                db, organization_id, list(wanted), max(wanted.values())
            )
