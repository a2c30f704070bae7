"""One run: each path right after its naive program and its floor, under the same conditions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from benchmarks.accept import accept, naive_accept, skeleton_accept
from benchmarks.alone import alone
from benchmarks.circle import RATE, circle
from benchmarks.cost import cost
from benchmarks.dispatch import dispatch, naive_dispatch
from benchmarks.floor import accept_floor, dispatch_floor, receive_floor
from benchmarks.processes import NotMeasuredError
from benchmarks.receive import naive_receive, receive
from benchmarks.result import Row, memory
from benchmarks.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Size:
    """The seconds and numbers of a run; a floor of 0 seconds means a few transactions."""

    seconds: float = 6
    naive: float = 4
    floor: int = 3
    circle: float = 20
    alone: float = 10
    messages: int = 15_000
    slow: int = 6_000
    rows: int = 100_000
    contacts: int = 20_000
    rate: int = RATE
    webs: tuple[int, ...] = (1, 2)
    workers: tuple[int, ...] = (1, 2)


QUICK = Size(
    seconds=0.2,
    naive=0.2,
    floor=0,
    circle=1,
    alone=1,
    messages=200,
    slow=100,
    rows=1000,
    contacts=500,
    rate=20,
    webs=(1,),
    workers=(1,),
)


@dataclass(kw_only=True)
class Run:
    """A run with its results."""

    stage: Stage
    size: Size
    with_naive: bool = True
    with_floor: bool = True
    rows: list[Row] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def measure(self, paths: list[str]) -> None:
        """Measure these paths."""
        for name in paths:
            begun = time.monotonic()
            print(f"{name} ...", end=" ", flush=True)
            try:
                PATHS[name](self)
            except NotMeasuredError as error:
                # The results of the other paths must not be lost.
                self.failures.append(f"{name}: {error}")
            print(f"{time.monotonic() - begun:.0f} s", flush=True)
        self.rows.append(memory(self.rows))

    def accept(self) -> None:
        """Goal 1."""
        floor = accept_floor(self.stage, self.size.floor) if self.with_floor else {}
        naive = naive_accept(self.stage, self.size.naive) if self.with_naive else None
        self._baselines("accept", floor, {"it sends in the request": naive})
        size = self.size
        if self.with_naive:
            self.rows += skeleton_accept(self.stage, size.naive, size.webs)
        self.rows += accept(self.stage, size.seconds, naive, floor.get("many"), size.webs)

    def dispatch(self) -> None:
        """Goal 2."""
        floor = dispatch_floor(self.stage, self.size.floor) if self.with_floor else {}
        naive = naive_dispatch(self.stage, self.size.naive) if self.with_naive else None
        self._baselines("dispatch", floor, {"16 threads": naive})
        size, many = self.size, floor.get("many")
        self.rows += dispatch(self.stage, size.messages, size.slow, naive, many, size.workers)

    def receive(self) -> None:
        """Goal 3."""
        floor = receive_floor(self.stage, self.size.floor) if self.with_floor else {}
        naive = naive_receive(self.stage, self.size.naive) if self.with_naive else {}
        self._baselines("receive", floor, naive)
        size = self.size
        self.rows += receive(self.stage, size.seconds, naive, floor.get("many"), size.webs)

    def circle(self) -> None:
        """Goal 4."""
        self.rows.append(circle(self.stage, self.size.circle, self.size.rate))

    def alone(self) -> None:
        """Goal 5."""
        self.rows += alone(self.stage, self.size.alone)

    def cost(self) -> None:
        """Goal 6."""
        self.rows += cost(self.stage, self.size.seconds, self.size.rate, self.size.rows)

    def _baselines(
        self, path: str, floor: dict[str, float], naive: Mapping[str, float | None]
    ) -> None:
        for name, rate in floor.items():
            words = "1 row a statement" if name == "one" else "100 rows a statement"
            self.rows.append(Row(path=f"pgbench {path}", what=words, rate=rate))
        for name, known in naive.items():
            if known is not None:
                self.rows.append(Row(path=f"naive {path}", what=name, rate=known))


PATHS: dict[str, Callable[[Run], None]] = {
    "accept": Run.accept,
    "dispatch": Run.dispatch,
    "receive": Run.receive,
    "circle": Run.circle,
    "alone": Run.alone,
    "cost": Run.cost,
}
