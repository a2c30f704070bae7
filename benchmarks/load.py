"""The load generator, a process of its own: `python -m benchmarks.load SPEC`.

Requests are made beforehand; here they are only written, and every answer is checked. It prints
`begin` when the warm-up is over, and one line of JSON at the end.
"""

from __future__ import annotations

import asyncio
import sys
import time
from array import array
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson
import uvloop

from benchmarks.wire import Wire

# A placeholder for the number of the request, so that no two requests are equal.
MARK = b"@@@@@@@@@@"
_PATIENCE = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What to do: send `rate` requests per second, or as many as the connections allow."""

    port: int
    connections: int
    seconds: float
    status: int
    requests: str = ""
    contains: str = ""
    warmup: float = 0.0
    rate: float | None = None
    repeat: bool = True
    pause: float | None = None


@dataclass(kw_only=True, slots=True)
class Outcome:
    """The result; latencies in milliseconds, of requests answered after the warm-up.

    `missed`: requests that `rate` wanted, but for which no connection was free.
    """

    answered: int = 0
    wrong: int = 0
    first_wrong: str = ""
    seconds: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    per_second: list[tuple[int, float, float]] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)
    all_answered: int = 0
    missed: int = 0


def pack(requests: Sequence[bytes], path: Path) -> str:
    """Write requests to a file, each preceded by its length; returns the path."""
    with path.open("wb") as file:
        for request in requests:
            file.write(len(request).to_bytes(4, "big"))
            file.write(request)
    return str(path)


def unpack(path: str) -> list[bytes]:
    """The requests in a file that `pack` has written."""
    data, found, at = Path(path).read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies; 0 if there are none."""
    if not sorted_values:
        return 0.0
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


class Load:
    """Writes requests on all connections, and collects the answers."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._requests = unpack(spec.requests)
        self._number = 0
        self._waiting: deque[float] = deque()  # open loop: when each request was due
        self._free: list[Connection] = []
        self.over = asyncio.Event()
        self.begin = 0.0
        self.end = 0.0
        self._status = f"HTTP/1.1 {spec.status} ".encode()
        self._contains = spec.contains.encode()
        self.starts, self.latencies = array("d"), array("d")
        self.outcome = Outcome()
        self.under_way = 0

    async def run(self) -> Outcome:
        """Run the load; returns the result."""
        loop = asyncio.get_running_loop()
        spec = self.spec
        connections = [
            (await loop.create_connection(lambda: Connection(self), "127.0.0.1", spec.port))[1]
            for _ in range(spec.connections)
        ]
        started = time.monotonic()
        self.begin, self.end = started + spec.warmup, started + spec.warmup + spec.seconds
        loop.call_later(spec.warmup, _say, b"begin")
        pacing = None
        if spec.rate is None:
            for connection in connections:
                self.ask(connection)
        else:
            self._free = connections
            pacing = asyncio.create_task(self._pace(spec.rate))
        try:
            await asyncio.wait_for(self.over.wait(), spec.warmup + spec.seconds + _PATIENCE)
        except TimeoutError:
            self.failed(f"{self.under_way} requests were not answered in {_PATIENCE} s")
        if pacing is not None:
            pacing.cancel()
        return self._summary(time.monotonic())

    async def _pace(self, rate: float) -> None:
        """Send requests at a steady rate, however slow the answers; they wait for connections."""
        due, step = time.monotonic(), 1 / rate
        while due < self.end:
            now = time.monotonic()
            while due <= now and due < self.end:
                if self._free:
                    self._write(self._free.pop(), due)
                else:
                    self._waiting.append(due)
                due += step
            await asyncio.sleep(max(0.0005, due - time.monotonic()))
        await asyncio.sleep(max(0.0, self.end - time.monotonic()) + 0.001)  # surely after the end
        if self._free:  # otherwise the next answer checks whether the run is over
            self.ask(self._free.pop())

    def ask(self, connection: Connection) -> None:
        """Give the next request, if there is one, to a free connection."""
        now = time.monotonic()
        if self.spec.rate is not None:
            if now >= self.end:  # requests still without a connection are dropped
                self.outcome.missed += len(self._waiting)
                self._waiting.clear()
            if self._waiting:
                self._write(connection, self._waiting.popleft())
            else:
                self._free.append(connection)
                self._look_whether_over()
        elif now < self.end and (self.spec.repeat or self._number < len(self._requests)):
            self._write(connection, now)
        else:
            self._look_whether_over()

    def _write(self, connection: Connection, due: float) -> None:
        request = self._requests[self._number % len(self._requests)]
        self._number += 1
        connection.asked = due
        self.under_way += 1
        if self.spec.pause is not None:
            self.outcome.begun.append(due)
        connection.write(request.replace(MARK, b"%010d" % self._number))

    def answered(self, connection: Connection, head: bytes, body: bytes) -> None:
        """Check an answer, and continue."""
        now = time.monotonic()
        self.under_way -= 1
        self.outcome.all_answered += 1
        if not head.startswith(self._status) or self._contains not in body:
            self.failed((head[:40] + b" ... " + body[:300]).decode(errors="replace"))
        if self.begin <= now <= self.end:
            self.starts.append(connection.asked)
            self.latencies.append((now - connection.asked) * 1000)
        if self.spec.pause is not None:
            asyncio.get_running_loop().call_later(self.spec.pause, self.ask, connection)
        else:
            self.ask(connection)

    def failed(self, what: str) -> None:
        """Count a wrong answer."""
        self.outcome.wrong += 1
        self.outcome.first_wrong = self.outcome.first_wrong or what

    def _look_whether_over(self) -> None:
        done = time.monotonic() >= self.end or (
            not self.spec.repeat and self._number >= len(self._requests)
        )
        if done and self.under_way == 0 and not self._waiting:
            self.over.set()

    def _summary(self, now: float) -> Outcome:
        found, ordered = self.outcome, sorted(self.latencies)
        found.answered = len(ordered)
        found.seconds = min(now, self.end) - self.begin
        found.p50, found.p95, found.p99 = (percentile(ordered, p) for p in (0.5, 0.95, 0.99))
        seconds: list[list[float]] = [[] for _ in range(int(found.seconds) + 1)]
        for start, latency in zip(self.starts, self.latencies, strict=True):
            at = min(len(seconds) - 1, max(0, int(start + latency / 1000 - self.begin)))
            seconds[at].append(latency)
        found.per_second = [
            (len(one), percentile(sorted(one), 0.5), percentile(sorted(one), 0.99))
            for one in seconds
        ]
        return found


class Connection(Wire):
    """One connection, with one request at a time."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load
        self.asked = 0.0

    def got(self, head: bytes, body: bytes) -> None:
        """Handle an answer."""
        self._load.answered(self, head, body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail: a server that hangs up during a measurement spoils it."""
        if not self._load.over.is_set():
            self._load.failed(f"the connection was closed: {exc}")
            self._load.over.set()


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    """Read the specification, run it, print the result."""
    spec = Spec(**orjson.loads(Path(sys.argv[1]).read_bytes()))

    async def run() -> Outcome:
        return await Load(spec).run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        _say(orjson.dumps(asdict(runner.run(run()))))


if __name__ == "__main__":
    main()
