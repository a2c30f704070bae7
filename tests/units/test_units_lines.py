"""Places: who waits for one is counted, and given one, for as long as they wait."""

from __future__ import annotations

import asyncio

import pytest

from channels.lines import FullError, Places


async def test_who_has_gone_away_takes_no_room() -> None:
    """Whoever was not served in time, or went away, leaves their room to who comes later, and what
    another who still waits is to get."""
    places = Places(1, room=3)
    await places.take("first", 5)
    for _ in range(2):
        for n in range(3):
            with pytest.raises(TimeoutError):
                await places.take("greedy", 0 if n else 0.01)
    waiting = [
        asyncio.create_task(places.take(owner, 5)) for owner in ("greedy", "modest", "third")
    ]
    await asyncio.sleep(0)
    with pytest.raises(FullError):
        await places.take("greedy", 5)
    waiting[0].cancel()
    await asyncio.sleep(0)
    places.give("first")
    await waiting[1]
    places.give("modest")
    await waiting[2]
    places.give("third")
    await places.take("last", 0)


async def test_one_place_for_each() -> None:
    """Where an owner has one place at most, his second waits for his first, and a place that is
    free meanwhile is another's."""
    places = Places(2, room=3, one_each=True)
    await places.take("greedy", 0)
    with pytest.raises(TimeoutError):
        await places.take("greedy", 0)
    waiting = asyncio.create_task(places.take("greedy", 5))
    await asyncio.sleep(0)
    await places.take("modest", 0)
    later = asyncio.create_task(places.take("third", 5))
    await asyncio.sleep(0)
    places.give("modest")
    await later
    assert not waiting.done()
    places.give("third")
    places.give("greedy")
    await waiting
    await places.take("third", 0)
    places.give("greedy")
    await places.take("greedy", 0)
