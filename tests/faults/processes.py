"""`gateway web` and `gateway worker` as processes: watched, killed, started again."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson

from tests.faults.stage import SECRET_KEY

WEB = ("-m", "gateway", "web", "--host", "127.0.0.1")
WORKER = ("-m", "gateway", "worker")
QUICK_WORKER = ("-m", "tests.faults.quick_worker")

# What must not be in a log: it means a defect of the code, not a fault of the surroundings.
DEFECTS = ('"event": "unexpected"', "could not be worked on", "housekeeping failed", "Traceback")
ROOT = Path(__file__).resolve().parents[2]


def environment(
    *, port: int, simulator_url: str, data: Path, dsn: str | None = None
) -> dict[str, str]:
    """The environment of the processes, which use `dsn`, or else the embedded server of `data`."""
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    told = {
        "PYTHONPATH": str(ROOT),
        "GATEWAY_DATA": str(data),
        "PORT": str(port),
        "PUBLIC_URL": f"http://127.0.0.1:{port}",
        "TWILIO_API_URL": simulator_url,
        "LOG_LEVEL": "info",
    }
    if dsn is not None:
        told |= {"DATABASE_URL": dsn}
    told |= {"GATEWAY_SECRET_KEYS": base64.b64encode(SECRET_KEY).decode()}
    return inherited | told


class Process:
    """One process, the end of its log, and the log's lines that show defects."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self._words = words
        self.environment = env
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        self.last_words: deque[str] = deque(maxlen=40)
        self.defects: list[str] = []
        self.lost_leases = 0

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it; `ready` is set when it logs that it is ready."""
        self.ready.clear()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._words,
            env=dict(self.environment),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
            start_new_session=True,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def wait(self) -> int:
        """Its exit code, once it has ended and its log was read."""
        assert self._process is not None
        assert self._reading is not None
        code = await self._process.wait()
        self.ready.clear()
        # A child of it may hold the pipe a moment longer.
        await asyncio.wait({self._reading}, timeout=5)
        return code

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.is_alive:
            assert self._process is not None
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self) -> None:
        """Kill it if it still runs."""
        self.send(signal.SIGKILL)
        if self._process is not None:
            await self.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for raw in process.stderr:
            line = raw.decode(errors="replace").rstrip()
            self.last_words.append(line)
            if "is ready" in line:
                self.ready.set()
            if "looked after" in line:
                with suppress(ValueError, KeyError):
                    self.lost_leases += int(orjson.loads(line)["count"])
            if any(words in line for words in DEFECTS):
                self.defects.append(_short(line))


def _short(line: str) -> str:
    """A log line without what differs each time: event, path, the last line of the exception."""
    try:
        said = orjson.loads(line)
    except ValueError:
        return line[:500]
    last = str(said.get("exception", "")).rstrip().rpartition("\n")[2]
    return f"{said.get('event')} {str(said.get('path', ''))[:12]} {last[:300]}"


class Supervisor:
    """Keeps a process alive: starts it again at once, as a service manager does."""

    def __init__(self, name: str, words: Sequence[str], env: Mapping[str, str]) -> None:
        self.name = name
        self.process = Process(words, env)
        self.starts = 0
        self.endings: list[int] = []
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and look after it."""
        await self.process.start()
        self.starts = 1
        self._task = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while True:
            code = await self.process.wait()
            if self._stopping:
                return
            if code != -signal.SIGKILL:
                self.endings.append(code)
                await asyncio.sleep(0.2)
            await self.process.start()
            self.starts += 1

    async def stop(self) -> int:
        """Stop it as a service manager does, and return its exit code; kill it after 40 s."""
        self._stopping = True
        self.process.send(signal.SIGTERM)
        try:
            return await asyncio.wait_for(self.process.wait(), 40)
        finally:
            await self.process.end()
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)


@asynccontextmanager
async def supervised(*supervisors: Supervisor) -> AsyncIterator[None]:
    """Run the processes while the block does."""
    try:
        for supervisor in supervisors:
            await supervisor.start()
        yield
    finally:
        await asyncio.gather(*(some.stop() for some in supervisors), return_exceptions=True)
