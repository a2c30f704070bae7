"""The benchmarks run, measure every path, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_TOLD = ("COVERAGE_", "DATABASE_URL")


def start(tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    """`python -m benchmarks`, in a folder of its own, on its own PostgreSQL; what is measured there
    is not what coverage costs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(NOT_TOLD)}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--quick", *words],
        cwd=ROOT,
        env=env | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def running_below(folder: Path) -> list[str]:
    """The command lines of processes that know a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
            known = line + (path / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in known:
            found.append(line.replace(b"\0", b" ").decode())
    return found


def until_none_runs_below(folder: Path) -> None:
    """Wait until the embedded server, which nobody uses any more, has ended as well."""
    deadline = time.monotonic() + 20
    while found := running_below(folder):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_every_path_is_measured_beside_its_floor_and_its_naive_program(tmp_path: Path) -> None:
    """Rates, costs, goals and memory of every path are in the JSON, and the picture is one."""
    written, drawn = tmp_path / "bench.json", tmp_path / "circle.svg"
    process = start(tmp_path, "--json", str(written), "--plot", str(drawn))
    said, complained = process.communicate(timeout=600)
    assert process.returncode == 0, complained.decode()
    rows = orjson.loads(written.read_bytes())["rows"]
    paths = {row["path"] for row in rows}
    assert {"accept", "dispatch", "receive", "circle", "alone", "cost", "memory"} < paths
    assert {"pgbench accept", "pgbench dispatch", "pgbench receive"} < paths
    assert {"naive accept", "skeleton accept", "naive dispatch", "naive receive"} < paths
    stored = [
        goal
        for row in rows
        for goal in row["goals"]
        if goal["what"] in ("stored of answered", "sent, each once", "delivered of accepted")
    ]
    assert {True} == {goal["is_met"] for goal in stored}
    assert all(row["more"]["taken"] > 0 for row in rows if row["path"] == "dispatch")
    assert all(sum(row["cpu"].values()) > 0 for row in rows if row["path"] == "circle")
    assert b"| accept: single" in said
    assert drawn.read_text().startswith("<svg ")
    until_none_runs_below(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_in_the_middle_everything_is_stopped(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C or SIGTERM ends the servers, the load and PostgreSQL, and takes the folder away."""
    process = start(tmp_path, "--only", "circle", "--soak", "60")
    deadline = time.monotonic() + 180
    while not any("benchmarks.load" in line for line in running_below(tmp_path)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert 130 == process.returncode
    until_none_runs_below(tmp_path)
    assert [] == list(tmp_path.glob("bench-*"))


def test_an_unknown_path_is_named(tmp_path: Path) -> None:
    """A path that there is not is refused with the names of those that there are."""
    process = start(tmp_path, "--only", "accept,fly")
    _, complained = process.communicate(timeout=60)
    assert 2 == process.returncode
    assert b"no path 'fly'; there are: accept, dispatch, receive, circle" in complained
