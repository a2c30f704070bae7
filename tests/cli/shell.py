"""Runs `gateway` as people and service managers do: processes with an environment of their own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

ROOT = Path(__file__).resolve().parents[2]
SECRET_KEY = base64.b64encode(bytes(range(32))).decode()
PATIENCE = 60.0

# Variables that the processes inherit, including those for the measurement of coverage.
INHERITED = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
# Sockets that reserve ports until this process ends: another test's server could take them.
_HELD: list[socket.socket] = []

# Lines of a command that waits while another test migrates a database on the same server: both
# make the same roles.
_OF_NEIGHBOURS = re.compile(r"gateway: waiting: .*\(gateway migrate \w+\).*\n")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    words: Sequence[str]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON that a successful command printed on stdout, with nothing on stderr."""
        assert (0, "") == (self.code, _OF_NEIGHBOURS.sub("", self.err)), self
        return orjson.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line of a command that stopped with exit code 1, without `gateway: `."""
        assert (1, "") == (self.code, self.out), self
        (line,) = self.err.splitlines()
        assert line.startswith("gateway: "), self
        return line.removeprefix("gateway: ")


@dataclass(kw_only=True)
class Running:
    """A process that runs until it is stopped, and its output."""

    process: Process
    lines: list[str] = field(default_factory=list)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self) -> None:
        """Begin to read its output."""
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            self._readers.append(asyncio.create_task(self._follow(stream)))

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until its output has this text so many times; fails if it ends before."""

        async def waiting() -> None:
            while sum(words in line for line in self.lines) < times:
                assert not all(reader.done() for reader in self._readers), (words, self.lines)
                self._said.clear()
                await self._said.wait()

        await asyncio.wait_for(waiting(), PATIENCE)

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 15.0) -> int:
        """Stop it as a service manager does, within so many seconds; returns its exit code."""
        self.process.send_signal(number)
        return await self.ended(within)

    async def ended(self, within: float = PATIENCE) -> int:
        """Its exit code, once it has ended and all its output was read."""
        code = await asyncio.wait_for(self.process.wait(), within)
        await asyncio.gather(*self._readers)
        return code

    async def _follow(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            self.lines.append(raw.decode().rstrip())
            self._said.set()
        self._said.set()


class Office:
    """One process that runs commands of many tests, one after another (`tests/cli/clerk.py`)."""

    def __init__(self) -> None:
        self._clerk: subprocess.Popen[bytes] | None = None

    def give(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Done:
        """Run a command to its end."""
        clerk = self._clerk = self._clerk or self._begin()
        assert clerk.stdin is not None
        assert clerk.stdout is not None
        late = threading.Timer(PATIENCE, clerk.kill)
        late.start()
        clerk.stdin.write(json.dumps([words, dict(environment), str(folder)]).encode() + b"\n")
        clerk.stdin.flush()
        line = clerk.stdout.readline()
        late.cancel()
        if not line:
            self.close()
        assert line, "the clerk is gone"
        code, out, err = orjson.loads(line)
        return Done(words=words, code=code, out=out, err=err)

    def close(self) -> None:
        """End the process; the next command starts another."""
        clerk, self._clerk = self._clerk, None
        if clerk is not None:
            clerk.communicate(timeout=PATIENCE)

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cli.clerk"],
            env={**inherited(), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )


OFFICE = Office()


@dataclass(frozen=True, kw_only=True)
class Clerk:
    """Runs commands in a folder and an environment, in the process of `OFFICE`."""

    folder: Path
    environment: Mapping[str, str]

    async def run(self, *words: str, **variables: str) -> Done:
        """Run a command to its end."""
        told = {**self.environment, **variables}
        return await asyncio.to_thread(OFFICE.give, words, told, self.folder)


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A folder and an environment in which commands are run."""

    folder: Path
    environment: Mapping[str, str]

    async def run(self, *words: str, **variables: str) -> Done:
        """Run a command to its end, in a process of its own."""
        process = await self._spawn(words, variables)
        try:
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        finally:
            await _end(process)
        return Done(words=words, code=process.returncode or 0, out=out.decode(), err=err.decode())

    def clerk(self) -> Clerk:
        """A clerk for this folder and environment."""
        return Clerk(folder=self.folder, environment=self.environment)

    @asynccontextmanager
    async def start(self, *words: str, **variables: str) -> AsyncIterator[Running]:
        """A process that runs while the block does."""
        running = Running(process=await self._spawn(words, variables))
        running.read()
        try:
            yield running
        finally:
            await _end(running.process)

    async def _spawn(self, words: Sequence[str], variables: Mapping[str, str]) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", *words),
            env={**self.environment, "PYTHONPATH": str(ROOT), **variables},
            cwd=self.folder,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            limit=2**20,
            start_new_session=True,
        )


async def _end(process: Process) -> None:
    """Kill a process that a failed test has left, with its children."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def inherited() -> dict[str, str]:
    """The variables that processes inherit."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def shell_in(folder: Path, **variables: str) -> Shell:
    """A shell with only this folder and these variables."""
    known = {**inherited(), "GATEWAY_DATA": str(folder), **variables}
    return Shell(folder=folder, environment=known)


def free_port() -> int:
    """A free port, reserved: the system does not give it to programs that ask for any port."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port


def users_of(folder: Path) -> list[str]:
    """The command lines of the processes that have a folder in their arguments or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:  # it has ended, or it is not a process
            continue
        if str(folder).encode() in told:
            found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
    return found


async def until(true: Callable[[], Awaitable[object] | object], seconds: float = 30.0) -> None:
    """Wait until something is true; fails after so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            found = true()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.05)


async def get(url: str, **more: Any) -> tuple[int, Any]:
    """Status and body of an answer; JSON is parsed."""
    async with aiohttp.ClientSession() as http, http.get(url, **more) as response:
        raw = await response.read()
        return response.status, orjson.loads(raw) if "json" in response.content_type else raw
