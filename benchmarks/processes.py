"""The processes of a measurement: started, watched through /proc, and stopped in any case."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_TICK = os.sysconf("SC_CLK_TCK")
_READY = 60.0
_STOP = 30.0
# Sockets that reserve the ports of `free_port`, also while no process listens on them.
_HELD: list[socket.socket] = []


class NotMeasuredError(Exception):
    """Something went wrong that makes the numbers worthless; one line says what."""


class Child:
    """A process with its output; it is killed if this process ends."""

    def __init__(
        self, name: str, words: Sequence[str], env: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*guard, sys.executable, *words],
                env=dict(env),
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def wait_until(self, text: str, times: int = 1) -> None:
        """Wait until its output has a text so many times."""
        deadline = time.monotonic() + _READY
        while self.log.read_bytes().count(text.encode()) < times:
            if self._process.poll() is not None:
                raise NotMeasuredError(f"{self.name} ended:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise NotMeasuredError(f"{self.name} is not ready:\n{self.last_words()}")
            time.sleep(0.02)

    def last_words(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """Stop it with SIGTERM, as a supervisor does; kill it if it does not end."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # including its children
            self._process.wait()

    def kill(self) -> None:
        """Kill it, and its children."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a process and its descendants have used: seconds of CPU, peak bytes of the largest."""

    cpu: float
    peak: int


def usage(pid: int) -> Usage:
    """What a process and its descendants have used so far."""
    cpu, peak = 0.0, 0
    for each in _tree(pid):
        try:
            stat = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{each}/status").read_text()
        except OSError:
            continue  # it has just ended, and its time was added to its parent's
        cpu += sum(int(ticks) for ticks in stat[11:15]) / _TICK
        high = status.partition("VmHWM:")[2].split(None, 1)
        peak = max(peak, int(high[0]) * 1024 if high else 0)
    return Usage(cpu=cpu, peak=peak)


def resident(pid: int) -> int:
    """Bytes in memory of a process and its descendants, with shared pages counted once."""
    total = 0
    for each in _tree(pid):
        try:
            text = Path(f"/proc/{each}/smaps_rollup").read_text()
        except OSError:
            continue
        total += int(text.partition("\nPss:")[2].split(None, 1)[0]) * 1024
    return total


def all_busy() -> float:
    """Seconds for which all cores have been busy since the machine started."""
    words = Path("/proc/stat").read_text().split(None, 9)
    # user, nice, system, irq, softirq, steal
    return sum(int(words[n]) for n in (1, 2, 3, 6, 7, 8)) / _TICK


def _tree(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, look = [], [pid]
    while look:
        found.append(look.pop())
        look += children.get(found[-1], [])
    return found


def free_port() -> int:
    """A free port of the loopback address, reserved until this process ends: the system does not
    give it to programs that ask for any port."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    return int(held.getsockname()[1])
