"""How attempts are noted: as `record` would, by a statement of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from channels.model import Status
from gateway.happenings import event_of
from gateway.ids import new_id
from gateway.store import queue, reports
from gateway.store.database import Connection

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
ROWS = "SELECT id, status FROM messages ORDER BY id"
EVENTS = """
SELECT message_id, id, type, status, source, detail FROM gateway.message_events
WHERE type = 'attempt' ORDER BY message_id, id
"""


async def noted(db: Connection) -> list[tuple[Any, ...]]:
    """What is stored of attempts."""
    return [tuple(row) for query in (ROWS, EVENTS) for row in await db.fetch(query)]


async def test_an_attempt_is_noted_as_record_would(gateway: Gateway, ask: Ask) -> None:
    """Rows and events are the same, whichever statement is first; the other one adds nothing."""
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 3})
    async with gateway.database.as_service() as db:
        claimed = await queue.claim(db, 10, new_id(), 30)
        events = [
            event_of(each, "attempt:1", "attempt", Status.SENDING, detail={"attempt": 1})
            for each in claimed
        ]
        before = await noted(db)
        await db.execute("SAVEPOINT here")
        await queue.begin(db, claimed)
        by_begin = await noted(db)
        assert {frozenset()} == {advance.fresh for advance in await reports.record(db, events)}
        assert by_begin == await noted(db)
        await db.execute("ROLLBACK TO here")
        assert before == await noted(db)
        await reports.record(db, events)
        assert by_begin == await noted(db)
        await queue.begin(db, claimed)
        assert by_begin == await noted(db)
    assert [{"attempt": 1}] * 3 == [row[5] for row in by_begin[3:]]


async def test_a_row_that_is_further_stays(gateway: Gateway, ask: Ask) -> None:
    """An attempt lowers no status, and tells what it found."""
    await ask("POST", "/v1/messages/batch", {"messages": [SMS] * 3})
    async with gateway.database.as_service() as db:
        claimed = sorted(
            await queue.claim(db, 10, new_id(), 30), key=lambda entry: entry.message_id
        )
        ids = [entry.message_id for entry in claimed]
        found = ["pending", "unknown", "delivered"]
        await db.execute(
            "UPDATE messages m SET status = s.status"
            " FROM unnest($1::uuid[], $2::text[]) AS s (id, status) WHERE m.id = s.id",
            ids,
            found,
        )
        assert dict(zip(ids, found, strict=True)) == await queue.begin(db, claimed)
        kept = await noted(db)
    assert ["sending", "unknown", "delivered"] == [status for _, status in kept[:3]]


async def test_nothing_is_begun(gateway: Gateway) -> None:
    """No entry, no statement."""
    async with gateway.database.as_service() as db:
        assert {} == await queue.begin(db, [])
