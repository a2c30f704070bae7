"""Whatever the provider does to requests, answers and reports: sent once, and the right status."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.faults.stage import Json, Stage, Tenant, by_message, message_id_of, moment

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
LATE = timedelta(seconds=1)  # what a loaded machine may add


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
    await stage.until_statuses(ends, 40)

    asked = by_message(await stage.requests())
    assert {i: 2 if fault in REFUSING else 1 for i, fault in fault_of.items()} == {
        i: len(some) for i, some in asked.items()
    }
    rows = await stage.rows()
    assert_taken_once(rows, asked)
    for message_id, row in rows.items():
        assert_plausible(row, began, in_order=fault_of[message_id] not in {"reorder", "batch"})
    for message_id, fault in fault_of.items():
        some = asked[message_id]
        if fault == "429":
            assert timedelta(seconds=1) <= moment(some[1]) - moment(some[0])
            assert moment(some[1]) - moment(some[0]) <= timedelta(seconds=2) + LATE
        elif fault in {"500", "503"}:
            assert moment(some[1]) - moment(some[0]) <= timedelta(seconds=5) + LATE


async def test_random_mixtures(stage: Stage, tenant: Tenant) -> None:
    """With several faults at once, twice over or not, every message ends as the provider says."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - shown when the test fails
    chance = random.Random(seed)
    wanted: list[Json] = []
    ends: list[str] = []
    for n in range(120):
        # The answers that are lost for fifteen seconds have a test of their own.
        faults = [f for f in FAULTS if f != "timeout_after_accept"]
        outcome = chance.choice(list(ENDS))
        plan: dict[str, Any] = {
            "outcome": outcome,
            "faults": chance.sample(faults, chance.randint(1, 4)),
            "delay_ms": chance.choice([0, 5, 60]),
            "answer_delay_ms": chance.choice([0, 0, 40]),
        }
        if sum(f in REFUSING for f in plan["faults"]) < 2:
            plan["times"] = chance.choice([1, 2])
        await stage.plan(f"[mix {n}]", **plan)
        wanted.append({"to": f"+1555200{n:04}", "body": f"[mix {n}]"})
        ends.append("sent" if "drop" in plan["faults"] else ENDS[outcome])
    began = datetime.now(UTC)
    stage.start_worker()
    stage.start_worker()
    ids = await stage.send_many(tenant, wanted)
    await stage.until_statuses(dict(zip(ids, ends, strict=True)), 60)
    rows = await stage.rows()
    assert_taken_once(rows, by_message(await stage.requests()))
    for row in rows.values():
        assert_plausible(row, began, in_order=False)


async def test_lost_answers_without_reports(stage: Stage, tenant: Tenant) -> None:
    """Where answer and reports are both lost the provider is asked, and each twin gets its own id."""
    began = datetime.now(UTC)
    lost = {
        "timeout_after_accept": ["timeout_after_accept", "drop"],
        "reset_after_accept": ["reset_after_accept", "drop"],
        "refused, then lost": ["500", "reset_after_accept", "drop"],
    }
    for name, faults in lost.items():
        await stage.plan(f"[{name}]", faults=faults)
    stage.start_worker()
    stage.start_worker()
    # The same text to the same person four times each: only the ids tell the messages apart.
    wanted = [{"to": f"+1555300{n // 4:04}", "body": f"[{name}]"} for name in lost for n in range(8)]
    ids = await stage.send_many(tenant, wanted)
    await stage.until_statuses(dict.fromkeys(ids, "sent"), 60)
    asked = by_message(await stage.requests())
    rows = await stage.rows()
    accepted = [some["sid"] for each in asked.values() for some in each if some["sid"]]
    assert len(accepted) == len(ids)
    assert Counter(accepted) == Counter(row["external_id"] for row in rows.values())
    assert {i: 1 for i in ids} == {
        i: sum(some["sid"] is not None for some in each) for i, each in asked.items()
    }
    for row in rows.values():
        assert_plausible(row, began, in_order=True)


async def test_lost_answer_of_one_among_twins(stage: Stage, tenant: Tenant) -> None:
    """A message that never arrived is sent once more, though the provider has others like it."""
    await stage.plan("twin", faults=["drop"])
    stage.start_worker()
    first = await stage.send_many(tenant, [{"to": "+15554000001", "body": "twin"}] * 5)
    await stage.until_statuses(dict.fromkeys(first, "sent"), 20)
    await stage.plan("twin", faults=["reset", "drop"])
    lost = await stage.send_many(tenant, [{"to": "+15554000001", "body": "twin"}] * 3)
    await stage.until_statuses(dict.fromkeys(first + lost, "sent"), 30)
    asked = by_message(await stage.requests())
    assert {i: 1 for i in first} | {i: 2 for i in lost} == {i: len(s) for i, s in asked.items()}
    assert_taken_once(await stage.rows(), asked)


def assert_taken_once(rows: dict[str, Json], asked: dict[str, list[Json]]) -> None:
    """The provider took each message once, and its row has the id that the provider gave."""
    taken = {i: [some["sid"] for some in each if some["sid"]] for i, each in asked.items()}
    assert {i: [row["external_id"]] for i, row in rows.items()} == taken


def assert_plausible(row: Json, began: datetime, *, in_order: bool) -> None:
    """The row's times are those of the test, in their order, and none where nothing happened."""
    now = datetime.now(UTC)
    names = ("created_at", "sent_at", "delivered_at", "read_at")
    times = [row[name] for name in names if row[name] is not None]
    assert all(began <= time <= now for time in times), row
    if in_order:
        assert times == sorted(times), row
    reached = {
        "sent": {"sent_at"},
        "delivered": {"delivered_at"},
        "read": {"delivered_at", "read_at"},
        "failed": {"failed_at"},
        "canceled": set(),
    }[row["status"]]
    assert all(row[name] is not None for name in reached), row
    assert (row["failed_at"] is None) == (row["error_code"] is None), row
    if row["status"] in {"sent", "canceled"}:
        assert row["delivered_at"] is row["read_at"] is row["failed_at"] is None, row


async def test_one_request_an_attempt(stage: Stage, tenant: Tenant) -> None:
    """Every request to the provider is an attempt in the message's events, and the other way."""
    await stage.plan(faults=["500", "502", "429"], outcome="sent", delay_ms=5)
    stage.start_worker()
    ids = await stage.send_many(
        tenant, [{"to": f"+1555500{n:04}", "body": f"hello {n}"} for n in range(8)]
    )
    await stage.until_statuses(dict.fromkeys(ids, "sent"), 40)
    requests = Counter(message_id_of(asked) for asked in await stage.requests())
    events = await stage.events()
    attempts = {i: sum(e["type"] == "attempt" for e in some) for i, some in events.items()}
    assert dict(requests) == attempts == dict.fromkeys(ids, 4)
