"""Room: as many bytes at once as there is room for, in turn, and never all of it for one."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from channels.email import ATTACHMENT_BYTES
from channels.model import Channel
from gateway.dispatch.room import NoRoomError, Room
from gateway.dispatch.sizes import most_file_bytes

if TYPE_CHECKING:
    from gateway.store.queue import Claimed


async def test_who_comes_first() -> None:
    """What is large is not passed by what is small and would fit; what is none waits for nobody."""
    room, order = Room(10), list[int]()

    async def hold(owner: str, size: int) -> None:
        async with room.hold(owner, size, 5):
            order.append(size)
            await asyncio.sleep(0.01)

    await asyncio.gather(*map(hold, "ABCA", (6, 8, 3, 0)))
    assert [6, 0, 8, 3] == order


async def test_one_whose_mails_leave_slowly() -> None:
    """Who has half of what there is waits for their own; the others pass them, and find room."""
    room, order, slow = Room(8), list[str](), asyncio.Event()

    async def hold(owner: str) -> None:
        async with room.hold(owner, 2, 5):
            order.append(owner)
            if owner == "slow":
                await slow.wait()

    holding = [asyncio.create_task(hold(owner)) for owner in ("slow",) * 4]
    await asyncio.gather(*map(hold, "ABC"))
    assert ["slow", "slow", "A", "B", "C"] == order
    slow.set()
    await asyncio.gather(*holding)
    assert 4 == order.count("slow")


async def enter(room: Room) -> None:
    """Hold room for one for a moment."""
    async with room.hold("B", 1, 5):
        pass


async def test_less_than_was_thought() -> None:
    """Room that turns out not to be needed is another's at once; more than all of it is all.

    Who is told to stop while they wait has not begun, and is in nobody's way."""
    room = Room(10)
    async with room.hold("A", 50, 1) as share:
        share.shrink_to(4)
        share.shrink_to(7)
        async with room.hold("B", 6, 0.1):
            with pytest.raises(NoRoomError):
                async with room.hold("C", 1, 0.01):
                    pass
            waiting = asyncio.create_task(enter(room))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(NoRoomError):
                await waiting
    async with room.hold("A", 10, 0.1):
        pass


def test_sizes_that_others_write() -> None:
    """What is no list of files is refused and needs no room; a size that none has is not known."""

    def size_of(attachments: object) -> int:
        mail = SimpleNamespace(channel=Channel.EMAIL, attachments=attachments)
        return most_file_bytes(cast("Claimed", mail))

    assert [0, 0, 0, 7] == [size_of(each) for each in (5, True, {"size": 5}, [{"size": 7}])]
    unknown = ([{"url": 5}], [{"size": -(10**12)}, {"size": 7}], ["x"])
    assert [ATTACHMENT_BYTES] * 3 == [size_of(each) for each in unknown]
