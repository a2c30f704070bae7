"""Batching: under load a batch waits for what is on its way, a caller alone for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gateway.batching import Batching


class Store:
    """Does everything at once, and notes how many there were."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.sizes.append(len(items))
        return items


async def under_load(store: Store, *, most: int = 200) -> Batching[int, int]:
    """A batching whose newest batch had two items."""
    do = Batching(store, shared=(), most=most)
    await asyncio.gather(do(0), do(0))
    assert [2] == store.sizes
    return do


async def after(turns: int, do: Batching[int, int], item: int) -> int:
    """What a batching answers to an item that comes so many turns of the loop from now."""
    for _ in range(turns):
        await asyncio.sleep(0)
    return await do(item)


async def test_what_is_on_its_way_joins() -> None:
    """Items that come at most four turns of the event loop after each other are one batch."""
    store = Store()
    do = await under_load(store)
    comes = [0, 1, 4, 7, 11, 15, 16, 20]
    assert comes == await asyncio.gather(*(after(each, do, each) for each in comes))
    assert [2, len(comes)] == store.sizes


async def test_what_comes_later_keeps_nobody_waiting() -> None:
    """Once the loop has brought nothing for some turns, the batch sets out."""
    store = Store()
    do = await under_load(store)
    await asyncio.gather(after(0, do, 1), after(1, do, 2), after(20, do, 3))
    assert [2, 2, 1] == store.sizes


async def test_a_batch_sets_out_though_more_comes_for_ever() -> None:
    """A stream of items with no gap in it does not hold up its first, and fills batches."""
    store = Store()
    do = await under_load(store, most=30)
    await asyncio.gather(*(after(n, do, n) for n in range(100)))
    assert [2, 30, 30, 30, 10] == store.sizes
    store = Store()
    do = await under_load(store, most=1_000)
    await asyncio.gather(*(after(n, do, n) for n in range(100)))
    assert 5 >= len(store.sizes), "each holds what some dozens of turns bring"
    assert 50 >= max(store.sizes)


async def test_who_is_alone_waits_for_no_turn() -> None:
    """After a batch of one the next sets out as soon as the very first did."""
    store = Store()
    do = Batching(store, shared=())
    first, second = await turns_of(do, 1), await turns_of(do, 2)
    assert first == second
    await asyncio.gather(do(3), do(4))
    assert first < await turns_of(do, 5), "somebody else was there a moment ago"
    assert first == await turns_of(do, 6)


async def turns_of(do: Batching[int, int], item: int) -> int:
    """How many turns of the event loop an answer takes."""
    asked = asyncio.create_task(do(item))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_one_lane_gathers() -> None:
    """What comes while one lane gathers is that lane's; the other takes nothing away from it."""
    store = Store()
    do = Batching(store, shared=(), lanes=2)
    await asyncio.gather(do(0), do(0))
    await asyncio.gather(*(after(n, do, n) for n in range(0, 20, 2)))
    assert [2, 10] == store.sizes


async def test_a_flush_that_is_cancelled_while_it_gathers() -> None:
    """Nobody waits for ever for a flush that went away, and the next one does its work."""
    store = Store()
    do = await under_load(store)
    before = asyncio.all_tasks()
    asked = asyncio.create_task(do(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    (flush,) = asyncio.all_tasks() - before - {asked}
    flush.cancel()
    await asyncio.wait([asked])
    assert asked.cancelled()
    assert 2 == await do(2)
    assert [2, 1] == store.sizes


async def test_what_one_batch_does_not_hold_is_the_other_lane_s() -> None:
    """Of a burst that came while one lane gathered, the other takes what the first cannot hold."""
    going = asyncio.Event()
    begun: list[int] = []

    async def do(items: Sequence[int]) -> Sequence[int]:
        begun.append(len(items))
        if len(begun) > 1:
            await going.wait()
        return items

    batching = Batching(do, shared=(), most=100, lanes=2)
    await asyncio.gather(batching(0), batching(0))
    burst = [asyncio.create_task(batching(n)) for n in range(350)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert [2, 100, 100] == begun
    going.set()
    assert list(range(350)) == await asyncio.gather(*burst)
    assert [2, 100, 100, 100, 50] == begun


async def test_not_all_callers_are_answered_together() -> None:
    """Of many items only as many as it may have are in a batch, so that the rest is done while
    those who were answered ask again."""
    store = Store()
    do = Batching(store, shared=(), callers=30)
    assert [*range(100)] == await asyncio.gather(*map(do, range(100)))
    assert [30, 30, 30, 10] == store.sizes
