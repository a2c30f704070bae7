"""One measurement: the load runs, and the cost for each process is measured."""

from __future__ import annotations

import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace

import orjson

from benchmarks.load import Outcome, Spec, pack
from benchmarks.processes import ROOT, Child, NotMeasuredError, Usage, usage
from benchmarks.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of CPU of each kind of process in some time, and the peak memory of the largest."""

    seconds: float
    cpu: dict[str, float]
    peak: dict[str, int]

    def per_message(self, messages: float) -> dict[str, float]:
        """Milliseconds of CPU for one message, by kind of process."""
        return {name: 1000 * cpu / messages for name, cpu in self.cpu.items()} if messages else {}


@dataclass
class Watch:
    """What processes use between `begin` and `end`; those with one name are counted together."""

    pids: dict[str, list[int]]
    _at: float = 0.0
    _before: dict[str, Usage] = field(default_factory=dict)

    def begin(self) -> None:
        """Count from now on."""
        self._before = self._usages()
        self._at = time.monotonic()

    def end(self) -> Cost:
        """What has been used since `begin`."""
        after = self._usages()
        return Cost(
            seconds=time.monotonic() - self._at,
            cpu={name: after[name].cpu - self._before[name].cpu for name in after},
            peak={name: each.peak for name, each in after.items()},
        )

    def _usages(self) -> dict[str, Usage]:
        return {name: _together([usage(pid) for pid in pids]) for name, pids in self.pids.items()}


def _together(usages: Sequence[Usage]) -> Usage:
    return Usage(cpu=sum(each.cpu for each in usages), peak=max(each.peak for each in usages))


def watch(stage: Stage, **children: Child | Sequence[Child]) -> Watch:
    """A watch over these processes, and over PostgreSQL if it runs here."""
    pids = {
        name: [given.pid] if isinstance(given, Child) else [child.pid for child in given]
        for name, given in children.items()
    }
    server = stage.postgres.pid
    return Watch(pids if server is None else pids | {"postgres": [server]})


@dataclass(kw_only=True)
class Loading:
    """A load under way; after `finish` its outcome and its cost."""

    process: subprocess.Popen[bytes]
    watch: Watch

    def finish(self, look: Callable[[], None] | None = None) -> tuple[Outcome, Cost]:
        """Wait until it is over, and call `look` every second.

        Raises `NotMeasuredError` if an answer was wrong.
        """
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        while look and not select.select([self.process.stdout], [], [], 1.0)[0]:
            look()
        line = self.process.stdout.readline()
        cost = self.watch.end()
        if self.process.wait() or not line:
            raise NotMeasuredError("the load generator ended early")
        outcome = Outcome(**orjson.loads(line))
        if outcome.wrong:
            raise NotMeasuredError(f"{outcome.wrong} wrong answers, first: {outcome.first_wrong}")
        return outcome, cost


@contextmanager
def loading(stage: Stage, requests: Sequence[bytes], spec: Spec, over: Watch) -> Iterator[Loading]:
    """Start a load in a separate process; the block begins when its warm-up is over."""
    spec = replace(spec, requests=pack(requests, stage.folder / "requests"))
    path = stage.folder / "spec.json"
    path.write_bytes(orjson.dumps(asdict(spec)))
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        bufsize=0,  # `finish` waits for the descriptor itself
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            if process.stdout.readline() != b"begin\n":
                raise NotMeasuredError("the load generator did not begin")
            over.begin()
            yield Loading(process=process, watch=over)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def load(stage: Stage, requests: Sequence[bytes], spec: Spec, over: Watch) -> tuple[Outcome, Cost]:
    """Run a load to its end."""
    with loading(stage, requests, spec, over) as under_way:
        return under_way.finish()


def until(done: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until it is `done`; raises `NotMeasuredError` if it takes longer."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise NotMeasuredError(f"in {seconds:.0f} s it did not come to this: {what}")
        time.sleep(0.02)
