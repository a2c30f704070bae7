"""Storing: what many requests have accepted, in one transaction; a 202 comes after its commit."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from uuid import UUID

from channels.lines import FullError, Lines
from gateway import placing
from gateway.accept import repeating
from gateway.accept.accepted import Accepted, Claim
from gateway.accept.growth import Growth
from gateway.accept.keeping import (
    Keep,
    NoneKeptError,
    Outcomes,
    Result,
    contacted,
    keep_all,
    keep_each,
)
from gateway.accept.last_contacts import LastContacts
from gateway.again import once_more
from gateway.batching import Batching
from gateway.held import ANSWER_SECONDS, Around, Wait
from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.store import messages
from gateway.store.conversations import Placed
from gateway.store.database import Connection, Database
from gateway.store.errors import (
    OF_ITS_ROWS,
    UNDONE,
    ConflictError,
    DatabaseAwayError,
    RefusedError,
    RolledBackError,
)
from gateway.store.values import Row

_log = logger(__name__)

# Rows in one transaction: more gain nothing, and would make the others wait. So many bytes of text
# count as a row, too, so that a transaction has 12.5 MiB, or one request that is larger.
_MOST, _UNIT_BYTES = 200, 64 * 2**10
_LARGE_BYTES = _MOST * _UNIT_BYTES
# What the texts may come to of requests that wait or are being stored; those of less than this are
# not counted, since as many as may wait come to less.
_ROOM_BYTES, _SMALL_BYTES = 320 * 2**20, 8 * 2**10
# Seconds to wait for the one request whose rows are looked through.
_TURN = 5.0


class _OthersError(Exception):
    """Other requests claimed these keys first: with nothing of theirs the batch can be stored."""

    def __init__(self, claims: set[Claim]) -> None:
        super().__init__("another request was first")
        self.claims = claims


# A row and its organization.
Owned = tuple[UUID, Row]
# The results as they are stored, None where another request with the key was first; and where each
# message was placed.
Stored = tuple[list[Result] | None, list[Placed]]


class Storing:
    """Stores accepted requests, those that come at once together, and tells `stored` of them."""

    def __init__(self, database: Database, stored: Callable[[Sequence[Owned]], None]) -> None:
        self._database = database
        self._stored = stored
        self._grew = Growth(database)
        self._around = Around()
        self._last_contacts = LastContacts(database)
        # Organizations whose leads cannot be noted in time: they are noted later.
        self._noted_later: Lately[UUID] = Lately()
        # What has come sets out while the first lane's batch is committed.
        self._batching = self._lanes(2)
        # They keep only one another waiting.
        self._large = self._lanes(1)
        self._texts: Lines[object] = Lines()
        # Slow, and beside the lanes: one at a time, so that it takes one connection at most.
        self._alone = asyncio.Lock()

    def _lanes(self, lanes: int) -> Batching[Accepted, Stored]:
        return Batching(
            self._store_batch,
            undone=UNDONE,
            held=OF_ITS_ROWS,
            owner=lambda accepted: accepted.caller.organization_id,
            most=_MOST,
            lanes=lanes,
        )

    async def close(self) -> None:
        """Do what is left to do for what was stored: nothing more is."""
        await self._last_contacts.close()

    async def store(self, accepted: Accepted) -> list[Result] | None:
        """The results as stored; None, with nothing stored, where its key was another's first.

        Raises `DatabaseAwayError`, `RefusedError` or `ConflictError`, or `FullError` where too much
        waits.
        """
        if accepted.bytes < _SMALL_BYTES:
            return await self._store_together(accepted)
        owner, this = accepted.caller.organization_id, object()
        if self._texts and not self._texts.has_room(owner, accepted.bytes, _ROOM_BYTES):
            raise FullError("too much text waits to be stored")
        self._texts.append(owner, this, accepted.bytes)
        try:
            return await self._store_together(accepted)
        finally:
            self._texts.remove(owner, this, accepted.bytes)

    async def _store_together(self, accepted: Accepted) -> list[Result] | None:
        """Store it with what else comes just then, or, where it is refused, what can be of it."""
        batching = self._batching if accepted.bytes < _LARGE_BYTES else self._large
        size = max(1, len(accepted.rows), accepted.bytes // _UNIT_BYTES)
        try:
            stored, placed = await batching(accepted, size=size)
        except accepted.alone as error:
            stored, placed = await self._store_each(accepted, error)
        await placing.join(self._database, accepted.caller.organization_id, placed)
        return stored

    async def _store_batch(self, batch: Sequence[Accepted]) -> list[Stored]:
        """Store all or nothing; without notes in the leads that it goes to, where these fail."""
        try:
            return await self._around(lambda wait: self._store_now(batch, wait))
        except (DatabaseAwayError, ConflictError, Problem) as error:
            # Of several organizations each is tried alone first: most of them do not meet it.
            owners = {accepted.caller.organization_id for accepted in batch}
            if not isinstance(error, OF_ITS_ROWS) or len(owners) > 1:
                raise
            failed: Exception = error
        except Exception as error:  # noqa: BLE001 - raised below
            failed = error
        if not any(row["lead_id"] for accepted in batch for row in accepted.rows):
            raise failed
        # A trigger of the CRM's, or a constraint, may refuse every change of a lead: that is no
        # reason not to write to it.
        _log.warning("stored without a note in its lead, if it can be", exc_info=failed)
        stored = await self._around(lambda wait: self._store_now(batch, wait, notes=False))
        if isinstance(failed, OF_ITS_ROWS):
            self._noted_later.add(batch[0].caller.organization_id)
        return stored

    async def _store_each(self, accepted: Accepted, error: RefusedError | ConflictError) -> Stored:
        """Of a request whose rows were refused together, those that can be stored.

        Raises the `error` where others' rows are looked through for too long.
        """
        keep = partial(keep_each, alone=accepted.alone)

        async def do(wait: Wait) -> list[Stored]:
            return await self._store_now([accepted], wait, notes=False, keep=keep)

        try:
            async with asyncio.timeout(_TURN):
                await self._alone.acquire()
        except TimeoutError:
            raise error from None
        try:
            # Halves lock conversations in the order of the request: others wait in another one.
            (stored,) = await once_more(lambda: self._around(do), (RolledBackError,))
        except NoneKeptError as none:
            refused = [_became(result, none.outcomes) for result in accepted.results]
            accepted = replace(accepted, results=refused)
            if not accepted.is_new:
                return refused, []
            (stored,) = await self._around(do)
        finally:
            self._alone.release()
        return stored

    async def _store_now(
        self,
        batch: Sequence[Accepted],
        wait: Wait,
        *,
        notes: bool = True,
        keep: Keep = keep_all,
    ) -> list[Stored]:
        """Store all but what claims a key that is another request's by then."""
        others: set[Claim] = set()
        while True:
            try:
                return await self._store_but(others, batch, wait, notes=notes, keep=keep)
            except _OthersError as error:
                others |= error.claims

    async def _store_but(
        self,
        others: set[Claim],
        batch: Sequence[Accepted],
        wait: Wait,
        *,
        notes: bool,
        keep: Keep,
    ) -> list[Stored]:
        """Store all but `others` in one transaction; raises `_OthersError` where there are more."""
        left: dict[UUID, list[UUID]] = {}
        async with self._database.as_service(patience=wait.seconds, seconds=ANSWER_SECONDS) as db:
            firsts = await _firsts(db, batch, others)
            rows: dict[UUID, list[Row]] = defaultdict(list)
            for accepted in firsts:
                if accepted.rows:
                    rows[accepted.caller.organization_id] += accepted.rows
            stored: Outcomes = {}
            placed: dict[UUID, Placed] = {}
            for organization_id in sorted(rows):  # one order for everybody
                of_one = rows[organization_id]
                leads = contacted(of_one)
                noted = list(leads) if notes and organization_id not in self._noted_later else []
                # first of all, in one order for everybody, too
                held = await messages.hold_leads(db, organization_id, noted, waits=wait.for_rows)
                await repeating.check(db, organization_id, of_one)
                kept, where = await keep(db, organization_id, of_one, held)
                stored |= kept
                placed |= where
                written_to = contacted(row for row in of_one if row["id"] in where)
                left[organization_id] = list(written_to - set(held))
            answers = {id(a): [_became(result, stored) for result in a.results] for a in firsts}
            await _keep_answers(db, firsts, answers)
        self._grew(len(placed))
        for organization_id, leads_left in left.items():
            self._last_contacts(organization_id, leads_left)
        # Apart: whatever went wrong there, what is stored is not to be answered as if it were not.
        done = [
            (a.caller.organization_id, row) for a in firsts for row in a.rows if row["id"] in placed
        ]
        asyncio.get_running_loop().call_soon(self._stored, done)
        return [
            (answers.get(id(a)), [placed[r["id"]] for r in a.rows if r["id"] in placed])
            for a in batch
        ]


