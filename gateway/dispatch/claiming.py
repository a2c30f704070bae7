"""Claiming: in one transaction due entries get a lease and a turn, and their attempts are noted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from channels.moment import Moment
from gateway.dispatch.events import attempt, ids
from gateway.dispatch.turns import SETTLED, Reach, Turn, Turns, in_turn, is_new_attempt
from gateway.held import Around, Wait
from gateway.observability.logs import logger
from gateway.store import queue, reports
from gateway.store.database import Connection, Database
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError, RefusedError, TrialError, plainly
from gateway.store.halves import in_halves, judge_now
from gateway.store.queue import Claimed
from gateway.store.reports import Advance

_log = logger(__name__)

# So many entries of senders that are left out are looked through for those of others: some 20 ms.
_DEEP = 10_000
# Seconds until a message that another program has locked is tried again, and one that its rule
# refuses: longer than its organization is left out where that is all it has (`quarantine`), so that
# others of it are looked at in between.
_HELD, _REFUSED = 2.0, 120.0
# Seconds. What is refused is due again at whole `_TOGETHER`s, because each time a shared claim
# fails; of one organization one for each `_APART`, half of what `quarantine` looks at meanwhile, so
# that what has not been tried yet has its turn, too.
_APART, _TOGETHER = 2.0, 60.0
# A claim takes milliseconds; a brief one gives up after these.
_BRIEFLY = Wait(for_rows=False, seconds=0.5, most=1.0)
# Seconds in which a brief one finds the messages that it leaves out: the others leave soon enough
# after they were claimed.
_WHICH = 4.0


class Claiming:
    """Claims entries for one worker: `lease_id` is whose they are, for `lease` seconds."""

    def __init__(self, database: Database, lease_id: UUID, lease: float) -> None:
        self._database = database
        self._lease_id = lease_id
        self._lease = lease
        self._around = Around()
        self._reach = Reach()
        # When the next message that a rule refuses is tried again, of organizations with such ones.
        self._again: dict[UUID, float] = {}

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

        Organizations in `without` are left out, and `senders`. So are messages that another program
        has locked for long: the other messages do not wait for them. With `leaves_out` so are those
        that a rule of the database refuses, which are due again later. One that `is_brief` raises
        `HeldError` and `SlowError` soon; with `leaves_out` only where nothing else can be claimed.
        One that `is_trial` is brief, too, and leaves what it could claim.
        """
        if is_trial:
            return await self._try(limit, without, senders)
        if is_brief:
            return await self._claim(limit, without, senders, _BRIEFLY, leaves_out)
        return await self._around(
            lambda wait: self._claim(limit, without, senders, wait, leaves_out)
        )

    async def _try(self, limit: int, without: Sequence[UUID], senders: Sequence[UUID]) -> Turns:
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
                advances, _ = await _note(db, new, _BRIEFLY)
                await judge_now(db)  # of what is noted already, too
                noted = {advance.message_id for advance in advances}
                turns += [Turn(entry, 0.0, since) for entry in new if entry.message_id in noted]
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
            note = _note_each if leaves_out else _note
            advances, refused = await note(db, new, wait)
            noted = {advance.message_id for advance in advances}
            held = {entry.message_id: entry for entry in new if entry.message_id not in noted}
            later += [
                (entry, self._put_off(entry) if entry.message_id in refused else _HELD)
                for entry in held.values()
            ]
            if wait.for_rows:
                await queue.give_back(db, later, self._lease_id)
        if not wait.for_rows:
            await self._give_back_apart(later)
        if not senders:
            self._reach.claimed(claimed)
        # A report may have been stored while this claim was made: then its row has a newer status.
        newer = {a.message_id: a.old_status for a in advances if a.old_status in SETTLED}
        return Turns(
            (_with_status(turn, newer) for turn in turns if turn.claimed.message_id not in held),
            # Entries given back for their sender's rate are no reason to claim again at once.
            # Locked ones are: others may be due behind them.
            has_more=paced.has_more or any(turn.claimed.has_more for turn in turns),
            refused=len(refused),
        )

    def _put_off(self, entry: Claimed) -> float:
        """Seconds until a message that a rule refuses is tried again."""
        now = time.monotonic()
        at = max(now + _REFUSED, self._again.get(entry.organization_id, 0.0))
        self._again[entry.organization_id] = at + _APART
        return at + -at % _TOGETHER - now

    async def _give_back_apart(self, later: Sequence[tuple[Claimed, float]]) -> None:
        """Give entries back where another program holds some message of theirs.

        Not in the claim's transaction: PostgreSQL checks the key of a row that is changed twice in
        one transaction even where it stays the same, and would wait for whoever holds the message.
        """
        if later:
            try:
                async with self._database.as_service(patience=1) as db:
                    await queue.give_back(db, later, self._lease_id)
            except DatabaseAwayError as error:  # what was claimed is sent all the same
                _log.warning("the database is away", error=str(error))


async def _note(
    db: Connection, entries: Sequence[Claimed], wait: Wait
) -> tuple[list[Advance], set[UUID]]:
    events = [attempt(entry) for entry in entries]
    return await reports.record(db, events, waits=wait.for_rows), set()


async def _note_each(
    db: Connection, entries: Sequence[Claimed], wait: Wait
) -> tuple[list[Advance], set[UUID]]:
    """Note those that no rule refuses, found in halves; and which it does."""
    advances: list[Advance] = []
    refused: set[UUID] = set()
    waited: list[Exception] = []

    async def note(some: Sequence[Claimed]) -> None:
        try:
            with plainly():
                advances.extend((await _note(db, some, wait))[0])
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
        await in_halves(db, entries, note, (RefusedError,), refuse)
        return advances, refused
    alone = (RefusedError, *OF_ITS_ROWS)
    await in_halves(db, entries, note, alone, refuse, seconds=_WHICH)
    if waited and not advances:
        raise waited[-1]  # it is not one message
    return advances, refused


def _with_status(turn: Turn, statuses: Mapping[UUID, str]) -> Turn:
    status = statuses.get(turn.claimed.message_id)
    return turn if status is None else replace(turn, claimed=replace(turn.claimed, status=status))
