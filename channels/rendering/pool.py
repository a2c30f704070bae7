"""A few child processes that answer one request at a time, and are killed if they are too slow.

However this process ends, they end too, because the pipe that they read from is closed.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from channels.lines import FullError, Places

# `-I` keeps environment variables and the working folder from affecting its imports.
COMMAND = (sys.executable, "-I", str(Path(__file__).with_name("child.py")))
STOP_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PoolLimits:
    """How many children there are, and how many requests may wait; other limits are in seconds.

    A child that has not answered after `answer` is killed if it has used `cpu` seconds of processor
    time. If it has used less, the machine is busy, and the child gets `starved` seconds more.
    """

    children: int = 2
    waiting: int = 2000
    wait: float = 5.0
    start: float = 5.0
    answer: float = 0.8
    cpu: float = 0.25
    starved: float = 4.0


class PoolBusy(Exception):
    """No child was free in time, or none can be started."""


class ChildFailed(Exception):
    """The child was killed because it was too slow, or died because of this request."""


class Child:
    """One running `child.py`."""

    def __init__(self, process: Process, limits: PoolLimits) -> None:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("a child without pipes")
        self._process = process
        self._limits = limits
        self._stdin = process.stdin
        self._stdout = process.stdout

    @classmethod
    async def start(cls, command: Sequence[str], limits: PoolLimits) -> Child:
        """Start one and wait until it is ready; raises `PoolBusy`.

        It inherits neither our environment, which contains secrets, nor the terminal's signals.
        """
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, cwd="/", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise PoolBusy(f"no process for rendering can be started: {error}") from error
        child = cls(process, limits)
        try:
            async with asyncio.timeout(limits.start):
                await child._read()
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            child.kill()
            await child.stop()
            raise PoolBusy("the process for rendering does not start") from error
        return child

    @property
    def alive(self) -> bool:
        """Whether the process still runs, as far as we know."""
        return self._process.returncode is None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def ask(self, request: bytes) -> dict[str, Any]:
        """The reply to one request; after `ChildFailed` or `PoolBusy` this child is unusable."""
        before = _cpu_seconds(self.pid)
        asking = asyncio.create_task(self._ask(request))
        try:
            await asyncio.wait({asking}, timeout=self._limits.answer)
            if not asking.done() and _cpu_seconds(self.pid) - before < self._limits.cpu:
                await asyncio.wait({asking}, timeout=self._limits.starved)
                if not asking.done() and _cpu_seconds(self.pid) - before < self._limits.cpu:
                    raise PoolBusy("the machine is too busy to render")
            if not asking.done():
                raise ChildFailed("takes too long")
            return asking.result()
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise ChildFailed("takes more memory or a deeper stack than there is") from error
        finally:
            asking.cancel()

    async def _ask(self, request: bytes) -> dict[str, Any]:
        self._stdin.write(len(request).to_bytes(4, "big") + request)
        await self._stdin.drain()
        reply: dict[str, Any] = json.loads(await self._read())
        return reply

    async def _read(self) -> bytes:
        head = await self._stdout.readexactly(4)
        return await self._stdout.readexactly(int.from_bytes(head, "big"))

    def kill(self) -> None:
        """Kill it at once."""
        self._stdin.close()
        if self.alive:
            self._process.kill()

    async def stop(self) -> None:
        """Let it end, or else kill it; returns when it has ended."""
        self._stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _cpu_seconds(pid: int) -> float:
    """Seconds of processor time that a process has used; infinite if the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("inf")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ChildPool:
    """A number of children, each started when first needed; a spent one is replaced at once."""

    def __init__(self, limits: PoolLimits | None = None, command: Sequence[str] = COMMAND) -> None:
        self._limits = limits or PoolLimits()
        self._command = command
        self._places = Places(self._limits.children, room=self._limits.waiting)
        # One entry for each child that is not busy; None for one that was not started yet.
        self._free: list[asyncio.Task[Child] | None] = [None] * self._limits.children
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pids(self) -> list[int]:
        """The ids of the children that wait for work."""
        done = [task for task in self._free if task and task.done() and not task.exception()]
        return [task.result().pid for task in done]

    @asynccontextmanager
    async def place(self, owner: Hashable = None) -> AsyncIterator[None]:
        """The right to ask one child, for which owners take turns; raises `PoolBusy`."""
        try:
            await self._places.take(owner, self._limits.wait)
        except FullError as error:
            raise PoolBusy("too many renderings wait") from error
        except TimeoutError as error:
            raise PoolBusy("no renderer was free in time") from error
        try:
            yield
        finally:
            self._places.give(owner)

    async def ask(self, request: bytes) -> dict[str, Any]:
        """Ask a child that is ready, inside of `place`; raises `PoolBusy` or `ChildFailed`."""
        task, spent = self._take(), True
        try:
            child = await asyncio.shield(task)
            reply = await child.ask(request)
            spent = bool(reply.get("last"))
            return reply
        finally:
            self._free.append(self._replace(task) if spent else task)

    def _take(self) -> asyncio.Task[Child]:
        """A child that is ready, else one that is starting, else a new one."""
        task = max(reversed(self._free), key=lambda task: 0 if task is None else 1 + task.done())
        self._free.remove(task)
        if task is None or (task.done() and (task.exception() or not task.result().alive)):
            return self._start()  # not started yet, or died while it was idle
        return task

    def _start(self) -> asyncio.Task[Child]:
        return asyncio.create_task(Child.start(self._command, self._limits))

    def _replace(self, task: asyncio.Task[Child]) -> asyncio.Task[Child] | None:
        """The entry in place of a spent child; None if it could not be started."""
        if not task.done():
            return task  # the caller was cancelled while the child was starting
        if task.cancelled() or task.exception():
            return None
        child = task.result()
        child.kill()
        ending = asyncio.create_task(child.stop())
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return self._start()

    async def close(self) -> None:
        """End every child."""
        tasks = [task for task in self._free if task]
        children = await asyncio.gather(*tasks, return_exceptions=True)
        self._free.clear()
        stops = [child.stop() for child in children if isinstance(child, Child)]
        await asyncio.gather(*stops, *self._ending)
