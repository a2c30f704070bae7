"""`gateway` as people and service managers run it: processes with an environment of their own."""

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

# What the processes may know of the machine; what measures coverage is handed on too.
INHERITED = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")
# As long as this process lives: another test's server would take the port meanwhile.
_HELD: list[socket.socket] = []

# Another test migrates a database of its own on the same server, and makes the same roles.
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
        """What a successful command printed on stdout: JSON alone, and nothing on stderr."""
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
    """A process that goes on until it is told to stop, and all that it has said."""

    process: Process
    lines: list[str] = field(default_factory=list)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)
    _said: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self) -> None:
        """Begin to read what it says."""
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            self._readers.append(asyncio.create_task(self._follow(stream)))

    async def says(self, words: str, times: int = 1) -> None:
        """Wait until it has said that so many times; fails when it ends before."""

        async def waiting() -> None:
            while sum(words in line for line in self.lines) < times:
                assert not all(reader.done() for reader in self._readers), (words, self.lines)
                self._said.clear()
                await self._said.wait()

        await asyncio.wait_for(waiting(), PATIENCE)

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 15.0) -> int:
        """Stop it as a service manager does, in so many seconds; its exit code."""
        self.process.send_signal(number)
        return await self.ended(within)

    async def ended(self, within: float = PATIENCE) -> int:
        """Its exit code, once it has ended and all that it said was read."""
        code = await asyncio.wait_for(self.process.wait(), within)
        await asyncio.gather(*self._readers)
        return code

    async def _follow(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            self.lines.append(raw.decode().rstrip())
            self._said.set()
        self._said.set()


class Office:
    """Where one process gives one command after another, of many tests (`tests/cli/clerk.py`)."""

    def __init__(self) -> None:
        self._clerk: subprocess.Popen[bytes] | None = None

    def give(self, words: Sequence[str], environment: Mapping[str, str], folder: Path) -> Done:
        """A command from its beginning to its end."""
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
        """Let the clerk go; another comes for the next command."""
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
    """Who gives commands in a folder and an environment, one after another."""

    folder: Path
    environment: Mapping[str, str]

    async def run(self, *words: str, **variables: str) -> Done:
        """A command from its beginning to its end."""
        told = {**self.environment, **variables}
        return await asyncio.to_thread(OFFICE.give, words, told, self.folder)


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A folder and an environment in which commands are given."""

    folder: Path
    environment: Mapping[str, str]

    async def run(self, *words: str, **variables: str) -> Done:
        """A command from its beginning to its end, in a process of its own."""
        process = await self._spawn(words, variables)
        try:
            out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        finally:
            await _end(process)
        return Done(words=words, code=process.returncode or 0, out=out.decode(), err=err.decode())

    def clerk(self) -> Clerk:
        """A clerk who works here."""
        return Clerk(folder=self.folder, environment=self.environment)

    @asynccontextmanager
    async def start(self, *words: str, **variables: str) -> AsyncIterator[Running]:
        """A process that goes on meanwhile."""
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
    """End what a test that fails has left, with its children."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def inherited() -> dict[str, str]:
    """What processes may know of the machine."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def shell_in(folder: Path, **variables: str) -> Shell:
    """A shell that knows nothing but this folder and these variables."""
    known = {**inherited(), "GATEWAY_DATA": str(folder), **variables}
    return Shell(folder=folder, environment=known)


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody who asks for any."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    port: int = held.getsockname()[1]
    return port


def users_of(folder: Path) -> list[str]:
    """The command lines of the processes that were told of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except OSError:  # it has ended, or it is no process
            continue
        if str(folder).encode() in told:
            found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
    return found


async def until(true: Callable[[], Awaitable[object] | object], seconds: float = 30.0) -> None:
    """Wait until something holds; fails after so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            found = true()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.05)


async def get(url: str, **more: Any) -> tuple[int, Any]:
    """Status and body of an answer; JSON is read."""
    async with aiohttp.ClientSession() as http, http.get(url, **more) as response:
        raw = await response.read()
        return response.status, orjson.loads(raw) if "json" in response.content_type else raw
