"""Hindered: organizations whose entries others would wait for, and when each is tried again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from uuid import UUID

# Seconds until it is tried again, twice as long each time.
_FIRST, _LONGEST = 30.0, 600.0
# So often in a second it is asked whether there is anything to try.
_IDLE = 1.0
# Seconds without a hindrance until it is claimed for together with the others, and at least so many
# of its last waits.
_QUIET, _WAITS = 300.0, 2.0


@dataclass(slots=True)
class _Hindrance:
    last: float
    wait: float
    until: float
    is_over: bool = False


class Hindered:
    """What is known of them; nothing outlives the process."""

    def __init__(self, *, first: float = _FIRST, quiet: float = _QUIET) -> None:
        self._first, self._quiet = first, quiet
        self._all: dict[UUID, _Hindrance] = {}

    def __iter__(self) -> Iterator[UUID]:
        """Those that the others are not to wait for."""
        return iter(self._all)

    def next(self, now: float) -> UUID | None:
        """One that is to be tried now."""
        due = [(each.until, organization_id) for organization_id, each in self._all.items()]
        until, organization_id = min(due, default=(now + 1, None))
        return organization_id if until <= now else None

    def is_over(self, organization_id: UUID) -> bool:
        """Whether nothing hindered it the last time."""
        return self._all[organization_id].is_over

    def failed(self, organization_id: UUID) -> float:
        """Nothing of it could be claimed; returns the seconds until it is tried again."""
        now = time.monotonic()
        known = self._all.get(organization_id)
        wait = min(2 * known.wait, _LONGEST) if known and known.wait else self._first
        self._all[organization_id] = _Hindrance(now, wait, now + wait)
        return wait

    def hindered(self, organization_id: UUID) -> None:
        """Some of it could be claimed: it goes on with the rest, apart from the others."""
        now = time.monotonic()
        self._all[organization_id] = _Hindrance(now, 0.0, now)

    def went_well(self, organization_id: UUID, *, found: bool) -> None:
        """It was tried, and what was due, if that was `found`, could be claimed."""
        now = time.monotonic()
        known = self._all[organization_id]
        if now - known.last > max(self._quiet, _WAITS * known.wait):
            del self._all[organization_id]
            return
        known.is_over |= found
        known.until = now if found else now + _IDLE
