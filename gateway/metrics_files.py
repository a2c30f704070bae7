"""Numbers in files that the processes of a machine share, written a few times a second.

prometheus-client writes each number each time that it grows: a lock, a look at the process's id and
a copy into the file, five times for one webhook request. Here it grows in memory first.
"""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import values

_PAUSE = 0.1


class Buffer:
    """What has been counted and is not in the files yet; of the event loop's thread."""

    def __init__(self) -> None:
        self._waiting: dict[Any, float] = {}
        self._due_on: asyncio.AbstractEventLoop | None = None

    def add(self, value: Any, amount: float) -> None:  # noqa: ANN401 - a class of the library's
        """Write it with the others, at once where no event loop runs."""
        self._waiting[value] = self._waiting.get(value, 0.0) + amount
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.write()
            return
        if self._due_on is not loop:  # one that has ended keeps no appointment
            loop.call_later(_PAUSE, self.write)
            self._due_on = loop

    def write(self) -> None:
        """Write what waits."""
        self._due_on = None
        waiting, self._waiting = self._waiting, {}
        for value, amount in waiting.items():
            value.write(amount)


def use_files(buffer: Buffer) -> None:
    """Have the library keep numbers in files from now on, through `buffer`.

    It chose where numbers live when it was imported, before the folder was named.
    """
    in_file: Any = values.get_value_class()  # type: ignore[no-untyped-call]

    class Value(in_file):  # type: ignore[misc]
        """A number in a file."""

        def inc(self, amount: float) -> None:
            buffer.add(self, amount)

        def write(self, amount: float) -> None:
            super().inc(amount)

    values.ValueClass = Value
