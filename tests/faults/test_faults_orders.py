"""A message's reports in every order, each once or more: the same row (contract §1)."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest

from channels.model import Account
from channels.providers.twilio import explain
from gateway.ids import new_id
from gateway.reported import report_event
from gateway.store import reports
from gateway.store.database import Database
from gateway.store.reports import Event
from tests.faults.stage import Json, Stage, Tenant, seeded
from webhooks import twilio
from webhooks.model import StatusReport, WebhookRequest

HELD = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STRAIGHT = ("queued", "sending", "sent", "delivered", "read")
CROOKED = ("sent", "failed", "delivered", "canceled")

# The contract's words, written down here once more.
RANK = ("pending", "sending", "unknown", "sent", "canceled", "failed", "delivered", "read")
MEANS = {
    "queued": "sent",
    "sending": "sent",
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "failed": "failed",
    "undelivered": "failed",
    "canceled": "canceled",
}
CODES = {"failed": "30005"}

Orders = Sequence[tuple[str, ...]]


def expected(events: Iterable[tuple[str, datetime, str | None, str | None]]) -> Json:
    """What the contract makes of (status, time, code, text) events of a message, in any order."""
    events = sorted(events, key=lambda e: (e[1], e[2] or "\U0010ffff", e[3] or "\U0010ffff"))
    first = {kind: next((e for e in events if e[0] == kind), None) for kind in RANK}
    failed = first["failed"]
    times = {
        f"{kind}_at": None if (event := first[kind]) is None else event[1]
        for kind in ("sent", "delivered", "read", "failed")
    }
    return {
        "status": max((e[0] for e in events), key=RANK.index, default="pending"),
        "error_code": failed and failed[2],
        "error_message": failed and failed[3],
        **times,
    }


class Table:
    """Messages that wait in a database without a worker, and the reports about them."""

    def __init__(self, database: Database, stage: Stage, tenant: Tenant) -> None:
        self.database = database
        self._stage = stage
        self._account = Account(
            id=tenant.account_id,
            organization_id=tenant.organization_id,
            provider="twilio",
            credentials={},
        )

    async def messages(self, count: int) -> list[UUID]:
        """New outbound messages with a queue entry each, all equal but for their ids."""
        ids = sorted(new_id() for _ in range(count))
        organization = self._account.organization_id
        await self._stage.pool.execute(
            """WITH made AS (
                 INSERT INTO public.messages
                   (id, organization_id, channel, direction, from_address, to_address, body,
                    status, metadata, created_at)
                 SELECT id, $2, 'sms', 'outbound', '+15551230001', '+15550000001', 'hello',
                   'pending', '{}', $3
                 FROM unnest($1::uuid[]) AS id RETURNING id)
               INSERT INTO gateway.queue (organization_id, message_id, channel)
               SELECT $2, id, 'sms' FROM made""",
            ids,
            organization,
            HELD,
        )
        return ids

    def event(
        self, message_id: UUID, word: str, code: str | None = None, *, at: datetime = HELD
    ) -> Event:
        """The event that the webhook makes of Twilio's report, with the clock held still."""
        form = {"MessageSid": sid_of(message_id), "MessageStatus": word, "To": "+15550000001"}
        if code := code or CODES.get(word):
            form["ErrorCode"] = code
        request = WebhookRequest(
            method="POST",
            url=f"https://gateway.example/status?message_id={message_id}",
            event="status",
            headers={"content-type": "application/x-www-form-urlencoded"},
            body=urlencode(form).encode(),
        )
        (report,) = twilio.parse(request)
        assert isinstance(report, StatusReport)
        return replace(report_event(self._account, report, message_id), occurred_at=at)

    async def record(self, events: Sequence[Event]) -> None:
        """Record events in one transaction, a few hundred with each run of the one statement."""
        async with self.database.as_service() as db:
            for start in range(0, len(events), 250):
                await reports.record(db, events[start : start + 250])

    async def rows(self, ids: Sequence[UUID]) -> list[Json]:
        """The rows of messages, whole but for `updated_at` and the names that differ by message."""
        rows = await self._stage.pool.fetch(
            "SELECT * FROM public.messages WHERE id = ANY ($1::uuid[]) ORDER BY id", ids
        )
        return [
            {**row, "updated_at": None, "id": None, "external_id": own(row["external_id"], row)}
            for row in rows
        ]

    async def waiting(self, ids: Sequence[UUID]) -> int:
        """How many of the messages are in the queue."""
        count: int = await self._stage.pool.fetchval(
            "SELECT count(*) FROM gateway.queue WHERE message_id = ANY ($1::uuid[])", ids
        )
        return count


def sid_of(message_id: UUID) -> str:
    """Twilio's id of a message in these tests."""
    return f"SM{message_id.hex}"


