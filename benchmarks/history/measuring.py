"""Measures how long questions take, and reads their plans."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from benchmarks.history.questions import Question
from gateway.store.database import Database, Staff

_WARM = 10
# Rows. The newest pages of many contacts may be sorted, but never a whole conversation or
# organization.
_SORTED = 10_000
# Tables that must not be scanned whole. `auth_users` is small, and `clients` is empty here.
_LARGE = {"messages", "conversations", "conversation_addresses", "leads"}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Times in milliseconds, the rows and indexes that the plans read, and what is wrong."""

    name: str
    limit: float
    p50: float
    p99: float
    rows: int
    indexes: list[str]
    wrong: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question, and the database with the history that it is about."""

    database: Database
    dsn: str
    question: Question


async def measure(asked: Sequence[Asked], runs: int) -> list[Measured]:
    """Ask so many times, each in a transaction of its own as the caller, from BEGIN to COMMIT.

    The histories take turns, so that a slow minute of the machine affects all of them.
    """
    times: list[list[float]] = [[] for _ in asked]
    counts: list[set[int]] = [set() for _ in asked]
    warm = min(_WARM, runs)
    for n in range(warm + runs):
        for each, spent, found in zip(asked, times, counts, strict=True):
            began = time.perf_counter()
            async with each.database.as_caller(each.question.caller) as db:
                found.add(await each.question.ask(db))
            if n >= warm:
                spent.append((time.perf_counter() - began) * 1000)
    return [await _judged(*each) for each in zip(asked, times, counts, strict=True)]


async def _judged(asked: Asked, times: Sequence[float], counts: set[int]) -> Measured:
    plans = await plans_of(asked.dsn, asked.question)
    wrong = [f"it finds {count}" for count in sorted(counts) if not asked.question.finds(count)]
    wrong += [f"{table} is read whole" for table in sorted(set().union(*map(_whole, plans)))]
    if (most := max((_sorted(plan) for plan in plans), default=0)) > _SORTED:
        wrong.append(f"{most} rows are sorted")
    return Measured(
        name=asked.question.name,
        limit=asked.question.limit,
        p50=statistics.median(times),
        p99=statistics.quantiles(times, n=100, method="inclusive")[98],
        rows=sum(_read(plan) for plan in plans),
        indexes=sorted({index for plan in plans for index in _indexes(plan)}),
        wrong=wrong,
    )


async def plans_of(dsn: str, question: Question) -> list[dict[str, Any]]:
    """The plans of all statements that a question runs, including those in functions."""
    told: list[dict[str, Any]] = []

    def hear(_: object, message: Any) -> None:  # noqa: ANN401 - asyncpg's own
        if message.message.startswith("duration:"):
            told.append(json.loads(message.message.partition("plan:")[2])["Plan"])

    connection = await asyncpg.connect(dsn)
    try:
        for setting in (
            "LOAD 'auto_explain'",
            "SET client_min_messages = notice",
            "SET auto_explain.log_level = notice",
            "SET auto_explain.log_min_duration = 0",
            "SET auto_explain.log_nested_statements = on",
            "SET auto_explain.log_analyze = on",
            "SET auto_explain.log_format = json",
        ):
            await connection.execute(setting)
        connection.add_log_listener(hear)
        async with connection.transaction():
            await connection.execute(_as(question.caller))
            await question.ask(connection)  # type: ignore[arg-type]
        connection.remove_log_listener(hear)
    finally:
        await connection.close()
    # Without asyncpg's own queries about types on a new connection.
    return [plan for plan in told if not any(index.startswith("pg_") for index in _indexes(plan))]


def _as(caller: Staff) -> str:
    claims = json.dumps({"sub": str(caller.auth_id), "role": "authenticated"})
    return f"SET LOCAL ROLE authenticated; SET LOCAL request.jwt.claims = '{claims}'"


def _parts(plan: dict[str, Any]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = plan.get("Plans", [])
    return parts


def _whole(plan: dict[str, Any]) -> set[str]:
    # A node that was never executed has read nothing.
    is_whole = plan["Node Type"] == "Seq Scan" and plan.get("Actual Loops")
    own = {plan["Relation Name"]} & _LARGE if is_whole else set()
    return own.union(*(_whole(part) for part in _parts(plan)))


def _indexes(plan: dict[str, Any]) -> set[str]:
    own = {plan["Index Name"]} if "Index Name" in plan and plan.get("Actual Loops") else set()
    return own.union(*(_indexes(part) for part in _parts(plan)))


def _read(plan: dict[str, Any]) -> int:
    own = 0.0
    if plan["Node Type"] in ("Index Scan", "Index Only Scan", "Bitmap Heap Scan", "Seq Scan"):
        own = plan["Actual Loops"] * (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0))
    return int(own) + sum(_read(part) for part in _parts(plan))


def _sorted(plan: dict[str, Any]) -> int:
    """How many rows the largest sort takes in."""
    own = 0.0
    if plan["Node Type"] in ("Sort", "Incremental Sort"):
        own = max(part["Actual Rows"] for part in _parts(plan))
    return max([int(own), *(_sorted(part) for part in _parts(plan))])
