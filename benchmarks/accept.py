"""Goal 1: accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from benchmarks.load import Spec
from benchmarks.measure import load, watch
from benchmarks.processes import Child
from benchmarks.result import Goal, Row, row_of
from benchmarks.stage import Stage
from benchmarks.traffic import batch, single

CONNECTIONS = 64
BATCH = 100
# More do not help the naive program: its threads are all busy already.
NAIVE_CONNECTIONS = 16

# Starts the program to measure with this number of processes.
Serve = Callable[[int], AbstractContextManager[Child]]


def accept(
    stage: Stage,
    seconds: float,
    naive: float | None,
    floor: float | None,
    webs: Sequence[int] = (1, 2),
) -> list[Row]:
    """Single sends and batches, each with different numbers of web processes."""
    rows = []
    for processes in webs:
        row = single_sends(stage, seconds, processes)
        row.naive, row.floor = naive, floor
        if naive:
            row.goals.append(Goal(what="times naive", limit=20, value=row.rate / naive))
        rows.append(row)
    row = single_sends(stage, seconds, max(webs), is_keyed=True)
    row.naive, row.floor = naive, floor
    rows.append(row)
    for processes in webs:
        row = batch_sends(stage, seconds, processes)
        row.floor = floor
        rows.append(row)
    return rows


def singles(stage: Stage, *, is_keyed: bool = False) -> list[bytes]:
    """A request for each contact."""
    port, key = stage.port, stage.tenant.key
    return [single(port, key, n, is_keyed=is_keyed) for n in range(stage.contacts)]


def batches(stage: Stage, messages: int) -> list[bytes]:
    """Requests for this many messages, a hundred in each."""
    contacts = [n % stage.contacts for n in range(messages)]
    starts = range(0, messages, BATCH)
    return [batch(stage.port, stage.tenant.key, contacts[at : at + BATCH]) for at in starts]


def single_sends(
    stage: Stage,
    seconds: float,
    processes: int,
    *,
    is_keyed: bool = False,
    serve: Serve | None = None,
) -> Row:
    """Single sends, as many as this number of web processes accepts."""
    stage.postgres.clear()
    spec = Spec(
        port=stage.port,
        connections=CONNECTIONS,
        seconds=seconds,
        warmup=min(2.0, seconds / 2),
        status=202,
        contains='"status":"pending"',
    )
    with (serve or stage.web)(processes) as web:
        requests = singles(stage, is_keyed=is_keyed)
        outcome, cost = load(stage, requests, spec, watch(stage, web=web))
    stored = stage.postgres.count("SELECT count(*) FROM public.messages")
    what = f"single, template, {CONNECTIONS} connections, {processes} web"
    row = row_of("accept", f"{what}, Idempotency-Key" if is_keyed else what, outcome, cost)
    row.more = {"answered": outcome.all_answered, "stored": stored}
    if not is_keyed:
        row.goals = [
            Goal(what="messages a second", limit=4000, value=row.rate),
            Goal(what="p99 in ms", limit=50, value=outcome.p99, at_least=False),
        ]
    row.goals.append(Goal(what="stored of answered", limit=1, value=stored / outcome.all_answered))
    return row


def batch_sends(stage: Stage, seconds: float, processes: int, *, serve: Serve | None = None) -> Row:
    """The same messages in batches of a hundred."""
    stage.postgres.clear()
    spec = Spec(
        port=stage.port,
        connections=8,
        seconds=seconds,
        warmup=min(2.0, seconds / 2),
        status=207,
        contains='"status":202',
    )
    with (serve or stage.web)(processes) as web:
        requests = batches(stage, max(BATCH, stage.contacts))
        outcome, cost = load(stage, requests, spec, watch(stage, web=web))
    stored = stage.postgres.count("SELECT count(*) FROM public.messages")
    row = row_of("accept", f"batches of {BATCH}, {processes} web", outcome, cost, BATCH)
    row.more = {"answered": outcome.all_answered * BATCH, "stored": stored}
    row.goals = [Goal(what="messages a second", limit=12_000, value=row.rate)]
    return row


def skeleton_accept(stage: Stage, seconds: float, webs: Sequence[int] = (1, 2)) -> list[Row]:
    """The same requests to a program that does as little as possible."""
    rows = [
        send(stage, seconds, processes, serve=stage.skeleton)
        for send in (single_sends, batch_sends)
        for processes in webs
    ]
    for row in rows:
        row.path, row.goals, row.peak = "skeleton accept", [], {}
    return rows


def naive_accept(stage: Stage, seconds: float) -> float:
    """Messages per second that the naive program accepts: it sends within the request."""
    stage.postgres.clear()
    spec = Spec(
        port=stage.port,
        connections=NAIVE_CONNECTIONS,
        seconds=seconds,
        warmup=min(1.0, seconds / 2),
        status=202,
        contains='"status":"sent"',
    )
    with stage.provider(), stage.naive("app") as web:
        outcome, _ = load(stage, singles(stage), spec, watch(stage, web=web))
    return outcome.answered / outcome.seconds
