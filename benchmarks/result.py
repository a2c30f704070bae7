"""What was measured, against what is wanted; as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.load import Outcome
from benchmarks.measure import Cost

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One number of the goal list, and what was measured."""

    what: str
    limit: float
    value: float
    at_least: bool = True

    @property
    def is_met(self) -> bool:
        """Whether it is reached."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(kw_only=True)
class Row:
    """One line of the table."""

    path: str
    what: str
    rate: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    cpu: Mapping[str, float] = field(default_factory=dict)
    peak: Mapping[str, int] = field(default_factory=dict)
    naive: float | None = None
    floor: float | None = None
    goals: list[Goal] = field(default_factory=list)
    more: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All of it."""
        goals = [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals]
        return {
            **asdict(self),
            "ratio_to_naive": self.rate / self.naive if self.naive else None,
            "ratio_to_floor": self.rate / self.floor if self.floor else None,
            "goals": goals,
        }


def row_of(path: str, what: str, outcome: Outcome, cost: Cost, each: int = 1) -> Row:
    """A row of a load; `each` messages were in a request."""
    messages = outcome.answered * each
    return Row(
        path=path,
        what=what,
        rate=messages / outcome.seconds,
        p50=outcome.p50,
        p95=outcome.p95,
        p99=outcome.p99,
        cpu=cost.per_message(messages),
        peak=cost.peak,
    )


HEADS = (
    "path", "rate/s", "× naive", "of floor", "p50 ms", "p95 ms", "p99 ms",
    "CPU web", "worker", "postgres", "RSS web", "worker", "goals",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, columns aligned; CPU in ms a message, memory in MiB of one process."""
    lines = [list(HEADS), *(_cells(row) for row in rows)]
    widths = [max(len(line[n]) for line in lines) for n in range(len(HEADS))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )


def _cells(row: Row) -> list[str]:
    return [
        f"{row.path}: {row.what}",
        f"{row.rate:,.0f}" if row.rate else "",
        f"{row.rate / row.naive:.1f}" if row.naive else "",
        f"{row.rate / row.floor:.0%}" if row.floor else "",
        *(("" if value is None else f"{value:.1f}") for value in (row.p50, row.p95, row.p99)),
        *(_number(row.cpu.get(name), 3) for name in ("web", "worker", "postgres")),
        *(_mib(row.peak.get(name)) for name in ("web", "worker")),
        "; ".join(said(goal) for goal in row.goals),
    ]


def said(goal: Goal) -> str:
    """A goal as the table says it."""
    sign, mark = "≥" if goal.at_least else "≤", "met" if goal.is_met else "NOT MET"
    return f"{goal.what} {sign} {goal.limit:,g}: {goal.value:,.4g} {mark}"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _mib(value: int | None) -> str:
    return "" if value is None else f"{value / MIB:.0f}"
