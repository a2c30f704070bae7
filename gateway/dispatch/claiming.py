"""Claiming: one transaction gives due entries a lease and a turn, and records their attempts."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from channels.moment import Moment
from gateway.dispatch.entry import SETTLED, is_new_attempt
from gateway.dispatch.events import attempt, ids
from gateway.dispatch.turns import Reach, Turn, Turns, in_turn
from gateway.held import Around, Wait
from gateway.observability.logs import logger
from gateway.store import queue, reports
from gateway.store.database import Connection, Database
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError, RefusedError, TrialError, plainly
from gateway.store.halves import in_halves, judge_now
from gateway.store.queue import Claimed
from gateway.store.reports import Advance

_log = logger(__name__)

# How many entries of left-out senders are looked through to find those of others: some 20 ms.
_DEEP = 10_000
# Seconds until a message is tried again that another program has locked, and one that a rule of
# another program refuses. The latter is longer than `quarantine` leaves out an organization, so
# that its other messages are tried in between.
_HELD_AGAIN, _REFUSED_AGAIN = 2.0, 120.0
# Seconds. Each refused message fails a shared claim, so all are due again at multiples of
# `_TOGETHER`. An organization has one for each `_APART`, half as many as `quarantine` tries in that
# time, so that messages which have not been tried have their turn, too.
_APART, _TOGETHER = 2.0, 60.0
# The limits of a brief claim; normally one takes milliseconds.
_BRIEFLY = Wait(for_rows=False, seconds=0.5, most=1.0)
# Seconds in which a brief claim finds the messages that it leaves out, short enough that the others
# are sent soon after they were claimed.
_SEARCH = 4.0


class Claiming:
    """Claims entries for one worker, with its `lease_id`, for `lease` seconds."""

    def __init__(self, database: Database, lease_id: UUID, lease: float) -> None:
        self._database = database
        self._lease_id = lease_id
        self._lease = lease
        self._around = Around()
        self._reach = Reach()
        # By organization: when the next of its messages that a rule refuses is tried again.
        self._next_try: dict[UUID, float] = {}

    async def claim(
        self,
        limit: int,
        without: Sequence[UUID] = (),
        senders: Sequence[UUID] = (),
        *,
        leaves_out: bool = False,
        is_brief: bool = False,
        is_trial: bool = False,
    ) -> Turns:
        """Up to `limit` due entries; those about to be sent are `sending` from now on.

        Entries of organizations in `without` and of `senders` are left out, and so are messages
        that another program has had locked for long. `leaves_out`: messages that a rule of the
        database refuses are left out, too, and due again later. `is_brief`: raises `HeldError` and
        `SlowError` soon; with `leaves_out` only if nothing at all can be claimed. `is_trial`: also
        brief, and rolled back; returns what could have been claimed.
        """
        if is_trial:
            return await self._claim_for_trial(limit, without, senders)
        if is_brief:
            return await self._claim(limit, without, senders, _BRIEFLY, leaves_out)
        return await self._around(
            lambda wait: self._claim(limit, without, senders, wait, leaves_out)
        )

    async def _claim_for_trial(
        self, limit: int, without: Sequence[UUID], senders: Sequence[UUID]
    ) -> Turns:
        turns = Turns()
        since = Moment.now()
        with suppress(TrialError):
            async with self._database.as_service(
                planned_once=True, patience=_BRIEFLY.seconds, seconds=_BRIEFLY.most
            ) as db:
                claimed = await queue.claim(
                    db, limit, self._lease_id, self._lease, without, senders=senders
                )
                new = [entry for entry in claimed if is_new_attempt(entry)]
                advances, _ = await _record(db, new, _BRIEFLY)
                await judge_now(db)  # also about the events just recorded
                recorded = {advance.message_id for advance in advances}
                turns += [Turn(entry, 0.0, since) for entry in new if entry.message_id in recorded]
                raise TrialError
        return turns

    async def _claim(
        self,
        limit: int,
        without: Sequence[UUID],
        senders: Sequence[UUID],
        wait: Wait,
        leaves_out: bool,  # noqa: FBT001
    ) -> Turns:
        since = Moment.now()
        reach = max(1, _DEEP // limit) if senders else self._reach.times
        async with self._database.as_service(
            planned_once=True, patience=wait.seconds, seconds=wait.most
        ) as db:
            claimed = await queue.claim(
                db, limit, self._lease_id, self._lease, without, senders=senders, reach=reach
            )
            paced = await in_turn(db, claimed, since)
            turns, later = paced.turns, paced.later
            new = [turn.claimed for turn in turns if is_new_attempt(turn.claimed)]
            record = _record_each if leaves_out else _record
            advances, refused = await record(db, new, wait)
            recorded = {advance.message_id for advance in advances}
            held = {entry.message_id: entry for entry in new if entry.message_id not in recorded}
            later += [
                (entry, self._put_off(entry) if entry.message_id in refused else _HELD_AGAIN)
                for entry in held.values()
            ]
            if wait.for_rows:
                await queue.give_back(db, later, self._lease_id)
        if not wait.for_rows:
            await self._give_back_apart(later)
        if not senders:
            self._reach.claimed(claimed)
        # A report may have been stored during this claim: then its message has a newer status.
        newer = {a.message_id: a.old_status for a in advances if a.old_status in SETTLED}
        return Turns(
            (_with_status(turn, newer) for turn in turns if turn.claimed.message_id not in held),
            # Not because of entries given back for their sender's rate; but locked entries may hide
            # others that are due.
            has_more=paced.has_more or any(turn.claimed.has_more for turn in turns),
            refused=len(refused),
        )

    def _put_off(self, entry: Claimed) -> float:
        """Seconds until a message that a rule refuses is tried again."""
        now = time.monotonic()
        at = max(now + _REFUSED_AGAIN, self._next_try.get(entry.organization_id, 0.0))
        self._next_try[entry.organization_id] = at + _APART
        return at + -at % _TOGETHER - now

    async def _give_back_apart(self, later: Sequence[tuple[Claimed, float]]) -> None:
        """Give entries back while another program has messages of some of them locked.

        Not in the transaction of the claim: if one transaction changes a row twice, PostgreSQL
        checks its foreign key even if that stays the same, and would wait for the locked message.
        """
        if later:
            try:
                async with self._database.as_service(patience=1) as db:
                    await queue.give_back(db, later, self._lease_id)
            except DatabaseAwayError as error:  # what was claimed is sent all the same
                _log.warning("the database is away", error=str(error))


async def _record(
    db: Connection, entries: Sequence[Claimed], wait: Wait
) -> tuple[list[Advance], set[UUID]]:
    events = [attempt(entry) for entry in entries]
    return await reports.record(db, events, waits=wait.for_rows), set()


async def _record_each(
    db: Connection, entries: Sequence[Claimed], wait: Wait
) -> tuple[list[Advance], set[UUID]]:
    """Record the attempts that no rule refuses, found by halving; returns the refused ones, too."""
    advances: list[Advance] = []
    refused: set[UUID] = set()
    waited: list[Exception] = []

    async def record(some: Sequence[Claimed]) -> None:
        try:
            with plainly():
                advances.extend((await _record(db, some, wait))[0])
        except OF_ITS_ROWS as error:
            waited.append(error)
            raise

    def refuse(entry: Claimed, error: Exception) -> None:
        refused.add(entry.message_id)
        if isinstance(error, RefusedError):
            _log.error("the database refuses a row", **error.rule, **ids(entry))
        else:
            _log.warning("a message cannot be claimed for now", error=str(error), **ids(entry))

    if wait is not _BRIEFLY:
        await in_halves(db, entries, record, (RefusedError,), refuse)
        return advances, refused
    alone = (RefusedError, *OF_ITS_ROWS)
    await in_halves(db, entries, record, alone, refuse, seconds=_SEARCH)
    if waited and not advances:
        raise waited[-1]  # all of them wait, so it is not because of single messages
    return advances, refused


def _with_status(turn: Turn, statuses: Mapping[UUID, str]) -> Turn:
    status = statuses.get(turn.claimed.message_id)
    return turn if status is None else replace(turn, claimed=replace(turn.claimed, status=status))
