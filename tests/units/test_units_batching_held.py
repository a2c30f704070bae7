"""Batching: an owner whose items another program holds up keeps no other waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from gateway.batching import Batching


class HeldUpError(Exception):
    """Somebody else holds what one owner's items need."""


class Holding:
    """As `Store`, but for what somebody holds, of these owners: it is waited for in vain."""

    def __init__(self, owners: str = "a") -> None:
        self.is_held, self.owners = True, owners
        self.tried = asyncio.Event()
        self.gave_up = asyncio.Event()
        self.batches: list[str] = []
        self.batching = Batching(
            self.do, shared=(), held=(HeldUpError,), owner=lambda item: item[0]
        )

    async def do(self, items: Sequence[str]) -> list[str]:
        """Answer at once, unless something of such an owner is among it."""
        self.batches.append("".join(items))
        if self.is_held and any(item[0] in self.owners for item in items):
            if len({item[0] for item in items}) > 1:
                raise HeldUpError
            self.tried.set()
            await self.gave_up.wait()
            raise HeldUpError
        return [item.upper() for item in items]


async def test_others_do_not_wait_for_what_is_held_up() -> None:
    """While somebody holds up one owner's, the others' is done: what comes with it, and what comes
    later beside it, as long as it is held up."""
    holding = Holding()
    first = asyncio.create_task(holding.batching("x"))
    both = [asyncio.create_task(holding.batching(item)) for item in ("a1", "b1")]
    async with asyncio.timeout(5):
        assert "X" == await first
        assert "B1" == await both[1]
        await holding.tried.wait()
        assert not both[0].done()
        holding.gave_up.set()
        with pytest.raises(HeldUpError):
            await both[0]

        holding.gave_up.clear()
        holding.tried.clear()
        again = asyncio.create_task(holding.batching("a2"))
        await holding.tried.wait()
        for item in ("b2", "b3"):
            assert item.upper() == await holding.batching(item)
        assert not again.done()
        holding.is_held = False
        holding.gave_up.set()
        with pytest.raises(HeldUpError):
            await again


async def test_what_came_before_it_was_held_up_keeps_no_other_waiting() -> None:
    """What waits for a batch of an owner who turns out to be held up goes its own way, too; whoever
    no longer wants it takes it back."""
    holding = Holding()
    first = asyncio.create_task(holding.batching("a1"))
    async with asyncio.timeout(5):
        await holding.tried.wait()
        a2, a3, b1 = (asyncio.create_task(holding.batching(item)) for item in ("a2", "a3", "b1"))
        await asyncio.sleep(0)
        holding.gave_up.set()
        with pytest.raises(HeldUpError):
            await first
        holding.gave_up.clear()
        holding.tried.clear()
        assert "B1" == await b1
        await holding.tried.wait()
        assert ["a1", "a2a3", "b1"] == sorted(holding.batches)
        a2.cancel()
        holding.gave_up.set()
        with pytest.raises(asyncio.CancelledError):
            await a2
        with pytest.raises(HeldUpError):
            await a3


async def test_what_is_free_again_is_done_with_the_others() -> None:
    """Once something of that owner was done, all of it is done with what comes at once."""
    holding = Holding()
    holding.gave_up.set()
    with pytest.raises(HeldUpError):
        await holding.batching("a1")
    holding.is_held = False
    assert "A2" == await holding.batching("a2")
    holding.batches.clear()
    await asyncio.gather(*map(holding.batching, ("x", "a3", "b3")))
    assert ["xa3b3"] == holding.batches


async def test_a_flush_that_is_cancelled_while_owners_are_apart() -> None:
    """Neither those under way then nor those that wait for a place of their own wait for ever."""
    holding = Holding("ab")
    first = asyncio.create_task(holding.batching("x"))
    tasks = [asyncio.create_task(holding.batching(item)) for item in ("a1", "b1", "c1", "d1")]
    async with asyncio.timeout(5):
        await first
        await holding.tried.wait()
        (flushing,) = holding.batching._flushing
        flushing.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in answers)
