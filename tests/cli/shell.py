"""`gateway` as people and service managers run it: a process with an environment of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson

ROOT = Path(__file__).resolve().parents[2]
SECRET_KEY = base64.b64encode(bytes(range(32))).decode()
PATIENCE = 30.0

# What the processes may know of the machine; what measures coverage is handed on too.
INHERITED = ("PATH", "HOME", "LANG", "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What a successful command printed on stdout: JSON alone, and nothing on stderr."""
        assert (0, "") == (self.code, self.err), self
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
    """A process that goes on until it is told to stop."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list)
    out: list[str] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    def read(self) -> None:
        """Begin to read what it says."""
        for stream, into in (
            (self.process.stderr, self.lines),
            (self.process.stdout, self.out),
        ):
            assert stream is not None
            self._readers.append(asyncio.create_task(self._follow(stream, into)))

    async def says(self, words: str, times: int = 1) -> list[str]:
        """Wait until so many lines have these words; the lines."""

        def found() -> list[str]:
            return [line for line in [*self.lines, *self.out] if words in line]

        def enough() -> bool:
            return len(found()) >= times or all(reader.done() for reader in self._readers)

        async with self._changed:
            await asyncio.wait_for(self._changed.wait_for(enough), PATIENCE)
        assert len(found()) >= times, (words, self.lines)
        return found()

    async def stop(self, number: signal.Signals = signal.SIGTERM, within: float = 10.0) -> int:
        """Stop it as a service manager does; its exit code."""
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), within)
        await asyncio.gather(*self._readers)
        return code

    async def _follow(self, stream: asyncio.StreamReader, into: list[str]) -> None:
        try:
            async for raw in stream:
                async with self._changed:
                    into.append(raw.decode().rstrip())
                    self._changed.notify_all()
        finally:
            async with self._changed:
                self._changed.notify_all()


@dataclass(frozen=True, kw_only=True)
class Shell:
    """A place where commands are given."""

    folder: Path
    environment: Mapping[str, str]
    _turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(3))

    def having(self, **variables: str) -> Shell:
        """The same with more variables; one that is empty is not set."""
        changed = {**self.environment, **variables}
        kept = {name: value for name, value in changed.items() if value}
        return Shell(folder=self.folder, environment=kept, _turns=self._turns)

    async def run(self, *words: str, **variables: str) -> Done:
        """A command from its beginning to its end."""
        async with self._turns:
            process = await self.having(**variables)._spawn(words)
            try:
                out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
            finally:
                await _end(process)
        return Done(words=words, code=process.returncode or 0, out=out.decode(), err=err.decode())

    @asynccontextmanager
    async def start(self, *words: str, **variables: str) -> AsyncIterator[Running]:
        """A process that goes on meanwhile."""
        running = Running(process=await self.having(**variables)._spawn(words))
        running.read()
        try:
            yield running
        finally:
            await _end(running.process)

    async def _spawn(self, words: tuple[str, ...]) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gateway", *words),
            env={"PYTHONPATH": str(ROOT), **dict(self.environment)},
            cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
            start_new_session=True,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what a test that fails has left, with its children."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def shell_in(folder: Path, **variables: str) -> Shell:
    """A shell that knows nothing but this folder and these variables."""
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    known = {**inherited, "GATEWAY_DATA": str(folder), **variables}
    return Shell(folder=folder, environment=known)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def users_of(folder: Path) -> list[str]:
    """The command lines of the processes that know of a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            known = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
        except (OSError, ValueError):
            continue
        if str(folder).encode() in known:
            found.append((entry / "cmdline").read_bytes().decode(errors="replace"))
    return found


async def get(url: str) -> tuple[int, Any]:
    """Status and body of an answer; JSON is read."""
    async with aiohttp.ClientSession() as http, http.get(url) as response:
        raw = await response.read()
        return response.status, orjson.loads(raw) if "json" in response.content_type else raw
