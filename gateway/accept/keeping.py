"""Keeping: rows are inserted in a transaction of `storing`: all of them, or those that can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from uuid import UUID

from gateway import placing
from gateway.observability.logs import logger
from gateway.problems import Problem, changed_meanwhile, refused_by_a_rule
from gateway.store import conversations, fallbacks, media, messages, suppressions
from gateway.store.conversations import Placed
from gateway.store.database import Connection
from gateway.store.errors import ConflictError, RefusedError
from gateway.store.halves import in_halves
from gateway.store.values import Row

_log = logger(__name__)

# Keys of a row that are not columns of `messages`.
_BESIDE = ("media", "written", "place", "provider", "steps")
# Seconds to look for refused rows: meanwhile those that were inserted are locked for others.
_LOOK = 5.0
_NOT_TRIED = (
    "So much of this batch is refused that this was not tried: send the whole batch again with the "
    "same Idempotency-Key, or this alone, and then never the batch again."
)

Result = Row | Problem
# What became of each row, by its id.
Outcomes = dict[UUID, Result]
# Errors that fail only the message that they are about.
Alone = tuple[type[RefusedError] | type[ConflictError], ...]
# By the ids of rows: what became of each, and the conversations of those that are stored.
Kept = tuple[Outcomes, dict[UUID, Placed]]
# Stores the rows of one organization, some of whose leads are held.
Keep = Callable[[Connection, UUID, Sequence[Row], Sequence[UUID]], Awaitable[Kept]]


class NoneKeptError(Exception):
    """Every row is refused; `outcomes` say why."""

    def __init__(self, outcomes: Outcomes) -> None:
        super().__init__("every row is refused")
        self.outcomes = outcomes


def contacted(rows: Iterable[Row]) -> set[UUID]:
    """The leads that are written to; messages of a test key reach nobody."""
    return {row["lead_id"] for row in rows if row["lead_id"] and not row["is_test"]}


async def keep_all(
    db: Connection, organization_id: UUID, rows: Sequence[Row], leads: Sequence[UUID]
) -> Kept:
    """Store the rows of one organization; `leads` are held."""
    places = [row["place"] for row in rows]
    found = await conversations.place(db, organization_id, places)
    await placing.check(db, organization_id, places, found)
    where = {row["id"]: each for row, each in zip(rows, found, strict=True)}
    plain = [_plain(row, each.conversation_id) for row, each in zip(rows, found, strict=True)]
    accepted = await messages.accept(db, organization_id, plain, leads)
    if files := [file for row in rows for file in row["media"]]:
        await media.insert(db, files)
    await suppressions.wrote(
        db, organization_id, [row["written"] for row in rows if row["written"]]
    )
    if followed := [row for row in rows if row["steps"]]:
        await fallbacks.store(db, organization_id, followed)
    return {row["id"]: row for row in accepted}, where


def _plain(row: Row, conversation_id: UUID) -> Row:
    """A row with only the columns of `messages`."""
    plain = {**row, "conversation_id": conversation_id}
    for name in _BESIDE:
        del plain[name]
    return plain


async def keep_each(
    db: Connection,
    organization_id: UUID,
    rows: Sequence[Row],
    leads: Sequence[UUID],
    *,
    alone: Alone,
) -> Kept:
    """Store the rows that nothing refuses, found by halving; raises `NoneKeptError` if there are
    none. Any error that is not of `alone` is raised, with nothing stored."""
    stored: Outcomes = {}
    placed: dict[UUID, Placed] = {}
    rules: Counter[str] = Counter()
    refused: dict[str, RefusedError] = {}

    def refuse(row: Row, error: RefusedError | ConflictError) -> None:
        stored[row["id"]] = _problem(error)
        if isinstance(error, RefusedError):
            rules[str(error)] += 1
            refused[str(error)] = error

    async def keep(some: Sequence[Row]) -> None:
        kept, where = await keep_all(db, organization_id, some, leads)
        stored.update(kept)
        placed.update(where)

    left = await in_halves(db, rows, keep, alone, refuse, seconds=_LOOK)
    stored |= {row["id"]: Problem(503, _NOT_TRIED) for row in left}
    for rule, first in refused.items():
        _log.error("the database refuses a row", **first.rule, rows=rules[rule], exc_info=first)
    if not placed:
        raise NoneKeptError(stored)
    return stored, placed


def _problem(error: RefusedError | ConflictError) -> Problem:
    return refused_by_a_rule() if isinstance(error, RefusedError) else changed_meanwhile()
