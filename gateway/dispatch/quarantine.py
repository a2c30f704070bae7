"""Quarantine: claims leave out what makes them fail: a message, or all of an organization.

A claim is one transaction for all organizations. A trigger or constraint of another program that
refuses one tenant's row would fail every claim, and nobody's messages would be sent.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Sequence
from typing import Protocol
from uuid import UUID

from gateway.dispatch.turns import Turns
from gateway.logs import logger
from gateway.store import queue
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError

_log = logger(__name__)

# Seconds until an organization whose entries could not be claimed is tried again; fewer where they
# are few that a rule refuses, one for each: others may come.
_SECONDS = 60.0
# So many of these may come before others, which are claimed all the same.
_REFUSED = 20


class Claim(Protocol):
    """As `Dispatching.claim`."""

    def __call__(
        self,
        limit: int,
        without: Sequence[UUID],
        senders: Sequence[UUID],
        *,
        leaves_out: bool = False,
    ) -> Awaitable[Turns]:
        """Due entries."""
        ...


class Quarantine:
    """Claims entries of all organizations except those whose entries cannot be claimed."""

    def __init__(self, database: Database, claim: Claim) -> None:
        self._database = database
        self._claim = claim
        self._until: dict[UUID, float] = {}

    async def claim(self, limit: int, senders: Sequence[UUID] = ()) -> Turns:
        """What is due, up to `limit`, but for that of `senders`; raises `DatabaseAwayError`."""
        now = time.monotonic()
        self._until = {each: until for each, until in self._until.items() if until > now}
        out = list(self._until)
        try:
            return await self._claim(limit, out, senders)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - one entry's defect must not stop all
            _log.exception("entries could not be claimed")
        async with self._database.as_service() as db:
            waiting = set(await queue.waiting_organizations(db)) - set(out)
        return await self._apart(limit, sorted(waiting), out, senders)

    async def _apart(
        self, limit: int, group: Sequence[UUID], out: Sequence[UUID], senders: Sequence[UUID]
    ) -> Turns:
        """What is due in a group of organizations, halved until the one that fails is found."""
        if len(group) == 1:
            return await self._of_one(limit, group[0], out, senders)
        turns = Turns()
        middle = len(group) // 2
        for half, rest in ((group[:middle], group[middle:]), (group[middle:], group[:middle])):
            if not half or len(turns) >= limit:
                continue
            left = limit - len(turns)
            try:
                found = await self._claim(left, [*out, *rest], senders)
            except DatabaseAwayError:
                if not turns:
                    raise
                break  # what was claimed is sent
            except Exception:  # noqa: BLE001 - halved, and logged in the end
                found = await self._apart(left, half, [*out, *rest], senders)
            turns = Turns([*turns, *found], has_more=turns.has_more or found.has_more)
        return turns

    async def _of_one(
        self, limit: int, organization_id: UUID, out: Sequence[UUID], senders: Sequence[UUID]
    ) -> Turns:
        refused = 0
        try:
            for _ in range(1 + _REFUSED // limit):
                found = await self._claim(limit, out, senders, leaves_out=True)
                refused += found.refused
                if found or not found.refused:
                    break
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - the others go on
            _log.exception(
                "an organization's entries cannot be claimed", organization_id=str(organization_id)
            )
            self._until[organization_id] = time.monotonic() + _SECONDS
            return Turns()
        if refused and not found:
            self._until[organization_id] = time.monotonic() + min(_SECONDS, refused)
        return found
