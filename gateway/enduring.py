"""Storing what is known nowhere else: it is tried until the database takes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.logs import logger
from gateway.store.errors import DatabaseAwayError

_log = logger(__name__)

# Seconds: the longest pause while the database is away, and where a defect is to be mended.
_AWAY, _DEFECT = 2.0, 30.0


async def until_stored(store: Callable[[], Awaitable[None]], *, most_defects: int) -> None:
    """Store it, however long the database is away.

    What nobody expected is tried, too, `most_defects` times: then its error is raised.
    """
    wait, defects = 0.1, 0
    while True:
        try:
            await store()
        except DatabaseAwayError as error:
            _log.warning("the database is away, an outcome waits", error=str(error))
            longest = _AWAY
        except Exception:
            defects += 1
            if defects >= most_defects:
                raise
            _log.exception("an outcome could not be stored, it waits")
            longest = _DEFECT
        else:
            return
        await asyncio.sleep(wait)
        wait = min(wait * 2, longest)
