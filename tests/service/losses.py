"""Loses rows as a defect would, and reads all rows that a replay could change."""

# ruff: noqa: S608 (the names are those of this file)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from tests.service.wires import from_twilio

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

SID = "SM" + "1" * 32
PHONE, ADA = "+447700900123", "ada@customer.example"
INBOUND = {
    "MessageSid": "SM" + "2" * 32,
    "From": PHONE,
    "To": "+15551230001",
    "Body": "Stop",
    "NumMedia": "1",
    "MediaUrl0": "https://example.com/a.jpg",
    "MediaContentType0": "image/jpeg",
}
# Columns with the time of storing, or that follow from it.
STORED = ("recorded_at", "received_at", "created_at", "position")
# The tables that a replay could change.
TABLES = (
    "messages",
    *(
        f"gateway.{name}"
        for name in (
            "message_events",
            "queue",
            "unmatched_reports",
            "webhook_requests",
            "consent_events",
            "suppressions",
            "conversations",
            "conversation_addresses",
            "correspondence",
            "media",
            "errands",
        )
    ),
)


async def rows(owner: Connection, *without: str) -> dict[str, list[str]]:
    """All rows that a replay could change, except `updated_at` and the columns in `without`."""
    gone = ["updated_at", *without]
    return {
        table: [
            row["text"]
            for row in await owner.fetch(
                f"SELECT (to_jsonb(t) - $1::text[])::text AS text FROM {table} t ORDER BY 1", gone
            )
        ]
        for table in TABLES
    }


async def report(gateway: Gateway, row: Any, word: str, **more: str) -> None:
    """Twilio reports a status of a message of ours."""
    fields = {"MessageSid": SID, "MessageStatus": word} | more
    query = f"?message_id={row['id']}"
    assert (await from_twilio(gateway, "status", fields, query=query)).status < 300


async def age(owner: Connection, days: int) -> None:
    """Make all received requests some days older."""
    await owner.execute(
        "UPDATE gateway.webhook_requests SET received_at = received_at - make_interval(days => $1)",
        days,
    )


async def forget(owner: Connection, table: str, where: str = "true", *values: Any) -> None:
    """Lose rows, as a defect would."""
    assert "DELETE 0" != await owner.execute(f"DELETE FROM {table} WHERE {where}", *values)
