"""Numbers grow in memory and reach their files soon, whichever loop runs."""

from __future__ import annotations

import asyncio

from gateway.metrics_files import Buffer


class Number:
    """A number in a file."""

    written = 0.0
    writes = 0

    def write(self, amount: float) -> None:
        """Let it grow."""
        self.written += amount
        self.writes += 1


def test_what_comes_together_is_written_once() -> None:
    """One write brings all that was counted within a tenth of a second."""
    buffer, number = Buffer(), Number()

    async def count() -> None:
        for _ in range(10):
            buffer.add(number, 1)
        assert number.writes == 0
        await asyncio.sleep(0.2)

    asyncio.run(count())
    assert (10, 1) == (number.written, number.writes)


def test_without_a_loop() -> None:
    """Where no loop runs nobody would come to write it: it is written at once."""
    buffer, number = Buffer(), Number()
    buffer.add(number, 2)
    assert (2, 1) == (number.written, number.writes)


def test_a_loop_that_ended() -> None:
    """What a loop left behind is written with what is counted on the next one."""
    buffer, first, second = Buffer(), Number(), Number()

    async def count(number: Number, seconds: float) -> None:
        buffer.add(number, 1)
        await asyncio.sleep(seconds)

    asyncio.run(count(first, 0))
    asyncio.run(count(second, 0.2))
    assert (1, 1) == (first.writes, second.writes)
