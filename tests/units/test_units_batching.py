"""Batching: every caller gets its own right answer, whatever fails and whoever goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from channels.lines import FullError
from gateway.batching import Batching


class LostError(Exception):
    """The connection was lost: nobody knows what was done."""


class UndoneError(LostError):
    """Nothing was done: another transaction had to go on."""


class BadError(Exception):
    """One item cannot be done."""


class Store:
    """All of a batch or nothing, as a transaction; fails as it is told."""

    def __init__(
        self,
        *,
        bad: frozenset[int] = frozenset(),
        lost: frozenset[int] = frozenset(),
        undone: frozenset[int] = frozenset(),
        lanes: int = 1,
    ) -> None:
        self.bad, self.lost, self.undone, self.lanes = bad, lost, undone, lanes
        self.rows: list[int] = []
        self.sizes: list[int] = []
        self.flushes = 0
        self.at_once = 0

    async def __call__(self, items: Sequence[int]) -> list[int]:
        assert self.at_once < self.lanes
        self.at_once, self.flushes = self.at_once + 1, self.flushes + 1
        flush = self.flushes
        self.sizes.append(len(items))
        try:
            await asyncio.sleep(0)
            if flush in self.lost:
                raise LostError("the connection is gone")
            if flush in self.undone:
                raise UndoneError("another had to go on")
            if found := self.bad.intersection(items):
                raise BadError(min(found))
            self.rows += items
            return [item * 10 for item in items]
        finally:
            self.at_once -= 1


def batching(store: Store, *, most: int = 5, room: int = 10_000) -> Batching[int, int]:
    """Batches for a store."""
    return Batching(
        store,
        shared=(LostError,),
        undone=(UndoneError,),
        most=most,
        room=room,
        lanes=store.lanes,
    )


async def test_one_alone_waits_for_nobody() -> None:
    """The first wish is a batch of one; the next batch is what came meanwhile, up to its size."""
    store = Store()
    do = batching(store)
    assert 10 == await do(1)
    first = asyncio.create_task(do(2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert [30, 40, 50, 60, 70, 80, 90] == await asyncio.gather(*(do(n) for n in range(3, 10)))
    assert 20 == await first
    assert [1, 1, 5, 2] == store.sizes


async def test_a_bad_one_fails_alone() -> None:
    """One item that cannot be done spoils no other of its batch."""
    store = Store(bad=frozenset({3}))
    answers = await asyncio.gather(*map(batching(store), range(5)), return_exceptions=True)
    assert [0, 10, 20, 40] == [each for each in answers if isinstance(each, int)]
    assert isinstance(answers[3], BadError)
    assert [0, 1, 2, 4] == sorted(store.rows)


async def test_a_lost_connection_fails_each_by_itself() -> None:
    """Every caller of a batch that was lost has an error of its own; nothing is tried again."""
    store = Store(lost=frozenset({1}))
    do = batching(store)
    answers = await asyncio.gather(*map(do, range(3)), return_exceptions=True)
    assert [LostError] * 3 == [type(each) for each in answers]
    assert 3 == len({id(each) for each in answers})
    assert (1, []) == (store.flushes, store.rows)
    assert 70 == await do(7)


async def test_what_was_undone_is_done_once_more() -> None:
    """What surely was not done is tried a second time, and no third time."""
    store = Store(undone=frozenset({1, 3, 4}))
    do = batching(store)
    assert [0, 10, 20] == await asyncio.gather(*map(do, range(3)))
    assert (2, [0, 1, 2]) == (store.flushes, store.rows)
    answers = await asyncio.gather(*map(do, range(3)), return_exceptions=True)
    assert [UndoneError] * 3 == [type(each) for each in answers]
    assert 3 == len({id(each) for each in answers})
    assert (4, [0, 1, 2]) == (store.flushes, store.rows)


async def test_a_full_buffer_refuses() -> None:
    """What does not fit is refused at once; an item larger than a batch goes by itself."""
    store = Store()
    do = batching(store, room=6)
    tasks = [asyncio.create_task(do(n)) for n in range(6)]
    await asyncio.sleep(0)
    with pytest.raises(FullError):
        await do(6)
    assert [0, 10, 20, 30, 40, 50] == await asyncio.gather(*tasks)
    assert 70 == await do(7, size=100)


class Slow:
    """A store whose flushes end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[tuple[list[int], asyncio.Event]] = []

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.begun.append((list(items), asyncio.Event()))
        await self.begun[-1][1].wait()
        return list(items)

    @property
    def batches(self) -> list[list[int]]:
        """What each flush was given."""
        return [items for items, _ in self.begun]


