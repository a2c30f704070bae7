"""Hindered: organizations whose entries make claims wait: which they are, and when each is tried
again."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.observability.logs import logger
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError

_log = logger(__name__)

# Seconds until an organization is tried again: at first, and at most; doubled each time.
_FIRST, _LONGEST = 30.0, 600.0
# Seconds until one that had nothing due is looked at again.
_IDLE = 1.0
# Seconds without a hindrance, and multiples of its last wait, until an organization is claimed for
# together with the others again.
_QUIET, _WAITS = 300.0, 2.0
# Seconds to look; each trial that waits may take one.
_LOOK = 10.0


@dataclass(slots=True)
class _Hindrance:
    last: float
    wait: float
    until: float
    is_over: bool = False


class Hindered:
    """The hindered organizations; not kept beyond this process."""

    def __init__(self, *, first: float = _FIRST, quiet: float = _QUIET) -> None:
        self._first, self._quiet = first, quiet
        self._all: dict[UUID, _Hindrance] = {}

    def __iter__(self) -> Iterator[UUID]:
        """The hindered organizations, for which the others must not wait."""
        return iter(self._all)

    def next(self, now: float) -> UUID | None:
        """An organization that is due to be tried."""
        due = [(each.until, organization_id) for organization_id, each in self._all.items()]
        until, organization_id = min(due, default=(now + 1, None))
        return organization_id if until <= now else None

    def is_over(self, organization_id: UUID) -> bool:
        """Whether it could be claimed for since it was last hindered."""
        return self._all[organization_id].is_over

    def failed(self, organization_id: UUID) -> float:
        """None of its entries could be claimed; returns the seconds until it is tried again."""
        now = time.monotonic()
        known = self._all.get(organization_id)
        wait = min(2 * known.wait, _LONGEST) if known and known.wait else self._first
        self._all[organization_id] = _Hindrance(now, wait, now + wait)
        return wait

    def add(self, organization_id: UUID) -> None:
        """Some of its entries could be claimed: it is tried again at once, apart from others."""
        now = time.monotonic()
        self._all[organization_id] = _Hindrance(now, 0.0, now)

    def went_well(self, organization_id: UUID, *, found: bool) -> None:
        """It was tried without a hindrance; `found`: something was due, and claimed."""
        now = time.monotonic()
        known = self._all[organization_id]
        if now - known.last > max(self._quiet, _WAITS * known.wait):
            del self._all[organization_id]
            return
        known.is_over |= found
        known.until = now if found else now + _IDLE


@dataclass(frozen=True, slots=True)
class Found:
    """The organizations that claims wait for. `is_any_free`: entries of others could be claimed;
    else it may be the database. `is_one`: only one was found, perhaps because only one waits."""

    organizations: list[UUID]
    is_any_free: bool
    is_one: bool


async def find_hindered(
    organizations: Sequence[UUID], try_claim: Callable[[Sequence[UUID]], Awaitable[bool]]
) -> Found:
    """The organizations that a claim waits for, as many as are found in time by halving.

    `try_claim` tells whether any entry of a group could be claimed, and raises `HeldError` or
    `SlowError` if the claim waits. Any other `DatabaseAwayError` is raised.
    """
    until = time.monotonic() + _LOOK
    found: list[UUID] = []
    is_any_free = False
    left = [list(organizations)]  # groups for which a claim is known to wait
    while left and time.monotonic() < until:
        group = left.pop()
        if len(group) < 2:
            found += group
            continue
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            try:
                is_any_free |= await try_claim(half)
            except OF_ITS_ROWS:
                left.append(half)
            except DatabaseAwayError:
                raise
            except Exception:  # noqa: BLE001 - rows that a rule refuses are found elsewhere
                _log.exception("entries could not be claimed")
    return Found(found, is_any_free=is_any_free, is_one=len(found) == 1 and not left)
