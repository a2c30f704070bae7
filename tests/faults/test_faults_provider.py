"""Whatever the provider does to requests, answers and reports: sent once, and the right status."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.stage import (
    Json,
    Stage,
    Tenant,
    by_message,
    message_id_of,
    moment,
    seeded,
    until,
    watched,
)

FAULTS = (
    "duplicate",
    "reorder",
    "drop",
    "before_response",
    "batch",
    "timeout_after_accept",
    "reset_after_accept",
    "reset",
    "429",
    "500",
    "502",
    "503",
    "504",
)
# The provider did not take these, so that there is a second attempt.
REFUSING = {"reset", "429", "500", "502", "503", "504"}
ENDS = {
    "delivered": "delivered",
    "read": "read",
    "failed": "failed",
    "undelivered": "failed",
    "canceled": "canceled",
    "sent": "sent",
    "queued": "sent",
}
LATE = timedelta(seconds=4)  # what a loaded machine may add


async def test_every_fault(stage: Stage, tenant: Tenant) -> None:
    """With each of the faults every message is read, or sent where nobody tells, and taken once."""
    began = datetime.now(UTC)
    for fault in FAULTS:
        await stage.plan(f"[{fault}]", outcome="read", faults=[fault], delay_ms=5)
    stage.start_worker()
    names = [(fault, n) for fault in FAULTS for n in range(6)]
    ids = await stage.send_many(
        tenant,
        [{"to": f"+1555100{place:04}", "body": f"[{f}] {n}"} for place, (f, n) in enumerate(names)],
    )
    fault_of = {message_id: fault for message_id, (fault, _) in zip(ids, names, strict=True)}
    ends = {i: "sent" if fault == "drop" else "read" for i, fault in fault_of.items()}
    async with watched() as late:
        await stage.until_statuses(ends, 40)
        await stage.until_delivered(ids, 10)

    asked = by_message(await stage.requests())
    assert {i: 2 if fault in REFUSING else 1 for i, fault in fault_of.items()} == {
        i: len(some) for i, some in asked.items()
    }
    rows = await stage.rows()
    assert_taken_once(rows, asked)
    # What the list tells of a lost answer's message may come before its reports do.
    out_of_order = {"reorder", "batch", "reset_after_accept"}
    for message_id, row in rows.items():
        assert_plausible(row, began, in_order=fault_of[message_id] not in out_of_order)
    for message_id, fault in fault_of.items():
        some = asked[message_id]
        if fault == "429":
            assert timedelta(seconds=1) <= moment(some[1]) - moment(some[0])
            assert moment(some[1]) - moment(some[0]) <= timedelta(seconds=2) + LATE + late.delta
        elif fault in {"500", "503"}:
            assert moment(some[1]) - moment(some[0]) <= timedelta(seconds=5) + LATE + late.delta


async def test_faults_that_meet(stage: Stage, tenant: Tenant) -> None:
    """Mixed faults, lost answers, twins, repeated refusals at once: taken once, and right."""
    stage.start_worker()
    stage.start_worker()
    await asyncio.gather(
        random_mixtures(stage, tenant),
        lost_answers_without_reports(stage, tenant),
        lost_answer_of_one_among_twins(stage, tenant),
        one_request_an_attempt(stage, tenant),
    )


async def random_mixtures(stage: Stage, tenant: Tenant) -> None:
    """With several faults, twice over or not, every message ends as the provider says."""
    chance = seeded()
    wanted: list[Json] = []
    ends: list[str] = []
    reported: list[bool] = []
    for n in range(120):
        # The answers that are lost for fifteen seconds are another part's.
        faults = [f for f in FAULTS if f != "timeout_after_accept"]
        outcome = chance.choice(list(ENDS))
        plan: dict[str, Any] = {
            "outcome": outcome,
            "faults": chance.sample(faults, chance.randint(1, 3)),
            "delay_ms": chance.choice([0, 5, 60]),
            "answer_delay_ms": chance.choice([0, 0, 40]),
        }
        if sum(f in REFUSING for f in plan["faults"]) < 2:
            plan["times"] = chance.choice([1, 2])
        await stage.plan(f"[mix {n}]", **plan)
        wanted.append({"to": f"+1555200{n:04}", "body": f"[mix {n}]"})
        reported.append("drop" not in plan["faults"])
        # What no report tells, the list does where the answer was lost.
        is_told = reported[n] or "reset_after_accept" in plan["faults"]
        if is_told and not reported[n]:
            # It is asked once: on a busy machine perhaps before the message has come to its end.
            plan["faults"].append("before_response")
        ends.append(ENDS[outcome] if is_told else "sent")
    began = datetime.now(UTC)
    ids = await stage.send_many(tenant, wanted)
    await stage.until_statuses(dict(zip(ids, ends, strict=True)), 60)
    await stage.until_delivered([i for i, told in zip(ids, reported, strict=True) if told], 10)
    rows = await stage.rows(ids)
    assert_taken_once(rows, by_message(await stage.requests(ids)))
    for message_id, is_reported in zip(ids, reported, strict=True):
        assert_plausible(rows[message_id], began, in_order=False, is_reported=is_reported)


async def lost_answers_without_reports(stage: Stage, tenant: Tenant) -> None:
    """Where answer and reports are both lost the provider is asked, which lists what became of it;
    each twin gets its own id."""
    began = datetime.now(UTC)
    lost = {
        "timeout_after_accept": ["timeout_after_accept"],
        "reset_after_accept": ["reset_after_accept"],
        "refused, then lost": ["500", "reset_after_accept"],
    }
    for name, faults in lost.items():
        # A message comes to its end before its answer is lost, and at once: otherwise a twin could
        # read the list before, and take this record as it stood then, which no report corrects.
        plan = {"faults": [*faults, "drop", "before_response"], "delay_ms": 0}
        await stage.plan(f"[{name}]", **plan)
    # The same text to the same person four times each: only the ids tell the messages apart.
    wanted = [
        {"to": f"+1555300{n // 4:04}", "body": f"[{name}]"} for name in lost for n in range(8)
    ]
    ids = await stage.send_many(tenant, wanted)
    await stage.until_statuses(dict.fromkeys(ids, "delivered"), 60)
    asked = by_message(await stage.requests(ids))
    rows = await stage.rows(ids)
    accepted = [some["sid"] for each in asked.values() for some in each if some["sid"]]
    assert len(accepted) == len(ids)
    assert Counter(accepted) == Counter(row["external_id"] for row in rows.values())
    assert dict.fromkeys(ids, 1) == {
        i: sum(some["sid"] is not None for some in each) for i, each in asked.items()
    }
    for row in rows.values():
        assert_plausible(row, began, in_order=True)


async def lost_answer_of_one_among_twins(stage: Stage, tenant: Tenant) -> None:
    """What never arrived is sent once more, though the provider has others like it."""
    await stage.plan("[twin]", faults=["drop"])
    twin = {"to": "+15554000001", "body": "[twin]"}
    first = await stage.send_many(tenant, [twin] * 5)
    await stage.until_statuses(dict.fromkeys(first, "sent"), 20)
    await stage.plan("[twin]", faults=["reset", "drop"])
    lost = await stage.send_many(tenant, [twin] * 3)
    await stage.until_statuses(dict.fromkeys(first + lost, "sent"), 60)
    asked = by_message(await stage.requests(first + lost))
    attempts = dict.fromkeys(first, 1) | dict.fromkeys(lost, 2)
    assert {i: len(some) for i, some in asked.items()} == attempts
    assert_taken_once(await stage.rows(first + lost), asked)


async def one_request_an_attempt(stage: Stage, tenant: Tenant) -> None:
    """Every request to the provider is an attempt in the message's events, and the other way."""
    await stage.plan("[attempts]", faults=["500", "502", "429"], outcome="sent", delay_ms=5)
    ids = await stage.send_many(
        tenant, [{"to": f"+1555500{n:04}", "body": f"[attempts] {n}"} for n in range(8)]
    )
    await stage.until_statuses(dict.fromkeys(ids, "sent"), 40)
    requests = Counter(map(message_id_of, await stage.requests(ids)))
    events = await stage.events()
    attempts = {i: sum(e["type"] == "attempt" for e in events[i]) for i in ids}
    assert dict(requests) == attempts == dict.fromkeys(ids, 4)


