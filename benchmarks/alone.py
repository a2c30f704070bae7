"""Goal 5: one message alone, nothing else running."""

from __future__ import annotations

import re

from benchmarks.accept import singles
from benchmarks.load import Spec, percentile
from benchmarks.measure import load, until, watch
from benchmarks.result import Goal, Row
from benchmarks.stage import Stage

PAUSE = 0.1
_FIRST = 5  # not counted: the first messages fill connections, plans and caches


def alone(stage: Stage, seconds: float) -> list[Row]:
    """Each message is sent only after the machine has been idle for a moment."""
    stage.postgres.clear()
    spec = Spec(
        port=stage.port,
        connections=1,
        seconds=seconds,
        warmup=min(1.0, seconds / 4),
        status=202,
        contains='"status":"pending"',
        pause=PAUSE,
    )
    with (
        stage.provider("--keep-texts"),
        stage.web() as web,
        stage.worker() as worker,
    ):
        outcome, cost = load(stage, singles(stage), spec, watch(stage, web=web, worker=worker))
        until(lambda: stage.stats()["taken"] >= outcome.all_answered, 30, "all of them are sent")
        arrivals = stage.stats()["arrivals"]
    begun = dict(enumerate(outcome.begun, start=1))
    took = sorted((at - begun[n]) * 1000 for text, at in arrivals if (n := _number(text)) > _FIRST)
    return [
        Row(
            path="alone",
            what="accept",
            p50=outcome.p50,
            p95=outcome.p95,
            p99=outcome.p99,
            cpu=cost.per_message(outcome.answered),
            peak=cost.peak,
            goals=[Goal(what="p50 in ms", limit=5, value=outcome.p50, at_least=False)],
        ),
        Row(
            path="alone",
            what="accept to provider",
            p50=percentile(took, 0.5),
            p95=percentile(took, 0.95),
            p99=percentile(took, 0.99),
            goals=[Goal(what="p50 in ms", limit=20, value=percentile(took, 0.5), at_least=False)],
            more={"messages": len(took)},
        ),
    ]


def _number(text: str) -> int:
    found = re.search(r"Your number is (\d+)\.", text)
    return int(found[1]) if found else 0