async def _firsts(db: Connection, batch: Sequence[Accepted], others: set[Claim]) -> list[Accepted]:
    """Those without an idempotency key, and for each key that nobody had before the first with it.

    Those that change an answer have one; whether it is still the same shows when they do.
    """
    new = {
        accepted.claim
        for accepted in batch
        if accepted.idempotency and accepted.claim and accepted.idempotency.before is None
    }
    claimed = {*others, *await messages.recall(db, list(new - others))}
    firsts = []
    for accepted in batch:
        if accepted.claim is None:
            firsts.append(accepted)
        elif accepted.claim not in claimed:
            claimed.add(accepted.claim)
            firsts.append(accepted)
    return firsts


async def _keep_answers(
    db: Connection, firsts: Sequence[Accepted], answers: Mapping[int, Sequence[Result]]
) -> None:
    """Keep the answers under their keys, last of all, because until then they are not whole.

    Another request may have claimed a key meanwhile: it is waited for, and `_OthersError` raised.
    """
    new, changed = [], []
    for accepted in firsts:
        if accepted.idempotency and accepted.claim:
            answer = accepted.idempotency.answer(answers[id(accepted)])
            if accepted.idempotency.before is None:
                new.append((*accepted.claim, accepted.idempotency.digest, answer))
            else:
                changed.append((*accepted.claim, accepted.idempotency.before, answer))
    own = await messages.keep_answers(db, new) | await messages.change_answers(db, changed)
    if others := {(organization, key) for organization, key, *_ in (*new, *changed)} - own:
        raise _OthersError(others)


def _became(result: Result, stored: Outcomes) -> Result:
    return result if isinstance(result, Problem) else stored[result["id"]]
