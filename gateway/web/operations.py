"""/healthz, /readyz and /metrics."""

from __future__ import annotations

import asyncio

from aiohttp import web

from gateway.observability.logs import logger
from gateway.problems import Problem
from gateway.schema import migrate
from gateway.store import queue, upkeep
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError
from gateway.web.http import respond
from gateway.web.services import SERVICES

_log = logger(__name__)

# Prometheus gives up a scrape after ten seconds: without the database the rest must still answer.
_COUNT_SECONDS = 3


def add_routes(app: web.Application, start: str) -> None:
    """Add the paths that operators use, behind `start`."""
    app.router.add_get(start + "/healthz", healthz)
    app.router.add_get(start + "/readyz", readyz)
    app.router.add_get(start + "/metrics", metrics)


async def healthz(_: web.Request) -> web.Response:
    """The process answers."""
    return respond({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """The database answers and has every migration; 503 says what is missing."""
    try:
        async with request.app[SERVICES].database.as_service() as db:
            applied = await upkeep.migrations(db)
    except DatabaseAwayError as error:
        raise Problem(503, f"{error}.") from None
    missing = [version for version in migrate.versions() if version not in applied]
    if missing:
        named = ", ".join(missing)
        raise Problem(503, f"Migrations are missing ({named}): run 'gateway migrate up'.")
    return respond({"status": "ok", "migrations": applied})


async def metrics(request: web.Request) -> web.Response:
    """Metrics for Prometheus, of all processes on this machine, also while the database is away.

    Those of the queue are left out then, and `gateway_database_up` is 0.
    """
    services = request.app[SERVICES]
    counting = asyncio.create_task(_depth(services.database))
    try:
        # Does not wait for its end: giving up a connection that does not answer takes long.
        await asyncio.wait({counting}, timeout=_COUNT_SECONDS)
        depth = counting.result() if counting.done() else None
    finally:
        if counting.cancel():
            _log.warning("the queue cannot be counted", error="not in time")
    return web.Response(
        body=services.metrics.page(depth),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def _depth(database: Database) -> list[tuple[str, int, float]] | None:
    try:
        async with database.as_service() as db:
            return await queue.depth(db)
    except DatabaseAwayError as error:
        _log.warning("the queue cannot be counted", error=str(error))
        return None