def own(external_id: str | None, row: Any) -> str | None:
    """`own` for the message's own external id, so that rows of several messages are comparable."""
    return "own" if external_id == sid_of(row["id"]) else external_id


@pytest.fixture
async def table(stage: Stage, tenant: Tenant) -> AsyncIterator[Table]:
    """A table of messages."""
    database = await Database.connect(str(stage.settings.database_url), size=6)
    yield Table(database, stage, tenant)
    await database.close()


def told(words: Sequence[str], at: datetime = HELD) -> Json:
    """What `expected` says of reports with these words, at one instant."""
    texts = {"30005": explain("30005")}
    return expected(
        (MEANS[word], at, code := CODES.get(word), texts.get(code or "")) for word in words
    )


def assert_same(rows: Sequence[Json], words: Sequence[str]) -> None:
    """All rows are one row, and it is the one that the contract describes."""
    first = rows[0]
    different = [row for row in rows if row != first]
    assert different == []
    expectation = told(words) | {"external_id": "own", "body": "hello", "created_at": HELD}
    assert {name: first[name] for name in expectation} == expectation


def doubled(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Every different order of the words, each of them once or twice."""
    for twice in itertools.product((1, 2), repeat=len(words)):
        yield from arrangements(dict(zip(words, twice, strict=True)))


def arrangements(left: dict[str, int]) -> Iterator[tuple[str, ...]]:
    """Every different order of a multiset."""
    if not any(left.values()):
        yield ()
    for word, count in left.items():
        if count:
            for rest in arrangements({**left, word: count - 1}):
                yield (word, *rest)


async def apply_side_by_side(table: Table, orders: Orders) -> list[Json]:
    """Give each order to a message of its own, report by report; their rows."""
    ids = await table.messages(len(orders))
    for turn in range(max(map(len, orders))):
        events = [
            table.event(message_id, order[turn])
            for message_id, order in zip(ids, orders, strict=True)
            if turn < len(order)
        ]
        await table.record(events)
    assert await table.waiting(ids) == 0
    return await table.rows(ids)


@pytest.mark.parametrize("words", [STRAIGHT, CROOKED], ids=["straight", "crooked"])
async def test_every_order_in_transactions_of_their_own(table: Table, words: Sequence[str]) -> None:
    """Reports that come one by one, each once and in any order, end in the same row."""
    orders = list(itertools.permutations(words))
    ids = await table.messages(len(orders))
    for message_id, order in zip(ids, orders, strict=True):
        for word in order:
            await table.record([table.event(message_id, word)])
    assert_same(await table.rows(ids), words)
    assert await table.waiting(ids) == 0


async def test_every_order_of_crooked_reports_with_doubles(table: Table) -> None:
    """All orders of the crooked reports with none or one of them twice, and some with all of them
    twice, are one row."""
    orders = [order for order in doubled(CROOKED) if len(order) in {4, 5}]
    assert len(orders) == len(set(orders)) == 24 + 240
    # What changes nothing the second time in any place does not in several: here is a sample.
    orders += seeded().sample([order for order in doubled(CROOKED) if len(order) == 8], 240)
    assert_same(await apply_side_by_side(table, orders), CROOKED)


async def test_orders_once_or_twice_of_straight_reports(table: Table) -> None:
    """Five hundred orders of queued, sending, sent, delivered, read, once or twice: one row."""
    chance = seeded()
    orders = []
    for _ in range(500):
        order = [word for word in STRAIGHT for _ in range(chance.randint(1, 2))]
        chance.shuffle(order)
        orders.append(tuple(order))
    assert_same(await apply_side_by_side(table, orders), STRAIGHT)


async def test_reports_of_one_batch(table: Table) -> None:
    """However reports are spread over batches, also all in one, the row is the same."""
    chance = seeded()
    for words in (STRAIGHT, CROOKED):
        ids = await table.messages(150)
        for message_id in ids:
            order = [word for word in words for _ in range(chance.randint(1, 2))]
            chance.shuffle(order)
            while order:
                size = chance.randint(1, len(order))
                await table.record([table.event(message_id, word) for word in order[:size]])
                order = order[size:]
        assert_same(await table.rows(ids), words)


async def test_earliest_times_win(table: Table) -> None:
    """Each time is the earliest of its kind, and the error that of the earliest failure."""
    seconds = {"sent": 5, "queued": 3, "failed": 9, "undelivered": 7, "delivered": 11, "read": 12}
    at = {word: HELD.replace(second=second) for word, second in seconds.items()}
    codes = {"failed": "30005", "undelivered": "30003"}
    orders = list(itertools.permutations(seconds))
    ids = await table.messages(len(orders))
    for turn in range(len(seconds)):
        await table.record(
            [
                table.event(i, order[turn], codes.get(order[turn]), at=at[order[turn]])
                for i, order in zip(ids, orders, strict=True)
            ]
        )
    rows = await table.rows(ids)
    assert [row for row in rows if row != rows[0]] == []
    wanted = expected((MEANS[w], at[w], c := codes.get(w), explain(c)) for w in seconds)
    assert {name: rows[0][name] for name in wanted} == wanted
    assert (wanted["error_code"], wanted["sent_at"]) == ("30003", at["queued"])


async def test_failures_of_one_instant(table: Table) -> None:
    """Of several failures at the same instant the same one counts, whichever came first."""
    failures = [("failed", "30005"), ("failed", "30003"), ("undelivered", "30008"), ("failed", "1")]
    orders = list(itertools.permutations([*failures, ("sent", None)]))
    ids = await table.messages(len(orders))
    for turn in range(len(orders[0])):
        await table.record(
            [table.event(i, *order[turn]) for i, order in zip(ids, orders, strict=True)]
        )
    together = await table.messages(len(orders))
    for message_id, order in zip(together, orders, strict=True):
        await table.record([table.event(message_id, *each) for each in order])
    rows = await table.rows([*ids, *together])
    assert [row for row in rows if row != rows[0]] == []
    assert rows[0]["error_code"] in {code for _, code in failures}
    assert rows[0]["status"] == "failed"


async def test_orders_that_race(table: Table) -> None:
    """Transactions that report the same messages in different orders neither hang nor differ."""
    chance = seeded()
    words = (*STRAIGHT, "failed", "canceled")
    ids = await table.messages(120)

    async def tell(chance: random.Random) -> None:
        events = [table.event(message_id, word) for message_id in ids for word in words]
        chance.shuffle(events)
        while events:
            size = chance.randint(1, 60)
            await table.record(events[:size])  # a deadlock would be a DatabaseAwayError
            events = events[size:]

    await asyncio.gather(*(tell(seeded(chance.getrandbits(32))) for _ in range(5)))
    assert_same(await table.rows(ids), words)
    assert await table.waiting(ids) == 0


async def test_orders_by_signed_webhooks(stage: Stage, tenant: Tenant, table: Table) -> None:
    """Over HTTP too: every report is answered 200, and the row is what its events make of it."""
    chance = seeded()
    orders: list[tuple[str, ...]] = list(itertools.permutations(CROOKED))
    orders += [tuple(chance.sample(STRAIGHT * 2, 10)) for _ in range(24)]
    ids = await table.messages(len(orders))

    async def tell(message_id: UUID, order: Sequence[str]) -> list[int]:
        return [
            await stage.report(
                tenant,
                tenant.status_url(message_id),
                MessageSid=sid_of(message_id),
                MessageStatus=word,
                **({"ErrorCode": CODES[word]} if word in CODES else {}),
            )
            for word in order
        ]

    answers = await asyncio.gather(*map(tell, ids, orders))
    assert {answer for some in answers for answer in some} == {200}
    rows = {row_id: row for row_id, row in (await stage.rows()).items() if UUID(row_id) in ids}
    events = await stage.events()
    for message_id, order in zip(ids, orders, strict=True):
        row, seen = rows[str(message_id)], events[str(message_id)]
        assert sorted(event["type"] for event in seen) == sorted(set(order))
        wanted = expected(
            (
                MEANS[event["type"]],
                event["occurred_at"],
                code := CODES.get(event["type"]),
                explain(code),
            )
            for event in seen
        ) | {"external_id": sid_of(message_id)}
        assert {name: row[name] for name in wanted} == wanted
    assert await stage.queued() == set()


async def test_dispatch_and_reports_in_every_order(table: Table) -> None:
    """What the worker itself records (attempt, lost, sent) moves with reports in any order."""
    kinds = [("attempt", "sending"), ("answer_lost", "unknown"), ("taken", "sent")]
    orders = list(itertools.permutations([*kinds, ("delivered", None), ("refused", None)]))
    ids = await table.messages(len(orders))

    def event(message_id: UUID, kind: str, status: str | None) -> Event:
        if kind == "delivered":
            return table.event(message_id, kind)
        return replace(
            table.event(message_id, "sent"),
            id=reports.event_id(message_id, kind),
            type=kind,
            status=status,
            source="worker",
            external_id=sid_of(message_id) if kind == "taken" else None,
            provider={"num_segments": "1"} if kind == "taken" else None,
        )

    for turn in range(len(orders[0])):
        await table.record([event(i, *order[turn]) for i, order in zip(ids, orders, strict=True)])
    rows = await table.rows(ids)
    assert [row for row in rows if row != rows[0]] == []
    assert (rows[0]["status"], rows[0]["sent_at"], rows[0]["delivered_at"]) == (
        "delivered",
        HELD,
        HELD,
    )
    assert await table.waiting(ids) == 0
