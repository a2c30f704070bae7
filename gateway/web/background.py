"""Background work of a web process, restarted if it fails, because nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from gateway.observability.logs import logger

_log = logger(__name__)

_PAUSE = 1.0


@asynccontextmanager
async def background(**works: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run these functions concurrently while the block lasts.

    If one fails unexpectedly, that is logged with its name, and it is restarted after a second: the
    process goes on to answer requests.
    """
    tasks = [asyncio.create_task(_kept_up(name, work)) for name, work in works.items()]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _kept_up(name: str, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception:  # noqa: BLE001 - what failed once is tried again
            _log.exception("work beside the requests failed, it begins anew", work=name)
            await asyncio.sleep(_PAUSE)
        else:
            return
