"""Goal 4: the full circle, accept → send → sent and delivered reports → rows, for some time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.accept import singles
from benchmarks.load import Spec
from benchmarks.measure import Cost, loading, until, watch
from benchmarks.processes import resident
from benchmarks.result import Goal, Row
from benchmarks.stage import Stage

RATE = 1000
CONNECTIONS = 64
CONCURRENCY = 256
_MINUTE = 60

# Rows with which `cost` has filled the table are marked by `before`.
_DELIVERED = """
SELECT count(*) FROM public.messages
WHERE status = 'delivered' AND metadata ->> 'before' IS NULL
"""
_BY_SECOND = """
SELECT floor(extract(epoch FROM e.recorded_at) - %s)::integer AS second, count(*),
  percentile_cont(0.5) WITHIN GROUP (ORDER BY e.recorded_at - m.created_at),
  percentile_cont(0.99) WITHIN GROUP (ORDER BY e.recorded_at - m.created_at)
FROM gateway.message_events e
JOIN public.messages m ON m.organization_id = e.organization_id AND m.id = e.message_id
WHERE e.status = 'delivered' AND m.metadata ->> 'before' IS NULL
GROUP BY 1 ORDER BY 1
"""
_UPDATES = """
SELECT n_tup_hot_upd, n_tup_upd FROM pg_stat_user_tables
WHERE schemaname = 'public' AND relname = 'messages'
"""


@dataclass(kw_only=True)
class Course:
    """The course of a run, second by second; latencies in milliseconds, memory in bytes."""

    seconds: float
    asked: int
    missed: int = 0
    delivered: int = 0
    rate: float = 0.0
    cost: Cost
    accept: Sequence[Sequence[float]] = ()
    circle: list[tuple[int, int, float, float]] = field(default_factory=list)
    memory: list[dict[str, float]] = field(default_factory=list)
    refused_reports: int = 0
    p99_accept: float = 0.0
    hot: float = 0.0


def circle(stage: Stage, seconds: float, rate: int = RATE) -> Row:
    """One web process and one worker at a steady rate."""
    stage.postgres.clear()
    course = run_circle(stage, seconds, rate)
    latencies = [(p50, p99) for _, _, p50, p99 in course.circle]
    row = Row(
        path="circle",
        what=f"{rate}/s asked for {seconds:.0f} s: accepted, sent, delivered",
        rate=course.rate,
        p50=_middle([p50 for p50, _ in latencies]),
        p99=_middle([p99 for _, p99 in latencies]),
        cpu=course.cost.per_message(course.asked),
        peak=course.cost.peak,
        goals=[
            # Messages that are under way at the end are not counted, so a little less is enough.
            Goal(what="delivered a second", limit=rate * 0.98, value=course.rate),
            Goal(what="delivered of accepted", limit=1, value=course.delivered / course.asked),
        ],
        more=as_json(course),
    )
    if seconds > 2 * _MINUTE:
        row.goals += _flat(course)
    return row


def run_circle(stage: Stage, seconds: float, rate: int) -> Course:
    """Run the circle, and wait until everything that was accepted is delivered."""
    spec = Spec(
        port=stage.port,
        connections=CONNECTIONS,
        seconds=seconds,
        warmup=min(3.0, seconds / 2),
        rate=rate,
        status=202,
        contains='"status":"pending"',
    )
    memory: list[dict[str, float]] = []
    hot_before, all_before = _updates(stage)
    with (
        stage.provider("--token", stage.tenant.token),
        stage.web() as web,
        stage.worker(CONCURRENCY) as worker,
    ):
        # CPU is counted until everything is delivered: otherwise a process that lags behind would
        # look cheap.
        spent = watch(stage, web=web, worker=worker)
        spent.begin()
        with loading(stage, singles(stage), spec, watch(stage)) as load:
            begun, started = time.time(), time.monotonic()

            def look() -> None:
                at = time.monotonic() - started
                memory.append({"at": at, "web": resident(web.pid), "worker": resident(worker.pid)})

            outcome, _ = load.finish(look)
        asked = outcome.all_answered

        def is_over() -> bool:
            told = stage.stats()
            return bool(told["taken"] >= asked and told["reported"] >= 2 * asked)

        until(is_over, 60 + seconds, "all that was accepted is sent and reported")
        cost, stats = spent.end(), stage.stats()
    delivered = stage.postgres.count(_DELIVERED)
    hot, updates = _updates(stage)
    by_second = [
        (int(second), int(count), p50.total_seconds() * 1000, p99.total_seconds() * 1000)
        for second, count, p50, p99 in stage.postgres.db.execute(_BY_SECOND, (begun,))
        if 0 <= second < seconds
    ]
    return Course(
        seconds=outcome.seconds,
        asked=asked,
        missed=outcome.missed,
        delivered=delivered,
        rate=sum(count for _, count, _, _ in by_second) / outcome.seconds,
        cost=cost,
        accept=outcome.per_second,
        circle=by_second,
        memory=memory,
        refused_reports=stats["refused_reports"],
        p99_accept=outcome.p99,
        hot=(hot - hot_before) / max(1, updates - all_before),
    )


def _updates(stage: Stage) -> tuple[int, int]:
    """How many updates of `messages` were HOT (in place), and how many there were in all."""
    row = stage.postgres.db.execute(_UPDATES).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def as_json(course: Course) -> dict[str, Any]:
    """The course of the run, for the JSON and the plot."""
    return {
        "asked": course.asked,
        "missed": course.missed,
        "delivered": course.delivered,
        "refused_reports": course.refused_reports,
        "p99_accept": course.p99_accept,
        "hot_updates": course.hot,
        "accept_per_second": [list(each) for each in course.accept],
        "circle_per_second": [list(each) for each in course.circle],
        "memory": course.memory,
    }


def _flat(course: Course) -> list[Goal]:
    """Memory and latency in the last minute compared with the second minute."""
    goals = []
    for name in ("web", "worker"):
        early = [at[name] for at in course.memory if _MINUTE <= at["at"] < 2 * _MINUTE]
        late = [at[name] for at in course.memory if at["at"] >= course.seconds - _MINUTE]
        grown = max(late) / max(early)
        goals.append(Goal(what=f"memory of {name}, ×", limit=1.05, value=grown, at_least=False))
    early = [p50 for at, _, p50, _ in course.circle if _MINUTE <= at < 2 * _MINUTE]
    late = [p50 for at, _, p50, _ in course.circle if at >= course.seconds - _MINUTE]
    slower = _middle(late) / _middle(early)
    return [*goals, Goal(what="latency, ×", limit=1.3, value=slower, at_least=False)]


def _middle(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2] if values else 0.0
