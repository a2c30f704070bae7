"""Storing outcomes that only this process knows: retried until the database takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from gateway.observability.logs import logger
from gateway.store.errors import DatabaseAwayError

_log = logger(__name__)

# The longest pause in seconds: while the database is down, and after an unexpected error.
_AWAY, _DEFECT = 2.0, 30.0


async def until_stored(store: Callable[[], Awaitable[None]], *, most_defects: int) -> None:
    """Call `store` until it succeeds, however long the database is down.

    After `most_defects` unexpected errors, raises the last one.
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
