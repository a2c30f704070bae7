"""Falling back: a message that failed, or did not get far enough in time, is followed by the next
step of its fallback.

The message of that step is stored as accept stores all messages, in one transaction with the change
of the fallback, so that it is stored once, whatever dies at whatever moment. A message that has not
left yet is canceled, so that it never arrives after what was sent instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from channels.model import Status
from gateway import placing
from gateway.accept.keeping import contacted, keep_all
from gateway.accept.last_contacts import LastContacts
from gateway.accept.next_step import (
    canceled,
    expired,
    followed,
    is_over,
    reason,
    row_of,
    without_the_deleted,
)
from gateway.again import once_more
from gateway.observability.logs import info_each, logger
from gateway.observability.metrics import Metrics
from gateway.store import fallbacks, messages, reports
from gateway.store.conversations import Placed
from gateway.store.database import PLANNED_AS_EVER, Connection, Database
from gateway.store.errors import (
    ConflictError,
    DatabaseAwayError,
    HeldError,
    RolledBackError,
    SlowError,
)
from gateway.store.fallbacks import Due, Key
from gateway.store.reports import Event
from gateway.store.values import Row

_log = logger(__name__)

# A queued message with such a status is at no provider: no answer about it was ever lost.
_NOT_LEFT = {Status.PENDING, Status.SENDING}
# How many are followed in one transaction: each may have a MiB of steps.
_AT_ONCE = 20
# How many are followed one by one, before they are tried together again.
_EACH = 100
# Seconds to wait for rows that another program has locked.
_PATIENCE = 1
# Seconds until a fallback is tried again whose rows another program has locked,
_HELD = 10.0
# until the others of its organization are, which were not tried,
_BESIDE = 3.0
# and until one is that a rule of the database refuses.
_REFUSED = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Done:
    """What was due and the rows stored for it; by organization, their conversations, and the leads
    whose `last_contacted_at` is still to be set."""

    due: Sequence[Due] = ()
    rows: Sequence[tuple[Due, Row]] = ()
    placed: Mapping[UUID, Sequence[Placed]] = field(default_factory=dict)
    untold: Mapping[UUID, frozenset[UUID]] = field(default_factory=dict)


class _OvertakenError(RolledBackError):
    """A report came while the next step was being stored: the message must be read again."""


class FallingBack:
    """Takes the next step of the fallbacks that are due."""

    def __init__(self, database: Database, metrics: Metrics, *, at_once: int = _AT_ONCE) -> None:
        self._database = database
        self._metrics = metrics
        self._at_once = at_once
        self._last_contacts = LastContacts(database)

    async def close(self) -> None:
        """Finish what stored messages still need; call it when no more are stored."""
        await self._last_contacts.close()

    async def follow(self) -> int:
        """Follow what is due now; how many messages were stored."""
        stored = 0
        while True:
            looked, new = await self._follow_some()
            stored += new
            if not looked:
                return stored

    async def _follow_some(self) -> tuple[int, int]:
        """How many were due, and how many messages were stored."""
        try:
            return await self._together()
        except (HeldError, RolledBackError):
            pass
        except Exception as error:
            if _is_away(error):
                raise
            _log.warning("fallbacks are followed one by one", exc_info=error)
        return await self._one_by_one()

    async def _together(self, of: Key | None = None) -> tuple[int, int]:
        undone = (RolledBackError, ConflictError)
        done = await once_more(lambda: self._follow_now(of), undone)
        self._tell(done.rows)
        for organization_id, leads in done.untold.items():
            self._last_contacts(organization_id, leads)
        for organization_id, placed in done.placed.items():
            await placing.join(self._database, organization_id, placed)
        return len(done.due), len(done.rows)

    async def _one_by_one(self) -> tuple[int, int]:
        """Follow each by itself, and postpone those that fail.

        If one had to wait for a lock, the others of its organization are postponed untried.
        """
        async with self._database.as_service(planned_once=True) as db:
            keys = await fallbacks.due(db, _EACH)
        stored = 0
        held: set[UUID] = set()
        later: dict[float, list[Key]] = defaultdict(list)
        for key in keys:
            organization_id, message_id = key
            if organization_id in held:
                later[_BESIDE].append(key)
                continue
            try:
                stored += (await self._together(key))[1]
            except (HeldError, RolledBackError):
                held.add(organization_id)
                later[_HELD].append(key)
            except Exception as error:  # a rule of another program's, say
                if _is_away(error):
                    raise
                if isinstance(error, SlowError):
                    held.add(organization_id)
                named = {"message_id": str(message_id), "organization_id": str(organization_id)}
                _log.exception("a fallback cannot be followed", **named)
                later[_REFUSED].append(key)
        for seconds, some in later.items():
            async with self._database.as_service(patience=_PATIENCE) as db:
                await fallbacks.postpone(db, some, seconds)
        return len(keys), stored

    async def _follow_now(self, of: Key | None) -> _Done:
        placed: dict[UUID, list[Placed]] = {}
        untold: dict[UUID, frozenset[UUID]] = {}
        async with self._database.as_service(planned_once=True, patience=_PATIENCE) as db:
            keys = [of] if of is not None else await fallbacks.due(db, self._at_once)
            due = await fallbacks.claim(db, keys)
            if not due:
                return _Done()
            await db.execute(PLANNED_AS_EVER)
            open_ = [each for each in due if not is_over(each, each.status)]
            following = [(each, row_of(each)) for each in open_ if not each.is_expired]
            by_organization: dict[UUID, list[Row]] = defaultdict(list)
            for each, row in following:
                by_organization[each.organization_id].append(row)
            for organization_id in sorted(by_organization):  # one order: no deadlocks
                placed[organization_id], untold[organization_id] = await _keep(
                    db, organization_id, by_organization[organization_id], is_alone=of is not None
                )
            waiting = [each.key for each, _ in following if each.status in _NOT_LEFT]
            taken_back = await fallbacks.take_back(db, waiting)
            events = [expired(each) for each in open_ if each.is_expired]
            for each, row in following:
                events.append(followed(each, row))
                if each.message_id in taken_back:
                    events.append(canceled(each))
            await _record(db, events, {each.message_id: each for each in open_}, taken_back)
            await fallbacks.end(db, [each.key for each in due])
        return _Done(due=due, rows=following, placed=placed, untold=untold)

    def _tell(self, following: Sequence[tuple[Due, Row]]) -> None:
        for _, row in following:
            self._metrics.accepted(row["channel"], row["provider"], is_test=row["is_test"])
        info_each(
            _log,
            "fell back",
            [
                {
                    "message_id": str(row["id"]),
                    "organization_id": str(due.organization_id),
                    "channel": row["channel"],
                    "fallback_of": str(due.message_id),
                    "reason": reason(due),
                }
                for due, row in following
            ],
        )


def _is_away(error: Exception) -> bool:
    """Whether the error is about the whole database, so that the next one would fail, too."""
    return isinstance(error, DatabaseAwayError) and not isinstance(error, SlowError)


async def _keep(
    db: Connection, organization_id: UUID, rows: Sequence[Row], *, is_alone: bool
) -> tuple[list[Placed], frozenset[UUID]]:
    """Store the messages of one organization; returns their conversations, and the leads whose
    `last_contacted_at` is to be set later."""
    there = await fallbacks.still_there(
        db,
        organization_id,
        [lead for row in rows for lead in (row["lead_id"], row["place"].lead_id) if lead],
        [client for row in rows for client in (row["client_id"], row["place"].client_id) if client],
        [row["template_id"] for row in rows if row["template_id"]],
    )
    kept = [without_the_deleted(row, there) for row in rows]
    # A message is sent even if another program has locked its lead, or refuses changes of it.
    leads = frozenset(contacted(kept))
    wanted = [] if is_alone else list(leads)
    held = await messages.hold_leads(db, organization_id, wanted, waits=False)
    _, placed = await keep_all(db, organization_id, kept, held)
    return list(placed.values()), leads - set(held)


async def _record(
    db: Connection,
    events: Sequence[Event],
    due: Mapping[UUID, Due],
    taken_back: frozenset[UUID],
) -> None:
    """Record what happened to the earlier messages; raises `_OvertakenError`."""
    for advance in await reports.record(db, events):
        status = advance.old_status
        has_left = advance.message_id in taken_back and status not in _NOT_LEFT
        if has_left or is_over(due[advance.message_id], status):
            raise _OvertakenError("a report came meanwhile")
