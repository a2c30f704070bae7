"""Waiting for something to happen, for a while."""

from __future__ import annotations

import asyncio

import pytest

from gateway.store.pooler import happens


async def test_what_happens_in_time() -> None:
    """True for what happens, False for what does not within the seconds."""
    event = asyncio.Event()
    assert not await happens(event, 0.01)
    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await happens(event, 5)


@pytest.mark.parametrize("steps", range(6))
async def test_an_end_is_not_missed(steps: int) -> None:
    """Who is told to end in the very moment when it happens ends: it does not wait once more."""
    event = asyncio.Event()

    async def listen() -> None:
        while True:
            await happens(event, 30)
            event.clear()

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=10)
    task.cancel()
    assert {task} == done
    assert task.cancelled()
