"""Batching: the items of concurrent callers are done together, in one flush or a few at a time.

There is no timer: the first item is done at once, and the next batch is what has arrived meanwhile,
and during a few more turns of the event loop. So a single caller waits for nobody, and under load
one commit serves hundreds.

- No caller gets an answer before the flush that did its item has returned.
- An item that fails, fails alone: its batch is tried again in halves.
- An item that waits for another program's lock, or is slow (`held`), delays only its owner: the
  items of other owners are done apart, and so are further ones of that owner, until one succeeds.
- An error that concerns everybody (the database is away) fails every item, with an error of its
  own, and without another attempt, because it is not known what was done. If certainly nothing was
  done (PostgreSQL ended a deadlock), the batch is done once more.
- A caller that is cancelled removes only its own item; an item that is under way is finished.
- Owners take turns: an item waits for one item of each other owner, not for all of theirs. An owner
  whose next item does not fit into a batch is skipped, and comes first in the next one.
- A full buffer refuses items at once, except those within their owner's equal share of the room.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from typing import Any, Generic, TypeVar

from channels.frozen import frozen
from channels.lines import FullError, Lines
from gateway.again import once_more
from gateway.lately import Lately
from gateway.store.errors import DatabaseAwayError

# How many held batches are tried at the same time.
_FEW = 2
# A batch starts once so many turns of the event loop in a row have brought no item, at the latest
# after `_TURNS`. From its socket to here a request takes three.
_QUIET_TURNS = 4
_TURNS = 40

T = TypeVar("T")
R = TypeVar("R")


@frozen
class _Wish(Generic[T, R]):
    item: T
    size: int
    answer: asyncio.Future[R]


class _Held(Generic[T, R]):
    """Owners who met another program's lock lately: each has a batching of its own."""

    def __init__(self, make: Callable[[], Batching[T, R]]) -> None:
        self._make = make
        self._lately: Lately[Hashable] = Lately()
        self._batchings: dict[Hashable, Batching[T, R]] = {}

    def add(self, owner: Hashable) -> None:
        """Keep an owner apart, who met a lock, for a while or until one of its items succeeds."""
        self._lately.add(owner)
        for gone in [each for each in self._batchings if each not in self._lately]:
            del self._batchings[gone]

    def of(self, owner: Hashable) -> Batching[T, R] | None:
        """The batching of a held owner; None for any other."""
        if owner not in self._lately:
            return None
        return self._batchings.setdefault(owner, self._make())

    def remove(self, owner: Hashable) -> None:
        """Keep an owner apart no longer: one of its items was done."""
        self._lately.remove(owner)


