"""Goal 1: accept."""

from __future__ import annotations

from benchmarks.load import Spec
from benchmarks.measure import load, watch
from benchmarks.result import Goal, Row, row_of
from benchmarks.stage import Stage
from benchmarks.traffic import CONTACTS, batch, single

CONNECTIONS = 64
BATCH = 100
# A naive program in whose threads callers wait answers no more with more connections.
NAIVE_CONNECTIONS = 16


def accept(stage: Stage, seconds: float, naive: float | None, floor: float | None) -> list[Row]:
    """Single sends with one web process and with two, then batches."""
    rows = []
    tenant, port = stage.tenant, stage.port
    singles = [single(port, tenant.key, n) for n in range(CONTACTS)]
    spec = Spec(
        port=port,
        connections=CONNECTIONS,
        seconds=seconds,
        warmup=min(2.0, seconds / 2),
        requests="",
        status=202,
        contains='"status":"pending"',
    )
    for processes in (1, 2):
        stage.postgres.clear()
        with stage.web(processes) as web:
            outcome, cost = load(stage, singles, spec, watch(stage, web=web))
        stored = stage.postgres.count("SELECT count(*) FROM public.messages")
        row = row_of("accept", f"single, template, 64 connections, {processes} web", outcome, cost)
        row.naive, row.floor = naive, floor
        row.more = {"answered": outcome.all_answered, "stored": stored}
        row.goals = [
            Goal(what="rate", limit=4000, value=row.rate),
            Goal(what="p99", limit=50, value=outcome.p99, at_least=False),
            Goal(what="stored of answered", limit=1, value=stored / outcome.all_answered),
        ]
        if naive:
            row.goals.append(Goal(what="× naive", limit=20, value=row.rate / naive))
        rows.append(row)
    requests = [batch(port, tenant.key, n * BATCH, BATCH) for n in range(CONTACTS // BATCH)]
    for processes in (1, 2):
        stage.postgres.clear()
        with stage.web(processes) as web:
            several = Spec(
                port=port,
                connections=8,
                seconds=seconds,
                warmup=spec.warmup,
                requests="",
                status=207,
                contains='"status":202',
            )
            outcome, cost = load(stage, requests, several, watch(stage, web=web))
        row = row_of("accept", f"batches of {BATCH}, {processes} web", outcome, cost, BATCH)
        row.floor = floor
        row.goals = [Goal(what="rate", limit=12_000, value=row.rate)]
        rows.append(row)
    return rows


def naive_accept(stage: Stage, seconds: float) -> float:
    """What the naive program takes a second: it sends in the request, as people write it."""
    stage.postgres.clear()
    requests = [single(stage.port, stage.tenant.key, n) for n in range(CONTACTS)]
    spec = Spec(
        port=stage.port,
        connections=NAIVE_CONNECTIONS,
        seconds=seconds,
        warmup=min(1.0, seconds / 2),
        requests="",
        status=202,
        contains='"status":"sent"',
    )
    with stage.provider(), stage.naive("app") as web:
        outcome, _ = load(stage, requests, spec, watch(stage, web=web))
    return outcome.answered / outcome.seconds