async def test_another_lane() -> None:
    """A second batch sets out beside the first when it is as large, and not a third."""
    slow = Slow()
    do = Batching(slow, shared=(), most=10, lanes=2)
    tasks = [asyncio.create_task(do(n)) for n in range(3)]
    await turns()
    assert [[0, 1, 2]] == slow.batches
    for n in range(3, 12):
        tasks.append(asyncio.create_task(do(n)))
        await turns()
        assert [[0, 1, 2], [3, 4, 5]][: 1 + (n >= 5)] == slow.batches
    slow.begun[1][1].set()
    await turns()
    assert [6, 7, 8, 9, 10, 11] == slow.batches[2]
    tasks += [asyncio.create_task(do(n)) for n in (12, 13)]
    slow.begun[0][1].set()
    await turns()
    assert 3 == len(slow.batches)
    slow.begun[2][1].set()
    await turns()
    assert [12, 13] == slow.batches[3]
    slow.begun[3][1].set()
    assert list(range(14)) == await asyncio.gather(*tasks)


async def turns() -> None:
    """Let everybody do what they can."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_flush_that_is_cancelled() -> None:
    """Where the flush itself is cancelled, nobody waits for ever, and the next one begins anew."""
    store = Store()
    do = batching(store)
    tasks = [asyncio.create_task(do(n)) for n in range(8)]
    await asyncio.sleep(0)
    (flushing,) = do._flushing
    await asyncio.sleep(0)
    flushing.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in answers)
    assert 90 == await do(9)


@settings(max_examples=200, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=60),
    bad=st.frozensets(st.integers(0, 59), max_size=8),
    lost=st.frozensets(st.integers(1, 20), max_size=3),
    undone=st.frozensets(st.integers(1, 20), max_size=3),
    most=st.integers(1, 12),
    lanes=st.integers(1, 3),
)
def test_any_mixture(
    items: list[tuple[int, bool]],
    bad: frozenset[int],
    lost: frozenset[int],
    undone: frozenset[int],
    most: int,
    lanes: int,
) -> None:
    """Random sizes, failures and callers that go away: each its own answer, nothing stored twice,
    nothing answered unstored."""
    asyncio.run(_mixture(items, Store(bad=bad, lost=lost, undone=undone, lanes=lanes), most))


async def _mixture(items: list[tuple[int, bool]], store: Store, most: int) -> None:
    do = batching(store, most=most)
    tasks = []
    for n, (pauses, goes_away) in enumerate(items):
        tasks.append(asyncio.create_task(do(n)))
        for _ in range(pauses):
            await asyncio.sleep(0)
        if goes_away:
            tasks[-1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    # Of callers that went away something may still be being done.
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    assert all(count == 1 for count in Counter(store.rows).values())
    for n, answer in enumerate(answers):
        if isinstance(answer, int):
            assert n * 10 == answer
            assert n in store.rows
        elif isinstance(answer, BadError):
            assert n in store.bad
            assert (n,) == answer.args
            assert n not in store.rows
        elif isinstance(answer, LostError):
            assert n not in store.rows
        else:
            assert isinstance(answer, asyncio.CancelledError)
            assert items[n][1]


def owned(slow: Slow, *, room: int = 100) -> Batching[int, int]:
    """Batches in which hundreds tell whose an item is."""
    return Batching(slow, shared=(), owner=lambda item: item // 100, most=4, room=room)


async def test_who_brings_much_waits_for_himself() -> None:
    """Owners take turns: what one brings sets out with the next batch, however much another has
    brought before, and each owner's own stays in its order."""
    slow = Slow()
    do = owned(slow)
    tasks = [asyncio.create_task(do(n)) for n in range(100, 110)]
    await turns()
    tasks += [asyncio.create_task(do(n)) for n in (200, 201, 300)]
    for n in range(4):
        await turns()
        slow.begun[n][1].set()
    await asyncio.gather(*tasks)
    assert [
        [100, 101, 102, 103],
        [104, 200, 300, 105],
        [201, 106, 107, 108],
        [109],
    ] == slow.batches


async def test_what_does_not_fit_keeps_no_other_waiting() -> None:
    """A batch with room left takes what fits of other owners, when one's next is too large for it;
    and that one is the first of the next batch, however many small ones wait."""
    slow = Slow()
    do = owned(slow)
    tasks = [asyncio.create_task(do(100))]
    await turns()
    tasks += [asyncio.create_task(do(n)) for n in range(200, 206)]
    tasks += [asyncio.create_task(do(n, size=9)) for n in (101, 102)]
    for n in range(5):
        await turns()
        slow.begun[n][1].set()
    await turns()
    assert [[100], [200, 201, 202, 203], [101], [204, 205], [102]] == slow.batches
    await asyncio.gather(*tasks)


async def test_who_fills_the_room_takes_none_of_others() -> None:
    """Whoever has filled the buffer is refused; others still find their share of it."""
    slow = Slow()
    do = owned(slow, room=10)
    tasks = [asyncio.create_task(do(n)) for n in range(100, 104)]
    await turns()
    tasks += [asyncio.create_task(do(n)) for n in range(104, 114)]
    await turns()
    with pytest.raises(FullError):
        await do(114)
    tasks += [asyncio.create_task(do(n)) for n in range(200, 205)]
    await turns()
    for each in (114, 205):
        with pytest.raises(FullError):
            await do(each)
    assert not any(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
