"""Storing: the rows of many requests in one transaction; their 202s come after its commit.

What keeps a batch from being stored is gone around, here from the inside out:

1. `_transact` is one transaction, all or nothing.
2. `_store_now` leaves out requests whose Idempotency-Key another request claimed first.
3. `Around` leaves out notes in leads that another program has locked for longer than a second.
4. `_store_batch` leaves out all notes in leads, if the batch fails with them.
5. `Batching` halves a batch until the request that fails is alone (see `gateway.batching`).
6. `_store_each` halves the rows of that request, if each of them may fail alone.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
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
from gateway.accept.recalling import OthersError, firsts_of, keep_answers
from gateway.again import once_more
from gateway.batching import Batching
from gateway.held import ANSWER_SECONDS, Around, Wait
from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.store import messages
from gateway.store.conversations import Placed
from gateway.store.database import Database
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

# Rows in one transaction: more would gain nothing, and make others wait. Each `_UNIT_BYTES` of text
# count as a row, so a transaction has at most 12.5 MiB, or one request that is larger.
_MOST, _UNIT_BYTES = 200, 64 * 2**10
_LARGE_BYTES = _MOST * _UNIT_BYTES
# Requests in one transaction: with 64 connections, one web process accepts a sixth more than if all
# of them were in the same (docs/performance.md).
_CALLERS = 40
# Bytes of text in the requests that wait or are being stored. Requests with less than
# `_SMALL_BYTES` are not counted: as many of them as may wait have less together.
_ROOM_BYTES, _SMALL_BYTES = 320 * 2**20, 8 * 2**10
# Seconds to wait while `_store_each` is busy with another request.
_TURN = 5.0

# A row and its organization.
Owned = tuple[UUID, Row]
# The results as stored, None if another request with the same key was first; and the conversations
# of the messages.
Stored = tuple[list[Result] | None, list[Placed]]


class Storing:
    """Stores accepted requests, those that come at once together, and tells `stored` of them."""

    def __init__(self, database: Database, stored: Callable[[Sequence[Owned]], None]) -> None:
        self._database = database
        self._stored = stored
        self._grew = Growth(database)
        self._around = Around()
        self._last_contacts = LastContacts(database)
        # Organizations for whose leads `last_contacted_at` cannot be set in time: it is set later.
        self._noted_later: Lately[UUID] = Lately()
        # Two: a second batch starts while the first is committed.
        self._batching = self._lanes(2)
        # Apart, so that large requests keep only each other waiting.
        self._large = self._lanes(1)
        self._texts: Lines[object] = Lines()
        # For `_store_each`, which is slow: one at a time, so that it takes only one connection.
        self._alone = asyncio.Lock()

    def _lanes(self, lanes: int) -> Batching[Accepted, Stored]:
        return Batching(
            self._store_batch,
            undone=UNDONE,
            held=OF_ITS_ROWS,
            owner=lambda accepted: accepted.caller.organization_id,
            most=_MOST,
            callers=_CALLERS,
            lanes=lanes,
        )

    async def close(self) -> None:
        """Finish what stored messages still need; call it when no more are stored."""
        await self._last_contacts.close()

    async def store(self, accepted: Accepted) -> list[Result] | None:
        """The results as stored; None, with nothing stored, if another request had its key first.

        Raises `DatabaseAwayError`, `RefusedError` or `ConflictError`, or `FullError` if too much
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
        """Store a request in a batch with others; if refused, those of its rows that can be."""
        batching = self._batching if accepted.bytes < _LARGE_BYTES else self._large
        size = max(1, len(accepted.rows), accepted.bytes // _UNIT_BYTES)
        try:
            stored, placed = await batching(accepted, size=size)
        except accepted.alone as error:
            stored, placed = await self._store_each(accepted, error)
        await placing.join(self._database, accepted.caller.organization_id, placed)
        return stored

    async def _store_batch(self, batch: Sequence[Accepted]) -> list[Stored]:
        """Store all or nothing; without setting `last_contacted_at` of leads, if that fails."""
        try:
            return await self._around(lambda wait: self._store_now(batch, wait))
        except Exception as error:
            # With several organizations each is tried alone first: most will not meet the error.
            owners = {accepted.caller.organization_id for accepted in batch}
            is_of_rows = isinstance(error, OF_ITS_ROWS) and len(owners) == 1
            if isinstance(error, DatabaseAwayError | ConflictError | Problem) and not is_of_rows:
                raise
            if not any(row["lead_id"] for accepted in batch for row in accepted.rows):
                raise
            failed = error
        # A trigger or constraint of the CRM's may refuse every change of a lead. A message to that
        # lead is stored all the same.
        _log.warning("stored without a note in its lead, if it can be", exc_info=failed)
        stored = await self._around(lambda wait: self._store_now(batch, wait, notes=False))
        if isinstance(failed, OF_ITS_ROWS):
            self._noted_later.add(batch[0].caller.organization_id)
        return stored

    async def _store_each(self, accepted: Accepted, error: RefusedError | ConflictError) -> Stored:
        """Store those rows of a request that can be, after all of them together were refused.

        Raises that `error` if the rows of other requests take too long before it is their turn.
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
            # May deadlock: halves lock conversations in the order of the request, others do not.
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
        """Store all requests except those whose key another request claims first."""
        others: set[Claim] = set()
        while True:
            try:
                return await self._transact(others, batch, wait, notes=notes, keep=keep)
            except OthersError as error:
                others |= error.claims

    async def _transact(
        self,
        others: set[Claim],
        batch: Sequence[Accepted],
        wait: Wait,
        *,
        notes: bool,
        keep: Keep,
    ) -> list[Stored]:
        """One transaction: store all but the requests that claim keys of `others`.

        Raises `OthersError` if there are more such keys.
        """
        unnoted: dict[UUID, list[UUID]] = {}
        async with self._database.as_service(patience=wait.seconds, seconds=ANSWER_SECONDS) as db:
            firsts = await firsts_of(db, batch, others)
            rows: dict[UUID, list[Row]] = defaultdict(list)
            for accepted in firsts:
                if accepted.rows:
                    rows[accepted.caller.organization_id] += accepted.rows
            stored: Outcomes = {}
            placed: dict[UUID, Placed] = {}
            for organization_id in sorted(rows):  # every process in the same order: no deadlocks
                of_one = rows[organization_id]
                leads = contacted(of_one)
                noted = list(leads) if notes and organization_id not in self._noted_later else []
                # Leads first, for the same reason.
                held = await messages.hold_leads(db, organization_id, noted, waits=wait.for_rows)
                await repeating.check(db, organization_id, of_one)
                kept, where = await keep(db, organization_id, of_one, held)
                stored |= kept
                placed |= where
                written_to = contacted(row for row in of_one if row["id"] in where)
                unnoted[organization_id] = list(written_to - set(held))
            answers = {id(a): [_became(result, stored) for result in a.results] for a in firsts}
            await keep_answers(db, firsts, answers)
        self._grew(len(placed))
        for organization_id, leads_left in unnoted.items():
            self._last_contacts(organization_id, leads_left)
        # In a callback of its own: an error there must not look as if nothing had been stored.
        done = [
            (a.caller.organization_id, row) for a in firsts for row in a.rows if row["id"] in placed
        ]
        asyncio.get_running_loop().call_soon(self._stored, done)
        return [
            (answers.get(id(a)), [placed[r["id"]] for r in a.rows if r["id"] in placed])
            for a in batch
        ]


def _became(result: Result, stored: Outcomes) -> Result:
    return result if isinstance(result, Problem) else stored[result["id"]]
