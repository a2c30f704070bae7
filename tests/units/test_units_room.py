"""Room: as many bytes at once as there is room for, first come, first served."""

from __future__ import annotations

import asyncio

import pytest

from gateway.dispatch.room import NoRoomError, Room


async def test_who_comes_first() -> None:
    """What is large is not passed by what is small and would fit; what is none waits for nobody."""
    room, order = Room(10), list[int]()

    async def hold(size: int) -> None:
        async with room.hold(size, 5):
            order.append(size)
            await asyncio.sleep(0.01)

    await asyncio.gather(*map(hold, (6, 8, 3, 0)))
    assert [6, 0, 8, 3] == order


async def enter(room: Room) -> None:
    """Hold room for one for a moment."""
    async with room.hold(1, 5):
        pass


async def test_less_than_was_thought() -> None:
    """Room that turns out not to be needed is another's at once; more than all of it is all.

    Who is told to stop while he waits has not begun."""
    room = Room(10)
    async with room.hold(50, 1) as share:
        share.shrink_to(4)
        share.shrink_to(7)
        async with room.hold(6, 0.1):
            with pytest.raises(NoRoomError):
                async with room.hold(1, 0.01):
                    pass
            waiting = asyncio.create_task(enter(room))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(NoRoomError):
                await waiting
    async with room.hold(10, 0.1):
        pass
