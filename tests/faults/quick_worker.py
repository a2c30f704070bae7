"""`gateway worker` that asks the provider sooner: `python -m tests.faults.quick_worker`."""

from __future__ import annotations

from gateway.config import read_settings
from gateway.dispatch.pace import Pace
from gateway.observability.logs import configure
from gateway.runtime import database_of
from gateway.serve import run_loop, serve_worker, stop_on_signals

# The simulator is on this machine: if it does not have a message 1.5 s after the latest start of a
# send, it never will.
QUICK = Pace(latest_start=2.0, ask_every=0.3, sure_after=3.5, twin_wait=0.3)


async def _main() -> None:
    settings = read_settings()
    configure(settings.log_level, settings.log_format)
    async with database_of(settings) as ready:
        await serve_worker(ready, stop_on_signals(), QUICK)


if __name__ == "__main__":
    run_loop(_main())
