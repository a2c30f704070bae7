"""Whose rows claims wait for, found in halves of the organizations that have something to claim."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from gateway.observability.logs import logger
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError

_log = logger(__name__)

# Seconds to look; each trial that waits may take one.
_LOOK = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """For whom claims wait; whether something could be claimed for another, else it may be the
    database; and whether it is one alone, beside whom perhaps nobody has anything to claim."""

    organizations: list[UUID]
    is_any_free: bool
    is_one: bool


async def whose(
    organizations: Sequence[UUID], tried: Callable[[Sequence[UUID]], Awaitable[bool]]
) -> Found:
    """Those for whom a claim waits, as many as are found in time.

    `tried` tells whether anything of a group could be claimed; raises `HeldError` or `SlowError`
    where that waits. Raises other errors that say that the database is away.
    """
    until = time.monotonic() + _LOOK
    found: list[UUID] = []
    is_any_free = False
    left = [list(organizations)]  # of each group it is known that a claim for it waits
    while left and time.monotonic() < until:
        group = left.pop()
        if len(group) < 2:
            found += group
            continue
        for half in (group[: len(group) // 2], group[len(group) // 2 :]):
            try:
                is_any_free |= await tried(half)
            except OF_ITS_ROWS:
                left.append(half)
            except DatabaseAwayError:
                raise
            except Exception:  # noqa: BLE001 - whom a rule refuses is found out elsewhere
                _log.exception("entries could not be claimed")
    return Found(found, is_any_free=is_any_free, is_one=len(found) == 1 and not left)
