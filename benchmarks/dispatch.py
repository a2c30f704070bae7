"""Goal 2: dispatch."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.accept import batches
from benchmarks.load import Spec
from benchmarks.measure import load, until, watch
from benchmarks.processes import Child
from benchmarks.result import Goal, Row
from benchmarks.stage import Stage

IN_FLIGHT = 2000
DELAY = 2.0
CONCURRENCY = 256


def dispatch(
    stage: Stage,
    messages: int,
    slow: int,
    naive: float | None,
    floor: float | None,
    workers: Sequence[int] = (1, 2),
) -> list[Row]:
    """A backlog for a provider that answers at once, then one for a slow provider."""
    rows = [at_once(stage, messages, count) for count in workers]
    for row in rows:
        row.naive, row.floor = naive, floor
        if naive:
            row.goals.append(Goal(what="times naive", limit=10, value=row.rate / naive))
    return [*rows, _slow(stage, slow)]


def _fill(stage: Stage, messages: int) -> None:
    """Make a backlog: messages are accepted while no worker runs."""
    stage.postgres.clear()
    spec = Spec(
        port=stage.port,
        connections=4,
        seconds=180,
        status=207,
        contains='"status":202',
        repeat=False,
    )
    with stage.web() as web:
        load(stage, batches(stage, messages), spec, watch(stage, web=web))


def at_once(stage: Stage, messages: int, workers: int = 1) -> Row:
    """A backlog for a provider that answers at once."""
    _fill(stage, messages)
    with stage.provider() as provider, stage.workers(workers, CONCURRENCY) as children:
        over = watch(stage, worker=children, provider=provider)
        _until_sending(stage)
        over.begin()
        at_first = stage.stats()["taken"]
        until(lambda: stage.stats()["taken"] >= messages * 0.95, 180, "95 % are sent")
        cost, at_last = over.end(), stage.stats()["taken"]
        _until_recorded(stage, *children)
        taken = stage.stats()["taken"]
    sent = stage.postgres.count(
        "SELECT count(DISTINCT external_id) FROM public.messages WHERE status = 'sent'"
    )
    rate = (at_last - at_first) / cost.seconds
    by = f"WORKER_CONCURRENCY={CONCURRENCY}" if workers == 1 else f"{workers} workers"
    return Row(
        path="dispatch",
        what=f"provider answers at once, {by}",
        rate=rate,
        cpu=cost.per_message(at_last - at_first),
        peak=cost.peak,
        goals=[
            Goal(what="messages a second", limit=2500, value=rate),
            Goal(what="sent, each once", limit=1, value=sent / taken * (taken == messages)),
        ],
        more={"messages": messages, "taken": taken, "sent": sent},
    )


def _slow(stage: Stage, messages: int) -> Row:
    _fill(stage, messages)
    want = min(IN_FLIGHT, messages)
    with stage.provider("--delay", str(DELAY)), stage.worker(IN_FLIGHT) as worker:
        over = watch(stage, worker=worker)
        over.begin()
        _until_recorded(stage, worker)
        cost, stats = over.end(), stage.stats()
    rate = stats["taken"] / (stats["last"] - stats["first"] + DELAY)
    return Row(
        path="dispatch",
        what=f"provider takes {DELAY:g} s, WORKER_CONCURRENCY={IN_FLIGHT}",
        rate=rate,
        cpu=cost.per_message(stats["taken"]),
        peak=cost.peak,
        goals=[Goal(what="in flight at once", limit=want, value=stats["peak"])],
        more={"messages": messages, "taken": stats["taken"], "in_flight": stats["peak"]},
    )


def naive_dispatch(stage: Stage, seconds: float) -> float:
    """Messages per second that the naive worker sends."""
    _fill(stage, int(200 + seconds * 800) // 100 * 100)
    with stage.provider(), stage.naive("worker"):
        _until_sending(stage)
        at_first, begun = stage.stats()["taken"], time.monotonic()
        time.sleep(seconds)
        return float(stage.stats()["taken"] - at_first) / (time.monotonic() - begun)


def _until_sending(stage: Stage) -> None:
    until(lambda: stage.stats()["taken"] >= 50, 60, "something is sent")


def _until_recorded(stage: Stage, *workers: Child) -> None:
    waiting = "SELECT count(*) FROM (SELECT FROM gateway.queue LIMIT 1) AS one"

    def done() -> bool:
        time.sleep(0.1)
        return stage.postgres.count(waiting) == 0

    words = " ".join(worker.last_words()[-300:] for worker in workers)
    until(done, 180, f"the queue is empty: {words}")
