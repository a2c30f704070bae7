"""Goal 2: dispatch."""

from __future__ import annotations

import time

from benchmarks.load import Spec
from benchmarks.measure import load, until, watch
from benchmarks.processes import Child
from benchmarks.result import Goal, Row
from benchmarks.stage import Stage
from benchmarks.traffic import CONTACTS, batch

BATCH = 100
IN_FLIGHT = 2000
DELAY = 2.0


def dispatch(
    stage: Stage, messages: int, slow: int, naive: float | None, floor: float | None
) -> list[Row]:
    """A backlog to a provider that answers at once, then one to a provider that is slow."""
    row = _quick(stage, messages)
    row.naive, row.floor = naive, floor
    if naive:
        row.goals.append(Goal(what="× naive", limit=10, value=row.rate / naive))
    return [row, _slow(stage, slow)]


def fill(stage: Stage, messages: int) -> None:
    """Have messages accepted while no worker runs."""
    stage.postgres.clear()
    requests = [
        batch(stage.port, stage.tenant.key, n * BATCH % CONTACTS, BATCH)
        for n in range(messages // BATCH)
    ]
    spec = Spec(
        port=stage.port,
        connections=4,
        seconds=120,
        requests="",
        status=207,
        contains='"status":202',
        repeat=False,
    )
    with stage.web() as web:
        load(stage, requests, spec, watch(stage, web=web))


def _quick(stage: Stage, messages: int) -> Row:
    fill(stage, messages)
    with stage.provider() as provider, stage.worker() as worker:
        over = watch(stage, worker=worker, provider=provider)
        _until_sending(stage)
        over.begin()
        at_first = stage.stats()["taken"]
        begun = time.monotonic()
        until(lambda: stage.stats()["taken"] >= messages * 0.95, 180, "95 % are sent")
        cost, at_last, took = over.end(), stage.stats()["taken"], time.monotonic() - begun
        _until_recorded(stage, worker)
        taken = stage.stats()["taken"]
    sent = stage.postgres.count(
        "SELECT count(DISTINCT external_id) FROM public.messages WHERE status = 'sent'"
    )
    rate = (at_last - at_first) / took
    return Row(
        path="dispatch",
        what="Twilio adapter, provider answers at once, 1 worker",
        rate=rate,
        cpu={k: v for k, v in cost.per_message(at_last - at_first).items() if k != "provider"},
        peak=cost.peak,
        goals=[
            Goal(what="rate", limit=2500, value=rate),
            Goal(what="sent once", limit=messages, value=sent if taken == messages else taken),
        ],
        more={"messages": messages, "taken": taken, "sent": sent},
    )


def _slow(stage: Stage, messages: int) -> Row:
    fill(stage, messages)
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
        goals=[Goal(what="in flight", limit=want, value=stats["peak"])],
        more={"messages": messages, "taken": stats["taken"]},
    )


def naive_dispatch(stage: Stage, seconds: float) -> float:
    """What the naive worker sends a second."""
    fill(stage, max(1000, int(seconds * 800)))
    with stage.provider(), stage.naive("worker"):
        _until_sending(stage)
        at_first, begun = stage.stats()["taken"], time.monotonic()
        time.sleep(seconds)
        return float(stage.stats()["taken"] - at_first) / (time.monotonic() - begun)


def _until_sending(stage: Stage) -> None:
    until(lambda: stage.stats()["taken"] >= 50, 60, "something is sent")


def _until_recorded(stage: Stage, worker: Child) -> None:
    waiting = "SELECT count(*) FROM (SELECT FROM gateway.queue LIMIT 1) AS one"

    def done() -> bool:
        time.sleep(0.1)
        return stage.postgres.count(waiting) == 0

    until(done, 180, f"the queue is empty: {worker.last_words()[-300:]}")
