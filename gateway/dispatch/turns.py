"""When claimed entries may be sent: at once, or at the rate of their sender."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from channels.moment import Moment
from gateway.dispatch.entry import will_leave
from gateway.store import queue
from gateway.store.database import Connection
from gateway.store.queue import Claimed

# Seconds. An entry held back by its sender's rate is claimed again so long before its turn, so that
# a worker which polls that often misses none; and after `_LATEST` anyway, as rates may change.
_EARLY = 0.5
_LATEST = 60.0
# How many entries are searched at once for more messages of a sender that has to wait.
_AMONG = 2000
# After so many claims in a row that missed due entries, claims look so many times as far: through
# 10,000 entries of one organization, in some 20 ms.
_CHANCE, _FAR = 3, 100


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed entry, when it was claimed (`since`), and when it may be sent (monotonic clock)."""

    claimed: Claimed
    not_before: float
    since: Moment

    @property
    def left(self) -> float | None:
        """Seconds until its `expires_at`, 0 once that has passed; None where it has none."""
        left = self.claimed.expires_in
        return None if left is None else max(0.0, left - self.since.age())


class Reach:
    """How far a claim looks for unlocked entries: `times` each organization's share of the batch.

    Concurrent claims hide few entries from each other, and only briefly; locks of another program
    may hide all of them. Looking further costs nothing if nothing more is due.
    """

    def __init__(self) -> None:
        self.times = 1
        self._hidden = 0

    def claimed(self, entries: Sequence[Claimed]) -> None:
        """Take into account what a claim returned."""
        is_hidden = not entries or entries[0].is_hidden
        self._hidden = self._hidden + 1 if is_hidden else 0
        self.times = 1 if self._hidden < _CHANCE else _FAR


class Turns(list[Turn]):
    """The turns of one claim; `has_more`: more entries may be due; `refused`: how many were."""

    def __init__(
        self, turns: Iterable[Turn] = (), *, has_more: bool = False, refused: int = 0
    ) -> None:
        super().__init__(turns)
        self.has_more = has_more
        self.refused = refused


@dataclass(frozen=True, slots=True)
class InTurn:
    """The turns of claimed entries; `later` are those to give back because their turn is not soon,
    each with the seconds until it is due again; `has_more`: there may be more of those."""

    turns: list[Turn]
    later: list[tuple[Claimed, float]]
    has_more: bool


async def in_turn(db: Connection, claimed: Sequence[Claimed], since: Moment) -> InTurn:
    """When each entry may be sent, at its sender's rate.

    If a sender has no turns left, its other due entries are put back, too.
    """
    now = time.monotonic()
    turns: list[Turn] = []
    later: list[tuple[Claimed, float]] = []
    has_more = False
    paced: dict[tuple[UUID, UUID, float], list[Claimed]] = defaultdict(list)
    for entry in claimed:
        if will_leave(entry) and entry.rate is not None and entry.sender_id is not None:
            paced[entry.organization_id, entry.sender_id, entry.rate].append(entry)
        else:
            turns.append(Turn(entry, now, since))
    # In one order for all workers, so that two that pace the same senders never deadlock.
    for (organization_id, sender_id, rate), entries in sorted(paced.items()):
        wait, granted = await queue.take_turns(db, organization_id, sender_id, len(entries), rate)
        turns += [
            Turn(entry, now + wait + n / rate, since) for n, entry in enumerate(entries[:granted])
        ]
        # The rest is put back until shortly before its turn: the backlog of a slow sender must not
        # be claimed again and again.
        later += [
            (entry, min(wait + n / rate - _EARLY, _LATEST))
            for n, entry in enumerate(entries[granted:], granted)
        ]
        if granted < len(entries) and entries[0].has_more:
            may_be_more = await queue.hold_back(
                db,
                organization_id,
                sender_id,
                among=_AMONG,
                wait=wait + len(entries) / rate - _EARLY,
                rate=rate,
                latest=_LATEST,
            )
            has_more = has_more or may_be_more
    return InTurn(turns, later, has_more)
