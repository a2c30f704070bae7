"""Finds the organizations whose rows claims wait for, by halving those with waiting entries."""

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
    """The organizations that claims wait for. `is_any_free`: entries of others could be claimed;
    else it may be the database. `is_one`: only one was found, perhaps because only one waits."""

    organizations: list[UUID]
    is_any_free: bool
    is_one: bool


async def whose(
    organizations: Sequence[UUID], tried: Callable[[Sequence[UUID]], Awaitable[bool]]
) -> Found:
    """The organizations that a claim waits for, as many as are found in time.

    `tried` tells whether any entry of a group could be claimed, and raises `HeldError` or
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
                is_any_free |= await tried(half)
            except OF_ITS_ROWS:
                left.append(half)
            except DatabaseAwayError:
                raise
            except Exception:  # noqa: BLE001 - rows that a rule refuses are found elsewhere
                _log.exception("entries could not be claimed")
    return Found(found, is_any_free=is_any_free, is_one=len(found) == 1 and not left)
