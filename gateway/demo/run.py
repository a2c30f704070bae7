"""`gateway demo`: messages on all four channels, sent and answered without leaving the machine.

It starts a PostgreSQL of its own, and runs the providers' simulator, web and worker in one process.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console

from gateway import simulator
from gateway.config import Settings, SettingsError
from gateway.demo.organization import PROVIDERS, settle
from gateway.demo.printing import print_conversation
from gateway.demo.story import PHONE, NotAsPlannedError, Stage, play
from gateway.folders import make_file
from gateway.runtime import database_of
from gateway.serve import bind, serve_web, serve_worker, stop_on_signals

_START_S = 30.0
# Seconds for the whole story.
_PATIENCE_S = 60.0


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock the folder of the demo; raises `SettingsError` if another demo uses it.

    Two demos would share a database: the worker of one would send the other's messages to its own
    simulator, which does not know their accounts.
    """
    try:
        make_file(folder / "demo.lock")
        descriptor = os.open(folder / "demo.lock", os.O_RDWR)
    except OSError as error:
        raise SettingsError(f"GATEWAY_DATA: {folder} cannot be used: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(
                f"GATEWAY_DATA: a demo runs in {folder} already: end it, or name another folder"
            ) from None
        yield
    finally:
        os.close(descriptor)


async def run_demo(
    settings: Settings, *, once: bool, port: int, out: Console, err: Console
) -> bool:
    """Play the conversation, print it, and go on serving unless `once`; whether all went well.

    Raises `NotAsPlannedError`, `PortTakenError`, or any error that keeps web or worker from
    starting.
    """
    with err.status("Starting PostgreSQL ...") as status:
        async with _stage(settings, 0 if once else port, status.update) as stage:
            try:
                async with asyncio.timeout(_PATIENCE_S):
                    conversation = await play(stage, status.update)
            except (TimeoutError, NotAsPlannedError, aiohttp.ClientError) as error:
                status.stop()
                why = f"{error}" or f"it was not over after {_PATIENCE_S:.0f} s"
                out.print(f"The demo did not finish: {why}", markup=False)
                if isinstance(error, TimeoutError):
                    out.print(f"It was waiting for: {stage.waiting_for}", markup=False)
                return False
            status.stop()
            print_conversation(conversation, out)
            if not once:
                # Until here signals end the process at once: there was nothing to finish.
                stop = stop_on_signals()
                _invite(stage, out)
                await stop.wait()
    return True


@asynccontextmanager
async def _stage(
    settings: Settings,
    port: int,
    say: Any,  # noqa: ANN401 - rich's update
) -> AsyncIterator[Stage]:
    # Whatever the environment says, the demo uses only this folder and this machine: also for
    # files, and for passwords that somebody enters in the inbox.
    own = settings.model_copy(
        update={
            "gateway_data": settings.gateway_data / "demo",
            "database_url": None,
            "gateway_media_url": None,
            "supabase_url": None,
            "supabase_anon_key": None,
        }
    )
    bound = bind("127.0.0.1", port, told_by="--port")
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    at: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    over = asyncio.Event()
    async with database_of(own) as found:
        say("Starting simulator, web and worker ...")
        providers = asyncio.create_task(simulator.run("127.0.0.1", 0, at.set_result))
        ready = found.model_copy(
            update={"public_url": url, "provider_api_urls": dict.fromkeys(PROVIDERS, await at)}
        )
        up = asyncio.Event()
        serving = [
            asyncio.create_task(serve_web(ready, bound, over, up.set)),
            asyncio.create_task(serve_worker(ready, over)),
        ]
        try:
            await _start(up, serving)
            async with aiohttp.ClientSession(at.result()) as sim:
                settled = await settle(ready, url, sim)
                headers = {"Authorization": f"Bearer {settled.key}"}
                async with aiohttp.ClientSession(url, headers=headers) as api:
                    yield Stage(
                        api=api,
                        simulator=sim,
                        key=settled.key,
                        url=url,
                        simulator_url=at.result(),
                        inbox=settled.inbox,
                    )
        finally:
            over.set()
            await asyncio.gather(*serving, return_exceptions=True)
            providers.cancel()
            await asyncio.gather(providers, return_exceptions=True)


async def _start(up: asyncio.Event, serving: Sequence[asyncio.Task[None]]) -> None:
    """Wait until web answers; raises the error if web or worker does not start."""
    starting = asyncio.create_task(up.wait())
    done, _ = await asyncio.wait(
        {starting, *serving}, timeout=_START_S, return_when=asyncio.FIRST_COMPLETED
    )
    starting.cancel()
    for task in done:
        await task
    if not done:
        raise NotAsPlannedError(f"web did not start within {_START_S:.0f} s")


def _invite(stage: Stage, out: Console) -> None:
    out.print("\nThe staff inbox; this link signs you in, once:\n")
    out.print(f"  {stage.inbox}", markup=False)
    out.print(f"\nThe gateway answers at [bold]{stage.url}[/bold]; try it while it runs:\n")
    command = _command(sys.argv[0])
    out.print(f"  export GATEWAY_URL={stage.url} GATEWAY_API_KEY={stage.key}", markup=False)
    out.print(f"  export SIMULATOR_URL={stage.simulator_url}", markup=False)
    out.print(f"  {command} send --channel sms --to '{PHONE}' --body 'Hello' --wait", markup=False)
    out.print(
        '  curl -s "$GATEWAY_URL/v1/messages" -H "Authorization: Bearer $GATEWAY_API_KEY"',
        markup=False,
    )
    out.print(f"  {stage.url}/docs   the API, to read and to try\n", markup=False)
    out.print("Ctrl-C ends it.")


def _command(started: str) -> str:
    """How to call another command: as this one was called."""
    if Path(started).name == "__main__.py":  # started with python -m
        return f"{shlex.quote(sys.executable)} -m gateway"
    return "gateway" if shutil.which("gateway") else shlex.quote(started)
