"""`gateway worker` that asks the provider sooner: `python -m tests.faults.quick_worker`.

Everything else is as `gateway.serve.serve_worker` and `gateway.cli.serving.worker` have it.
"""

from __future__ import annotations

import asyncio

import aiohttp

from gateway.app import api_urls
from gateway.config import Settings, read_settings
from gateway.dispatch import Dispatching
from gateway.logs import configure, logger
from gateway.metrics import Metrics
from gateway.outcomes import Pace
from gateway.runtime import database_of
from gateway.serve import run_loop, stop_on_signals
from gateway.store.database import Database
from gateway.vault import Vault
from gateway.worker import Worker

# The simulator is on this machine: what it has not got 1.5 s after the latest start of a send, it
# never will.
QUICK = Pace(latest_start=2.0, ask_every=0.3, sure_after=3.5, twin_wait=0.3)

_log = logger(__name__)


async def work(settings: Settings, stop: asyncio.Event, pace: Pace) -> None:
    """Be a worker until `stop` is set."""
    dsn = str(settings.database_url)
    database = await Database.connect(dsn)
    connector = aiohttp.TCPConnector(limit=1000)
    jar = aiohttp.DummyCookieJar()
    try:
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:
            dispatching = Dispatching(
                database,
                Vault(settings.gateway_secret_keys),
                session,
                Metrics(),
                base_url=settings.base_url,
                api_urls=api_urls(settings),
                pace=pace,
            )
            worker = Worker(database, dispatching, dsn, settings.worker_concurrency)
            working = asyncio.create_task(worker.run())
            _log.info("worker is ready")
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            worker.stop()
            await working
    finally:
        await database.close()


async def _main() -> None:
    settings = read_settings()
    configure(settings.log_level, settings.log_format)
    async with database_of(settings) as ready:
        await work(ready, stop_on_signals(), QUICK)


if __name__ == "__main__":
    run_loop(_main())
