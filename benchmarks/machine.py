"""The machine on which it was measured."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.postgres import Postgres
from benchmarks.processes import all_busy, usage


def describe(postgres: Postgres) -> dict[str, str]:
    """The machine and its software, without its name or any path."""
    return {
        "processor": _of("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _of("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgres": postgres.value("SELECT split_part(version(), ' ', 2)"),
        "synchronous_commit": postgres.value("SHOW synchronous_commit"),
    }


@dataclass(kw_only=True)
class Others:
    """How much of the cores other programs use: much of it would spoil a run."""

    postgres: int | None
    _began: float = field(default_factory=time.monotonic)
    _busy: float = field(default_factory=all_busy)
    _own: float = 0.0

    def __post_init__(self) -> None:
        """Count from now on."""
        self._own = self._used()

    def share(self) -> str:
        """The share of all cores that other programs have used since the beginning."""
        took = (time.monotonic() - self._began) * len(os.sched_getaffinity(0))
        return f"{100 * (all_busy() - self._busy - self._used() + self._own) / took:.0f} %"

    def _used(self) -> float:
        pids = (os.getpid(), *([self.postgres] if self.postgres else []))
        return sum(usage(pid).cpu for pid in pids)


def said(about: dict[str, str]) -> str:
    """The description in one line."""
    return " · ".join(f"{name} {value}" for name, value in about.items())


def _of(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
