"""A few child processes that answer one request each, killed when they take too long; they end
with us, in whatever way we die, because the pipe that they read from closes then.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("sandbox_child.py")
CHILDREN = 2
WAITING = 2000
WAIT_SECONDS = 5.0
START_SECONDS = 5.0
ANSWER_SECONDS = 0.8
STOP_SECONDS = 1.0


class PoolBusy(Exception):
    """No child was free in time, or none can be started."""


class ChildFailed(Exception):
    """The child was killed for its slowness, or died over this request."""


class Child:
    """One running `channels/sandbox_child.py`."""

    def __init__(self, process: Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("a child without pipes")
        self._process = process
        self._stdin = process.stdin
        self._stdout = process.stdout

    @classmethod
    async def start(cls) -> Child:
        """Start one and wait until it can be asked; raises `PoolBusy`.

        By its path: `-I` keeps the environment and the working folder out of its imports. Nothing
        is inherited, neither variables (they hold secrets) nor the terminal's signals.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(CHILD),
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise PoolBusy(f"no process for rendering can be started: {error}") from error
        child = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                await child._read()
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            await child.stop()
            raise PoolBusy("the process for rendering does not start") from error
        except asyncio.CancelledError:
            child.kill()
            raise
        return child

    @property
    def alive(self) -> bool:
        """Whether the process still runs, as far as we have heard."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def ask(self, request: bytes) -> dict[str, Any]:
        """The reply to one request; raises `ChildFailed`, after which this child is spent."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._stdin.write(len(request).to_bytes(4, "big") + request)
                await self._stdin.drain()
                reply: dict[str, Any] = json.loads(await self._read())
        except TimeoutError as error:
            raise ChildFailed("takes too long") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ChildFailed("takes more memory or a deeper stack than there is") from error
        return reply

    async def _read(self) -> bytes:
        head = await self._stdout.readexactly(4)
        return await self._stdout.readexactly(int.from_bytes(head, "big"))

    def kill(self) -> None:
        """End it at once."""
        self._stdin.close()
        if self.alive:
            self._process.kill()

    async def stop(self) -> None:
        """Let it end, or end it; returns when it is gone."""
        self._stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


class ChildPool:
    """So many children, started when the first is wanted; one that is spent is replaced at once."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(CHILDREN)
        self._waiting = 0
        self._free: list[asyncio.Task[Child] | None] = []
        self._started = False
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The ids of the children that wait for work."""
        done = [task for task in self._free if task and task.done() and not task.exception()]
        return [task.result().pid for task in done]

    async def ask(self, request: bytes) -> dict[str, Any]:
        """Ask whichever child is free first; raises `PoolBusy` or `ChildFailed`."""
        if self._waiting >= WAITING:
            raise PoolBusy("too many renderings wait")
        self._waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._slots.acquire()
        except TimeoutError as error:
            raise PoolBusy("no renderer was free in time") from error
        finally:
            self._waiting -= 1
        try:
            return await self._ask_one(request)
        finally:
            self._slots.release()

    async def _ask_one(self, request: bytes) -> dict[str, Any]:
        task, spent = self._take(), True
        try:
            child = await asyncio.shield(task)
            reply = await child.ask(request)
            spent = bool(reply.get("last"))
            return reply
        finally:
            self._free.append(self._replace(task) if spent else task)

    def _take(self) -> asyncio.Task[Child]:
        """A child that is ready, or else one that starts."""
        if not self._started:
            self._started = True
            self._free += [asyncio.create_task(Child.start()) for _ in range(CHILDREN)]
        ready = (task for task in reversed(self._free) if task and task.done())
        task = next(ready, self._free[-1])
        self._free.remove(task)
        if task is None or (task.done() and (task.exception() or not task.result().alive)):
            return asyncio.create_task(Child.start())  # what was there died while it waited
        return task

    def _replace(self, task: asyncio.Task[Child]) -> asyncio.Task[Child] | None:
        """What stands for a child that is not to be asked again; None where none can start."""
        if not task.done():
            return task  # the caller went away while it was starting
        if task.cancelled() or task.exception():
            return None
        child = task.result()
        child.kill()
        ending = asyncio.create_task(child.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return asyncio.create_task(Child.start())

    async def close(self) -> None:
        """End every child."""
        tasks = [task for task in self._free if task]
        children = await asyncio.gather(*tasks, return_exceptions=True)
        self._free.clear()
        stops = [child.stop() for child in children if isinstance(child, Child)]
        await asyncio.gather(*stops, *self._ending)

