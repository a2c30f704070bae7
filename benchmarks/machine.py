"""Where it was measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from benchmarks.postgres import Postgres


def describe(postgres: Postgres) -> dict[str, str]:
    """The machine, what else it does, and what runs on it; no name of it and no path."""
    return {
        "processor": _of("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _of("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgres": postgres.value("SELECT split_part(version(), ' ', 2)"),
        "synchronous_commit": postgres.value("SHOW synchronous_commit"),
        "load before": f"{os.getloadavg()[0]:.1f}",
    }


def said(about: dict[str, str]) -> str:
    """The same in one line."""
    return " · ".join(f"{name} {value}" for name, value in about.items())


def _of(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        if line.startswith(name):
            return line.partition(":")[2].strip()
    return "unknown"
