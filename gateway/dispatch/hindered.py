"""Hindered: organizations whose entries make claims wait, and when each is tried again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

# Seconds until an organization is tried again: at first, and at most; doubled each time.
_FIRST, _LONGEST = 30.0, 600.0
# Seconds until one that had nothing due is looked at again.
_IDLE = 1.0
# Seconds without a hindrance, and multiples of its last wait, until an organization is claimed for
# together with the others again.
_QUIET, _WAITS = 300.0, 2.0


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

    def hindered(self, organization_id: UUID) -> None:
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
