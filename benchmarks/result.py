"""The results, compared with the goals; as a table and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.load import Outcome
from benchmarks.measure import Cost

MB = 10**6


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One goal, and the measured value."""

    what: str
    limit: float
    value: float
    at_least: bool = True

    @property
    def is_met(self) -> bool:
        """Whether the goal is reached."""
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
        """The whole row, with ratios."""
        goals = [{**asdict(goal), "is_met": goal.is_met} for goal in self.goals]
        return {
            **asdict(self),
            "ratio_to_naive": self.rate / self.naive if self.naive else None,
            "ratio_to_floor": self.rate / self.floor if self.floor else None,
            "goals": goals,
        }


def row_of(path: str, what: str, outcome: Outcome, cost: Cost, each: int = 1) -> Row:
    """The row of a load with `each` messages per request."""
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
    "path", "a second", "times naive", "of floor", "p50 ms", "p95 ms", "p99 ms",
    "CPU web", "CPU worker", "CPU postgres", "MB web", "MB worker",
)  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """The results in Markdown; CPU in ms per message, memory of the largest process."""
    return _aligned(HEADS, [_cells(row) for row in rows])


def goals(rows: Sequence[Row]) -> str:
    """The goals and whether they are met, in Markdown."""
    lines = [
        [
            f"{row.path}: {row.what}",
            goal.what,
            f"{'≥' if goal.at_least else '≤'} {goal.limit:,g}",
            f"{goal.value:,.0f}" if goal.value >= 100 else f"{goal.value:.3g}",
            "met" if goal.is_met else "NOT MET",
        ]
        for row in rows
        for goal in row.goals
    ]
    return _aligned(("path", "goal", "wanted", "measured", ""), lines)


def memory(rows: Sequence[Row]) -> Row:
    """Goal 7: the largest process of all paths."""
    largest = {
        name: max((row.peak.get(name, 0) for row in rows), default=0) for name in ("web", "worker")
    }
    limits = {"web": 150, "worker": 200}
    return Row(
        path="memory",
        what="largest of all paths",
        peak=largest,
        goals=[
            Goal(what=f"MB {name}", limit=limit, value=largest[name] / MB, at_least=False)
            for name, limit in limits.items()
            if largest[name]
        ],
    )


def _aligned(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[n]) for line in (heads, *lines)) for n in range(len(heads))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (heads, rule, *lines)
    )


def _cells(row: Row) -> list[str]:
    return [
        f"{row.path}: {row.what}",
        f"{row.rate:,.0f}" if row.rate else "",
        f"{row.rate / row.naive:.1f}" if row.naive else "",
        f"{row.rate / row.floor:.0%}" if row.floor else "",
        *(_number(value, 1) for value in (row.p50, row.p95, row.p99)),
        *(_number(row.cpu.get(name), 2) for name in ("web", "worker", "postgres")),
        *(_mb(row.peak.get(name)) for name in ("web", "worker")),
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _mb(value: int | None) -> str:
    return f"{value / MB:.0f}" if value else ""
