"""Quarantine: claims leave out a message, or all entries of an organization, that makes them fail.

A claim is one transaction for all organizations. A trigger or constraint of another program that
refuses one tenant's row would fail every claim, and nobody's messages would be sent.

The same goes for a trigger that is slow, or waits for a lock of that program. Trials find out which
organization is concerned; from then on its entries are claimed apart from the others (`Hindered`).
If the database is slow for everybody, nobody is left out.
"""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Sequence
from typing import Protocol
from uuid import UUID

from gateway.dispatch.hindered import Hindered, find_hindered
from gateway.dispatch.turns import Turns
from gateway.lately import Lately
from gateway.observability.logs import logger
from gateway.store import queue
from gateway.store.database import Database
from gateway.store.errors import OF_ITS_ROWS, DatabaseAwayError

_log = logger(__name__)

# Seconds until an organization whose entries could not be claimed is tried again; if a rule refused
# fewer messages than this, one second for each.
_LEFT_OUT = 60.0
# How many refused messages may be due before others, which are then still found.
_MOST_REFUSED = 20
# If claims wait because of no single organization: seconds until that is examined again.
_EXAMINE_AGAIN = 30.0
# An organization that is claimed apart gets the limit of the claim divided by this.
_ITS_SHARE = 4
# How many of its entries are tried until that succeeds: each half of them may take a second.
_FEW = 4


class Claim(Protocol):
    """As `Claiming.claim`."""

    def __call__(
        self,
        limit: int,
        without: Sequence[UUID],
        senders: Sequence[UUID],
        *,
        leaves_out: bool = False,
        is_brief: bool = False,
        is_trial: bool = False,
    ) -> Awaitable[Turns]:
        """Due entries."""
        ...


