"""Reports that were missed: kept while their message's external id was being stored.

Of the two transactions neither saw the other. Which reports that is so of, nobody knows: all that
wait are looked at, and most are about messages that are none of ours, maybe millions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from gateway.logs import logger
from gateway.store import reports
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.reports import Event

_log = logger(__name__)

# No two transactions that did not see each other end that far apart.
_OVERLAP = timedelta(minutes=10)
_AT_ONCE = 1000
_STEPS = 10
# Seconds until what could not be recorded is tried again.
_AGAIN = 60.0


class _Undone(Exception):
    """What was tried is not to stay."""


class UnmatchedReports:
    """Looks through what waits, from the newest back: all of it once, then what is recent.

    Each time it looks at what came last, and goes on from where it stood by so many `steps` of so
    many reports `at_once`, so that no statement is long, and nothing that is new waits for what is
    old.
    """

    def __init__(self, database: Database, *, at_once: int = _AT_ONCE, steps: int = _STEPS) -> None:
        self._database = database
        self._at_once = at_once
        self._steps = steps
        # How far back this walk goes, and the next; where it stands, and nowhere when it is over.
        self._since: datetime | None = None
        self._next_since: datetime | None = None
        self._reached: datetime | None = None
        # Whether a report that this walk has met has to stay: somebody held its message.
        self._is_held = False
        # Organizations whose reports cannot be recorded, and until when they are left alone.
        self._out: dict[UUID, float] = {}

    async def apply(self) -> int:
        """Apply those that are found this time; how many were looked at."""
        newest = await self._look(None)
        looked = newest.looked
        self._is_held |= newest.is_held
        if self._reached is None or newest.reached is None:
            self._next_since, self._reached = newest.at - _OVERLAP, newest.reached
        for _ in range(self._steps):
            if self._reached is None:
                break
            step = await self._look(self._reached)
            looked += step.looked
            self._is_held |= step.is_held
            self._reached = step.reached
        if self._reached is None:
            if not self._is_held:  # else the next walk comes by once more
                self._since = self._next_since
            self._is_held = False
        return looked

    async def _look(self, before: datetime | None) -> reports.Look:
        """A look at some; what cannot be recorded for one organization stays, for a minute."""
        now = time.monotonic()
        self._out = {each: until for each, until in self._out.items() if until > now}
        found: list[Event] = []
        try:
            return await self._apply(before, found)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - a trigger of another program's, say
            _log.exception("reports could not be applied")
        for organization_id in {event.organization_id for event in found}:
            own = [event for event in found if event.organization_id == organization_id]
            if not await self._can_be_recorded(own):
                self._out[organization_id] = now + _AGAIN
        return await self._apply(before, [])

    async def _apply(self, before: datetime | None, found: list[Event]) -> reports.Look:
        async with self._database.as_service(planned_once=True) as db:
            look = await reports.take_missed(
                db, self._since, before, self._at_once, list(self._out)
            )
            found += look.missed
            await reports.record(db, look.missed)
        return look

    async def _can_be_recorded(self, events: Sequence[Event]) -> bool:
        try:
            async with self._database.as_service() as db:
                await reports.record(db, events)
                raise _Undone
        except _Undone:
            return True
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - that is the question
            return False