def assert_taken_once(rows: dict[str, Json], asked: dict[str, list[Json]]) -> None:
    """The provider took each message once, and its row has the id that the provider gave."""
    taken = {i: [some["sid"] for some in each if some["sid"]] for i, each in asked.items()}
    assert {i: [row["external_id"]] for i, row in rows.items()} == taken


def assert_plausible(
    row: Json, began: datetime, *, in_order: bool, is_reported: bool = True
) -> None:
    """The row's times are those of the test, in their order, and none where nothing happened.

    Where nothing `is_reported` the list tells the last status alone: read, and not when delivered.
    """
    now = datetime.now(UTC)
    names = ("created_at", "sent_at", "delivered_at", "read_at")
    times = [row[name] for name in names if row[name] is not None]
    assert all(began <= time <= now for time in times), row
    if in_order:
        assert times == sorted(times), row
    reached = {
        "sent": {"sent_at"},
        "delivered": {"delivered_at"},
        "read": {"delivered_at", "read_at"} if is_reported else {"read_at"},
        "failed": {"failed_at"},
        "canceled": set(),
    }[row["status"]]
    assert {name for name in reached if row[name] is None} == set(), row
    assert (row["failed_at"] is None) == (row["error_code"] is None), row
    if row["status"] in {"sent", "canceled"}:
        assert row["delivered_at"] is row["read_at"] is row["failed_at"] is None, row


async def test_twin_that_is_asked_about_first(stage: Stage, tenant: Tenant) -> None:
    """A message does not take its twin's id while the twin's report may still come."""
    twin = {"to": "+15554000009", "body": "[same]"}
    await stage.plan("[same]", outcome="sending", faults=["reset_after_accept"], delay_ms=2000)
    stage.start_worker()
    (taken,) = await stage.send_many(tenant, [twin])

    async def is_lost() -> bool:
        # As where the provider could not be asked, the next time is a while away.
        changed = await stage.pool.execute(
            "UPDATE gateway.queue SET run_at = now() + interval '10 seconds' WHERE phase = 'ask'"
        )
        return bool(changed == "UPDATE 1")

    await until(is_lost, 10)
    await stage.plan("[same]", outcome="sent", faults=["reset"], delay_ms=5)
    (other,) = await stage.send_many(tenant, [twin])
    await stage.until_statuses({taken: "sent", other: "sent"}, 20)
    asked = by_message(await stage.requests())
    assert {i: len(some) for i, some in asked.items()} == {taken: 1, other: 2}
    assert_taken_once(await stage.rows(), asked)
