"""Reports that were missed: kept while the external id of their message was being stored.

Neither of the two transactions saw the other. It is not known which reports that happened to, so
all kept ones are looked at; most of them, maybe millions, are about messages that are not ours. The
same goes for reports about an inbound call that is just being stored.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.receive import additions, reporting
from gateway.registry import CARRIED
from gateway.store import kept_reports
from gateway.store.database import Connection, Database
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError, TrialError
from gateway.store.halves import judge_now
from gateway.store.reports import Event

_log = logger(__name__)

# Two transactions that did not see each other end within this time.
_OVERLAP = timedelta(minutes=10)
# How many reports one look takes, and how many looks one call of `apply` takes after the first.
_AT_ONCE = 1000
_STEPS = 10
# Seconds until reports that could not be recorded are tried again; if they are about more than
# `_FEW` messages of an organization, all reports of that organization wait.
_AGAIN = 60.0
_FEW = 10
# Seconds to wait for locks.
_PATIENCE = 1
# Seconds for a statement that only shows whether it succeeds.
_BRIEFLY = 3
# Seconds to find out whose reports cannot be recorded, and until that goes on for the organizations
# that were not examined in that time.
_LOOK, _SOON = 10.0, 1.0


class UnmatchedReports:
    """Walks through kept reports from the newest back: once through all, then only recent ones.

    Each call looks at the newest first, and then continues its walk by `steps` looks at `at_once`
    reports each: no statement takes long, and new reports never wait for old ones.
    """

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        *,
        at_once: int = _AT_ONCE,
        steps: int = _STEPS,
        seconds: float | None = None,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._at_once = at_once
        self._steps = steps
        self._seconds = seconds
        # How far back this walk goes, and the next one; where this one is, None when it is over.
        self._since: datetime | None = None
        self._next_since: datetime | None = None
        self._reached: datetime | None = None
        # Whether this walk has met a report whose message was locked, so that it stays.
        self._is_held = False
        # Messages and organizations whose reports cannot be recorded: left out for a while.
        self._out: Lately[UUID] = Lately()

    async def apply(self) -> int:
        """Apply the missed reports that this call finds; returns how many it looked at."""
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
            if not self._is_held:  # otherwise the next walk goes as far back as this one
                self._since = self._next_since
            self._is_held = False
        return looked

    async def _look(self, before: datetime | None) -> kept_reports.Look:
        """Look at some; reports that cannot be recorded are left out for a minute."""
        found: list[Event] = []
        try:
            return await self._apply(before, found)
        except OF_ITS_ROWS as error:
            _log.warning("reports are applied later", error=str(error))
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - a trigger of another program's, say
            _log.exception("reports could not be applied")
        until = time.monotonic() + _LOOK
        if not found:
            await self._leave_out_slow(before, until)
        for organization_id in {event.organization_id for event in found}:
            if time.monotonic() >= until:
                self._out.add(organization_id, _SOON)
                continue
            own = [event for event in found if event.organization_id == organization_id]
            if await self._can_be_recorded(own):
                continue
            refused = await self._refused(own, until)
            # None if only all of them together are refused.
            out = refused if 0 < len(refused) <= _FEW else [organization_id]
            for one in out:
                self._out.add(one, _AGAIN)
        return await self._apply(before, [])

    async def _apply(self, before: datetime | None, found: list[Event]) -> kept_reports.Look:
        async with self._database.as_service(
            planned_once=True, patience=_PATIENCE, seconds=self._seconds
        ) as db:
            look = await self._taken(db, before)
            found += look.missed
            advanced = await additions.apply_kept(db, look.missed)
        reporting.count_and_log(self._metrics, advanced)
        return look

    async def _taken(
        self, db: Connection, before: datetime | None, others: Sequence[UUID] = ()
    ) -> kept_reports.Look:
        without = [*self._out, *others]
        return await kept_reports.take_missed(
            db, self._since, before, self._at_once, carried=CARRIED, without=without
        )

    async def _leave_out_slow(self, before: datetime | None, until: float) -> None:
        """Leave out organizations whose messages are not found in time: they block the others."""
        async with self._database.as_service() as db:
            whose = await kept_reports.whose_missed(db, self._since, before, self._at_once)
        waiting = sorted(whose.difference(self._out))
        random.shuffle(waiting)  # so that others are examined each time, if time is too short
        for one in waiting:
            if time.monotonic() >= until:
                self._out.add(one, _SOON)
            elif not await self._can_be_found(before, [each for each in whose if each != one]):
                self._out.add(one, _AGAIN)
                _log.warning("reports are applied later", organization_id=str(one))

    async def _can_be_found(self, before: datetime | None, others: Sequence[UUID]) -> bool:
        async def find(db: Connection) -> None:
            await self._taken(db, before, others)

        return await self._goes_well(find)

    async def _refused(self, events: Sequence[Event], until: float) -> list[UUID]:
        """The messages whose reports cannot be recorded, found by halving until there are too many;
        none if they were not found in time."""
        refused: list[UUID] = []
        left = [sorted({event.message_id for event in events})]
        while left and len(refused) <= _FEW:
            if time.monotonic() >= until:
                return []
            half = left.pop()
            if await self._can_be_recorded([e for e in events if e.message_id in half]):
                continue
            if len(half) == 1:
                refused += half
            else:
                left += [half[: len(half) // 2], half[len(half) // 2 :]]
        return refused

    async def _can_be_recorded(self, events: Sequence[Event]) -> bool:
        async def record(db: Connection) -> None:
            await additions.apply_kept(db, events)
            await judge_now(db)  # also about what was recorded before this

        return await self._goes_well(record)

    async def _goes_well(self, do: Callable[[Connection], Awaitable[None]]) -> bool:
        """Whether `do` succeeds, and soon; it is rolled back."""
        try:
            async with self._database.as_service(
                planned_once=True, patience=_PATIENCE, seconds=self._seconds or _BRIEFLY
            ) as db:
                await do(db)
                raise TrialError
        except TrialError:
            return True
        except OF_ITS_ROWS:
            return False
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - any error is the answer
            return False
