"""When claimed entries may be sent: at once, or at the rate of their sender."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from channels.model import Status
from channels.moment import Moment
from gateway.registry import PROVIDERS
from gateway.store import queue
from gateway.store.database import Connection
from gateway.store.queue import Claimed

# Seconds: what its sender's rate holds back is claimed this long before its turn, so that a worker
# that looks that seldom loses none; and after this at the latest, for a rate can be changed.
_EARLY = 0.5
_LATEST = 60.0
# So many claims in a row that something is hidden from are not by chance any more. 10,000 entries
# of one organization are looked through in some 20 ms.
_CHANCE, _FAR = 3, 100

TAKEN = (Status.SENT, Status.CANCELED, Status.FAILED, Status.DELIVERED, Status.READ)


@dataclass(frozen=True, slots=True)
class Turn:
    """A claimed entry, since when it is, and by the monotonic clock, when it may be sent."""

    claimed: Claimed
    not_before: float
    since: Moment

    @property
    def left(self) -> float | None:
        """Seconds until its `expires_at`, none of them where that has passed meanwhile."""
        left = self.claimed.expires_in
        return None if left is None else max(0.0, left - self.since.age())


class Reach:
    """How many times its share of each organization a claim looks through for what nobody holds.

    Workers that claim at the same time hide little from each other, and not for long. A claim that
    finds nothing may have met nothing but what is held: where nothing is due, it costs no more.
    """

    def __init__(self) -> None:
        self.times = 1
        self._hidden = 0

    def claimed(self, entries: Sequence[Claimed]) -> None:
        """What a claim has brought."""
        is_hidden = not entries or entries[0].is_hidden
        self._hidden = self._hidden + 1 if is_hidden else 0
        self.times = 1 if self._hidden < _CHANCE else _FAR


class Turns(list[Turn]):
    """The turns of one claim; `has_more`: there may be more that are due."""

    def __init__(self, turns: Iterable[Turn] = (), *, has_more: bool = False) -> None:
        super().__init__(turns)
        self.has_more = has_more


async def in_turn(
    db: Connection, claimed: Sequence[Claimed], since: Moment
) -> tuple[list[Turn], list[tuple[Claimed, float]]]:
    """When each entry may go, at its sender's rate; and what has no turn soon, which is to be given
    back, with its seconds."""
    now = time.monotonic()
    turns: list[Turn] = []
    later: list[tuple[Claimed, float]] = []
    paced: dict[tuple[UUID, UUID, float], list[Claimed]] = defaultdict(list)
    for entry in claimed:
        if is_new_attempt(entry) and entry.rate is not None and entry.sender_id is not None:
            paced[entry.organization_id, entry.sender_id, entry.rate].append(entry)
        else:
            turns.append(Turn(entry, now, since))
    # One order for all workers: two that pace the same senders never wait for each other.
    for (organization_id, sender_id, rate), entries in sorted(paced.items()):
        wait, granted = await queue.take_turns(db, organization_id, sender_id, len(entries), rate)
        turns += [
            Turn(entry, now + wait + n / rate, since) for n, entry in enumerate(entries[:granted])
        ]
        # Those that have no turn make room until about theirs: the backlog of a slow sender is
        # not claimed again and again.
        later += [
            (entry, min(wait + n / rate - _EARLY, _LATEST))
            for n, entry in enumerate(entries[granted:], granted)
        ]
    return turns, later


def is_taken(claimed: Claimed) -> bool:
    """Whether its message is known to have left, or will never leave."""
    return claimed.external_id is not None or claimed.status in TAKEN


def may_be_taken(claimed: Claimed) -> bool:
    """Whether an earlier request may have been, and none since has told."""
    provider = PROVIDERS.get(claimed.provider or "")
    return (
        claimed.status == Status.UNKNOWN and provider is not None and provider.is_asked_by_sending
    )


def is_new_attempt(claimed: Claimed) -> bool:
    """Whether it is about to be sent: nobody has begun, and nobody has to ask first."""
    return claimed.phase == "send" and not claimed.was_leased and not is_taken(claimed)


def may_have_left(claimed: Claimed) -> bool:
    """Whether a worker that is gone may have sent it: where nobody can be asked, it was noted."""
    provider = PROVIDERS.get(claimed.provider or "")
    return provider is None or provider.can_be_asked or claimed.begun_at is not None