class Batching(Generic[T, R]):
    """Does the items of concurrent callers together.

    `do` does all items of a batch or none (it is one transaction), and answers them in order.
    `shared` are errors that no single item causes; after errors of `undone` certainly nothing was
    done, and neither after `held` ones, which the items of one `owner` cause. A batch has at most
    `most` units, or one item of any size; `room` units may wait. With several `lanes` another batch
    starts beside those under way once as much waits as they have: so it need not wait for their
    commit, but no batch is small only because a lane is free.

    A batch has at most `callers` items. Those who are answered together ask again together: if they
    were all callers there are, this process and PostgreSQL would wait for each other in turns.
    """

    def __init__(
        self,
        do: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        shared: tuple[type[Exception], ...] = (DatabaseAwayError,),
        undone: tuple[type[Exception], ...] = (),
        held: tuple[type[Exception], ...] = (),
        owner: Callable[[T], Hashable] = lambda _: None,
        most: int = 200,
        callers: int = 20_000,
        room: int = 20_000,
        lanes: int = 1,
    ) -> None:
        self._do = do
        self._shared = shared
        self._undone = undone
        self._held = held
        self._owner = owner
        self._most = most
        self._callers = callers
        self._room = room
        self._lanes = lanes
        self._waiting: Lines[_Wish[T, R]] = Lines()
        self._doing_size = 0
        self._is_gathering = False
        # How many items the newest batch had: with one, there is probably only one caller.
        self._newest = 0
        self._flushing: set[asyncio.Task[None]] = set()
        self._passed_on: set[asyncio.Task[R]] = set()
        # Few, because others need connections, too. Two semaphores, so that batches that are known
        # to be held take no place from those that only may be.
        self._few_held, self._few = asyncio.Semaphore(_FEW), asyncio.Semaphore(_FEW)
        self._apart: _Held[T, R] = _Held(
            lambda: Batching(
                self._do_held, shared=(*shared, *held), undone=undone, most=most, room=room
            )
        )

    async def __call__(self, item: T, *, size: int = 1) -> R:
        """The answer of `do` for this item; raises its error, or `FullError` with nothing done."""
        owner = self._owner(item)
        if self._held and (apart := self._apart.of(owner)) is not None:
            return await self._do_apart(owner, apart, item, size)
        if self._waiting and not self._waiting.has_room(owner, size, self._room):
            raise FullError("too much waits to be stored")
        wish: _Wish[T, R] = _Wish(
            item=item, size=size, answer=asyncio.get_running_loop().create_future()
        )
        self._waiting.append(owner, wish, size)
        self._begin()
        return await wish.answer

    async def _do_apart(self, owner: Hashable, apart: Batching[T, R], item: T, size: int) -> R:
        try:
            answer = await apart(item, size=size)
        except self._held:
            self._apart.add(owner)
            raise
        self._apart.remove(owner)
        return answer

    async def _do_held(self, items: Sequence[T]) -> Sequence[R]:
        async with self._few_held:
            return await self._do(items)

    def _begin(self) -> None:
        beside = len(self._flushing)
        if beside < self._lanes and self._may_begin(beside=beside):
            self._flushing.add(asyncio.create_task(self._flush()))

    def _may_begin(self, *, beside: int) -> bool:
        """Whether a batch may start beside so many that are under way."""
        if self._is_gathering:  # the lane that gathers takes all that waits
            return False
        return not beside or self._waiting.size >= self._doing_size

    async def _flush(self) -> None:
        try:
            while self._waiting and self._may_begin(beside=len(self._flushing) - 1):
                if self._newest > 1:
                    await self._gather()
                if batch := self._next():
                    self._newest = len(batch)
                    await self._do_now(batch)
        finally:
            self._flushing -= {asyncio.current_task()}
            # Only after the last flush itself was cancelled: nobody will do these items.
            while not self._flushing and (wish := self._waiting.take()):
                wish.answer.cancel()

    async def _gather(self) -> None:
        """Wait for items on their way: under load, half as many batches cost a fifth less CPU."""
        self._is_gathering = True
        try:
            quiet = 0
            for _ in range(_TURNS):
                before = self._waiting.size
                await asyncio.sleep(0)
                quiet = quiet + 1 if self._waiting.size == before else 0
                if quiet == _QUIET_TURNS or self._waiting.size >= self._most:
                    return
        finally:
            self._is_gathering = False

    async def _do_now(self, batch: Sequence[_Wish[T, R]]) -> None:
        size = sum(wish.size for wish in batch)
        self._doing_size += size
        if self._waiting:  # more has come than this batch takes
            self._begin()
        try:
            await self._settle(batch)
        except asyncio.CancelledError:
            for wish in batch:  # nobody will do the rest of it
                wish.answer.cancel()
            raise
        finally:
            self._doing_size -= size

    def _next(self) -> list[_Wish[T, R]]:
        batch: list[_Wish[T, R]] = []
        size = 0
        while len(batch) < self._callers and (
            wish := self._waiting.take(self._most - size if batch else None)
        ):
            if wish.answer.done():  # its caller has gone away
                continue
            owner = self._owner(wish.item)
            if self._held and (apart := self._apart.of(owner)) is not None:
                self._pass_on(wish, self._do_apart(owner, apart, wish.item, wish.size))
                continue
            batch.append(wish)
            size += wish.size
        return batch

    def _pass_on(self, wish: _Wish[T, R], doing: Coroutine[Any, Any, R]) -> None:
        """Do an item apart that came before its owner was held."""
        task = asyncio.create_task(doing)
        wish.answer.add_done_callback(lambda _: task.cancel())
        self._passed_on.add(task)
        task.add_done_callback(self._passed_on.discard)
        task.add_done_callback(lambda done: _answer_as(wish, done))

    async def _answers(self, items: Sequence[T]) -> Sequence[R]:
        return await once_more(lambda: self._do(items), self._undone)

    async def _settle(self, batch: Sequence[_Wish[T, R]]) -> None:
        try:
            answers = await self._answers([wish.item for wish in batch])
        except self._held as error:
            await self._settle_apart(batch, error)
        except self._shared as error:
            _fail_all(batch, error)
        except Exception as error:  # noqa: BLE001 - it is raised where it belongs
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            middle = len(batch) // 2
            await self._settle(batch[:middle])
            await self._settle(batch[middle:])
        else:
            for wish, answer in zip(batch, answers, strict=True):
                _answer(wish, answer)

    async def _settle_apart(self, batch: Sequence[_Wish[T, R]], error: Exception) -> None:
        owners: dict[Hashable, list[_Wish[T, R]]] = defaultdict(list)
        for wish in batch:
            owners[self._owner(wish.item)].append(wish)
        if len(owners) == 1:
            self._apart.add(*owners)
            _fail_all(batch, error)
            return
        # Concurrently: nobody knows yet which of them meets the lock.
        await asyncio.gather(*(self._settle_one(wishes) for wishes in owners.values()))

    async def _settle_one(self, batch: Sequence[_Wish[T, R]]) -> None:
        async with self._few:
            await self._settle(batch)


def _answer_as(wish: _Wish[T, R], done: asyncio.Task[R]) -> None:
    if done.cancelled():
        wish.answer.cancel()
    elif (error := done.exception()) is not None:
        _fail(wish, error)
    else:
        _answer(wish, done.result())


def _answer(wish: _Wish[T, R], answer: R) -> None:
    if not wish.answer.done():
        wish.answer.set_result(answer)


def _fail_all(batch: Sequence[_Wish[T, R]], error: Exception) -> None:
    for wish in batch:
        own = type(error)(*error.args)
        own.__cause__ = error
        _fail(wish, own)


def _fail(wish: _Wish[T, R], error: BaseException) -> None:
    if not wish.answer.done():
        wish.answer.set_exception(error)
