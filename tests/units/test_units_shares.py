"""Shares: an organization has half of the connections, and more while enough of them are free."""

from __future__ import annotations

import asyncio
import random
from uuid import UUID

import pytest

from gateway.store.errors import BusyError
from gateway.store.shares import Place, Shares

A, B, C = (UUID(int=n) for n in range(3))


def soon(seconds: float = 5) -> float:
    """A moment from now, in the loop's time."""
    return asyncio.get_running_loop().time() + seconds


async def taken(shares: Shares, *owners: UUID | None) -> list[Place]:
    """A place for each, at once."""
    return [await shares.take(owner, soon(0)) for owner in owners]


async def is_refused(shares: Shares, owner: UUID) -> bool:
    """Whether there is none at once."""
    try:
        shares.give(await shares.take(owner, soon(0)))
    except TimeoutError:
        return True
    return False


async def test_what_is_free_is_lent() -> None:
    """One alone has all but a quarter, beside others its half; and each of those has its own."""
    shares = Shares(8)
    await taken(shares, *[A] * 6)
    assert await is_refused(shares, A)
    await taken(shares, *[B] * 4, None, None)
    assert await is_refused(shares, B)

    shares = Shares(8)
    await taken(shares, B, B, *[A] * 4)
    assert await is_refused(shares, A)


async def test_who_waits_is_let_in_when_anything_is_free() -> None:
    """By a place of their own organization's, or by others': in their order, none too many."""
    shares = Shares(8)
    own, others = await taken(shares, *[A] * 4), await taken(shares, *[None] * 4)
    waiting = [asyncio.create_task(shares.take(A, soon())) for _ in range(4)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    shares.give(own[0])
    await waiting[1]
    for place in others[:2]:
        shares.give(place)
    await asyncio.sleep(0)
    assert not waiting[2].done()
    shares.give(others[2])
    await waiting[2]
    await asyncio.sleep(0)
    assert not waiting[3].done()
    shares.give(others[3])
    await waiting[3]


async def test_whose_fault_it_is() -> None:
    """An organization is blamed for what it holds, not while none of its transactions has got a
    connection."""
    shares = Shares(2)
    (place,) = await taken(shares, A)
    with pytest.raises(TimeoutError):
        await shares.take(A, soon(0))
    place.has_connection = True
    with pytest.raises(BusyError, match="same organization"):
        await shares.take(A, soon(0))


async def test_no_place_is_lost() -> None:
    """However many go away, at whatever moment: at the end all places are there."""
    shares = Shares(8)
    rng = random.Random(7)  # noqa: S311 - it decides who goes away

    async def use(owner: UUID | None) -> None:
        place = await shares.take(owner, soon(rng.random() * 0.02))
        try:
            await asyncio.sleep(rng.random() * 0.002)
        finally:
            shares.give(place)

    users = [asyncio.create_task(use(rng.choice((A, B, C, None)))) for _ in range(300)]
    for user in rng.sample(users, 100):
        await asyncio.sleep(0)
        user.cancel()
    await asyncio.gather(*users, return_exceptions=True)
    assert 6 == len(await taken(shares, *[A] * 6))
    assert await is_refused(shares, A)
