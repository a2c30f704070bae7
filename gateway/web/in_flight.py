"""Requests in flight, counted so that stopping can wait for them, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from aiohttp import web

# Seconds for streams to end by themselves.
_GRACE = 2.0


class InFlight:
    """How many requests are being answered, and whether the process is about to stop."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()
        self._stopping = asyncio.Event()
        self._cuts: set[Callable[[], None]] = set()

    def __enter__(self) -> None:
        self._count += 1
        self._none.clear()

    def __exit__(self, *_: object) -> None:
        self._count -= 1
        if self._count == 0:
            self._none.set()

    @property
    def stopping(self) -> bool:
        """Whether the process is about to stop: it finishes requests, but begins no new ones."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Tell all requests that the process is about to stop; streams have a moment to end."""
        if not self._stopping.is_set():
            self._stopping.set()
            asyncio.get_running_loop().call_later(_GRACE, self._cut)

    @contextmanager
    def streaming(self, cut: Callable[[], None]) -> Iterator[None]:
        """Around an answer that may take long: `cut` ends it when the process has to stop."""
        self._cuts.add(cut)
        try:
            yield
        finally:
            self._cuts.discard(cut)

    def _cut(self) -> None:
        for cut in tuple(self._cuts):
            cut()

    async def stopped(self) -> None:
        """Return when the process is about to stop."""
        await self._stopping.wait()

    async def none(self) -> None:
        """Return when no request is being answered."""
        await self._none.wait()


IN_FLIGHT: web.AppKey[InFlight] = web.AppKey("in_flight", InFlight)