class Quarantine:
    """Claims entries of all organizations except those whose entries cannot be claimed."""

    def __init__(
        self, database: Database, claim: Claim, *, hindered: Hindered | None = None
    ) -> None:
        self._database = database
        self._claim = claim
        self._left_out: Lately[UUID] = Lately()
        self._hindered = hindered or Hindered()
        self._examine_at = 0.0
        self._is_turn_of_hindered = False

    async def claim(self, limit: int, senders: Sequence[UUID] = ()) -> Turns:
        """Up to `limit` due entries, without those of `senders`; raises `DatabaseAwayError`."""
        now = time.monotonic()
        turns = Turns()
        # Every other time, if there is only one place.
        self._is_turn_of_hindered = limit > 1 or not self._is_turn_of_hindered
        one = self._hindered.next(now) if self._is_turn_of_hindered else None
        if one is not None:
            # First, because it may take seconds, for which entries claimed before would wait.
            share = max(_FEW, limit // _ITS_SHARE)
            turns = await self._claim_hindered(one, min(limit, share), senders)
        if len(turns) == limit:
            return turns
        try:
            return _joined(turns, await self._claim_together(limit - len(turns), senders))
        except DatabaseAwayError:
            if not turns:
                raise
            return turns  # those claimed before are sent

    async def _claim_together(self, limit: int, senders: Sequence[UUID]) -> Turns:
        """The due entries of all organizations that are claimed for together."""
        out = [*self._left_out, *self._hindered]
        try:
            return await self._claim(limit, out, senders)
        except OF_ITS_ROWS as error:
            if time.monotonic() < self._examine_at:
                raise
            _log.warning("entries could not be claimed", error=str(error))
            return await self._claim_unhindered(limit, out, senders, error)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - one entry's defect must not stop all
            _log.exception("entries could not be claimed")
        waiting = await self._waiting_organizations(out)
        # In random order: there may be no place left for the last.
        random.shuffle(waiting)
        return await self._claim_in_halves(limit, waiting, out, senders)

    async def _waiting_organizations(self, out: Sequence[UUID] = ()) -> list[UUID]:
        async with self._database.as_service() as db:
            return sorted(set(await queue.waiting_organizations(db)) - set(out))

    async def _claim_unhindered(
        self, limit: int, out: Sequence[UUID], senders: Sequence[UUID], error: DatabaseAwayError
    ) -> Turns:
        """The due entries of organizations that claims do not wait for; raises the error if claims
        wait for all of them."""
        waiting = await self._waiting_organizations(out)
        random.shuffle(waiting)  # so that others are found each time, if time is too short for all

        async def try_claim(group: Sequence[UUID]) -> bool:
            without = [*out, *set(waiting).difference(group)]
            return bool(await self._claim(max(limit, len(group)), without, senders, is_trial=True))

        found = await find_hindered(waiting, try_claim)
        hindered = found.organizations
        if found.is_any_free:
            self._set_apart(hindered, error)
            return await self._claim(limit, [*out, *hindered], senders, is_brief=True)
        if not found.is_one:
            self._examine_at = time.monotonic() + _EXAMINE_AGAIN
            raise error
        # There is no other organization to compare with; perhaps single messages are the cause.
        few = min(limit, _FEW)
        turns = await self._claim(few, out, senders, leaves_out=True, is_brief=True)
        if turns.refused:
            self._set_apart(hindered, error)
        return turns

    def _set_apart(self, organizations: Sequence[UUID], error: DatabaseAwayError) -> None:
        for each in organizations:
            self._hindered.add(each)
            _log.warning(
                "an organization's entries are claimed apart",
                organization_id=str(each),
                error=str(error),
            )

    async def _claim_hindered(
        self, organization_id: UUID, limit: int, senders: Sequence[UUID]
    ) -> Turns:
        """The due entries of a hindered organization."""
        turns = Turns()
        waiting = await self._waiting_organizations()
        if organization_id in waiting and organization_id not in self._left_out:
            limit = limit if self._hindered.is_over(organization_id) else min(limit, _FEW)
            others = [each for each in waiting if each != organization_id]
            try:
                turns = await self._claim_one(
                    limit, organization_id, others, senders, is_brief=True
                )
            except OF_ITS_ROWS as error:
                seconds = self._hindered.failed(organization_id)
                _log.warning(
                    "an organization's entries wait",
                    organization_id=str(organization_id),
                    seconds=seconds,
                    error=str(error),
                )
                return turns
        if turns.refused:
            self._hindered.add(organization_id)
        else:
            self._hindered.went_well(organization_id, found=bool(turns))
        return turns

    async def _claim_in_halves(
        self, limit: int, group: Sequence[UUID], out: Sequence[UUID], senders: Sequence[UUID]
    ) -> Turns:
        """The due entries of a group of organizations, halved until the one that fails is found."""
        if len(group) == 1:
            return await self._claim_one(limit, group[0], out, senders)
        turns = Turns()
        middle = len(group) // 2
        away: DatabaseAwayError | None = None
        for half, rest in ((group[:middle], group[middle:]), (group[middle:], group[:middle])):
            if not half or len(turns) >= limit:
                continue
            try:
                found = await self._claim_half(limit - len(turns), half, [*out, *rest], senders)
            except OF_ITS_ROWS as error:
                away = error  # `_claim_unhindered` finds these, once everything else can be claimed
            except DatabaseAwayError as error:
                away = error
                break  # those claimed before are sent
            else:
                turns = _joined(turns, found)
        if away is not None and not turns:
            raise away
        return turns

    async def _claim_half(
        self, limit: int, half: Sequence[UUID], out: Sequence[UUID], senders: Sequence[UUID]
    ) -> Turns:
        try:
            return await self._claim(limit, out, senders)
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - halved, and logged in the end
            return await self._claim_in_halves(limit, half, out, senders)

    async def _claim_one(
        self,
        limit: int,
        organization_id: UUID,
        out: Sequence[UUID],
        senders: Sequence[UUID],
        *,
        is_brief: bool = False,
    ) -> Turns:
        refused = 0
        try:
            for _ in range(1 if is_brief else 1 + _MOST_REFUSED // limit):
                found = await self._claim(limit, out, senders, leaves_out=True, is_brief=is_brief)
                refused += found.refused
                if found or not found.refused:
                    break
        except DatabaseAwayError:
            raise
        except Exception:  # noqa: BLE001 - the others go on
            _log.exception(
                "an organization's entries cannot be claimed", organization_id=str(organization_id)
            )
            self._left_out.add(organization_id, _LEFT_OUT)
            return Turns()
        if refused and not found:
            self._left_out.add(organization_id, min(_LEFT_OUT, refused))
        return found


def _joined(one: Turns, other: Turns) -> Turns:
    return Turns([*one, *other], has_more=one.has_more or other.has_more)
