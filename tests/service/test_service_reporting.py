"""gateway/receive/reporting.py: large requests about the same messages, at the same moment."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import asyncpg

from channels.model import Account, Channel, Status
from gateway.ids import new_id
from gateway.observability.metrics import Metrics
from gateway.receive.incoming import unmatched
from gateway.receive.reporting import Received, Reporting
from gateway.receive.unmatched import UnmatchedReports
from gateway.store.database import Connection
from gateway.store.kept_reports import CONSENT
from gateway.store.requests import RawRequest
from webhooks.model import ConsentChange, Reason, StatusReport

if TYPE_CHECKING:
    from tests.service.conftest import Gateway, Tenant

# More than one statement takes.
MANY = 700


def received(gateway: Gateway, told: list[StatusReport], tenant: Tenant | None = None) -> Received:
    """A verified request of A's account, or another's, that holds these reports."""
    tenant = tenant or gateway.a
    account = Account(
        id=tenant.account_id,
        organization_id=tenant.organization_id,
        provider="twilio",
        credentials={},
    )
    request = RawRequest(
        organization_id=account.organization_id,
        id=new_id(),
        account_id=account.id,
        provider=account.provider,
        event="status",
        method="POST",
        url="https://gateway.example/",
        headers={},
        body=b"",
    )
    return Received(account, request, told)


def report(
    message_id: UUID | None,
    external_id: str | None,
    status: Status = Status.DELIVERED,
    occurred_at: datetime | None = None,
) -> StatusReport:
    """A message was delivered, or came so far."""
    return StatusReport(
        external_id=external_id,
        message_id=message_id,
        status=status,
        word=str(status),
        key=f"test:{external_id}:{status}:{occurred_at}",
        occurred_at=occurred_at,
    )


async def insert(
    db: Connection, gateway: Gateway, external_id: str, sent_at: datetime | None = None
) -> UUID:
    """A message of A's that was sent under this id."""
    message_id: UUID = await db.fetchval(
        "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
        " body, external_id, status, sent_at) SELECT $1, 'sms', 'outbound', '+15551230001',"
        " '+15550000001', 'Hello', $2, 'sent', $3 RETURNING id",
        gateway.a.organization_id,
        external_id,
        sent_at,
    )
    return message_id


async def test_large_requests_in_any_order(gateway: Gateway) -> None:
    """Requests with the same reports in opposite orders are stored beside each other, once each:
    neither those of known messages nor those of unknown ones make two wait in a circle."""
    async with gateway.database.as_service() as db:
        made = await db.fetch(
            "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
            " body, external_id) SELECT $1, 'sms', 'outbound', '+15551230001', '+15550000001',"
            " 'Hello', 'SM' || n FROM generate_series(1, $2::int) AS s (n)"
            " RETURNING id, external_id",
            gateway.a.organization_id,
            MANY,
        )
    told = [report(row["id"], row["external_id"]) for row in made]
    told += [report(None, f"unknown{n}") for n in range(MANY)]
    first, second = Reporting(gateway.database, Metrics()), Reporting(gateway.database, Metrics())
    for _ in range(3):
        await asyncio.gather(
            *(
                reporting.store(received(gateway, some))
                for some in (told, told[::-1])
                for reporting in (first, second)
            )
        )
    # On a busy machine: what one of them held for longer than the others waited.
    await UnmatchedReports(gateway.database, Metrics()).apply()

    assert MANY == await gateway.count("gateway.message_events")
    assert MANY == await gateway.count("gateway.unmatched_reports")
    assert MANY == await gateway.count("messages WHERE status = 'delivered'")
    assert 12 == await gateway.count("gateway.webhook_requests")


async def test_what_says_nothing_new_writes_no_row(gateway: Gateway) -> None:
    """A report of what is known already is an event and leaves the row as it is; one that knows an
    earlier time of it changes that. Either takes a message that was sent out of the queue."""
    sent_at = datetime(2026, 11, 1, 12, tzinfo=UTC)
    reporting = Reporting(gateway.database, Metrics())

    async def version() -> tuple[object, ...]:
        async with gateway.database.as_service() as db:
            row = await db.fetchrow("SELECT ctid::text, status, sent_at FROM messages")
        return tuple(row or ())

    async with gateway.database.as_service() as db:
        message_id = await insert(db, gateway, "SM1", sent_at)
        await db.execute(
            "INSERT INTO gateway.queue (organization_id, message_id, channel)"
            " SELECT organization_id, id, channel FROM messages"
        )
    before = await version()
    for later in (0, 5):
        told = report(message_id, "SM1", Status.SENT, sent_at + timedelta(seconds=later))
        await reporting.store(received(gateway, [told]))
    assert before == await version()
    assert (2, 0) == (
        await gateway.count("gateway.message_events"),
        await gateway.count("gateway.queue"),
    )

    earlier = sent_at - timedelta(seconds=5)
    await reporting.store(received(gateway, [report(message_id, "SM1", Status.SENT, earlier)]))
    assert ("sent", earlier) == (await version())[1:]


async def test_a_report_that_cannot_be_kept_for_later(gateway: Gateway) -> None:
    """Where an organization's reports are kept for later just now, one that names its message by
    our id alone, and so cannot be kept, is applied at once."""
    async with gateway.database.as_service() as db:
        one = await insert(db, gateway, "SM1")
    reporting = Reporting(gateway.database, Metrics())
    reporting._late.add(gateway.a.organization_id)
    await reporting.store(received(gateway, [report(one, None)]))
    assert 1 == await gateway.count("messages WHERE status = 'delivered'")


async def test_a_clock_that_is_ahead_of_ours(gateway: Gateway) -> None:
    """What a provider says happened in a moment counts by when it says so, in whichever order it
    comes, kept first or not; what it says of days from now happened when it came."""
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    reporting = Reporting(gateway.database, Metrics())
    failed = [
        replace(
            report(None, "", Status.FAILED, soon + timedelta(seconds=n)),
            error_code=code,
            error_message=code,
        )
        for n, code in enumerate(("first", "second"))
    ]
    read = report(None, "", Status.READ, soon + timedelta(days=3))
    rows = []
    for number, told in enumerate(([*failed, read], [read, *failed[::-1]])):
        async with gateway.database.as_service() as db:
            message_id = await insert(db, gateway, f"SM{number}")
        for one in told:
            own = replace(one, external_id=f"SM{number}", key=f"{one.key}:{number}")
            await reporting.store(received(gateway, [own]))
        async with gateway.database.as_service() as db:
            rows += await db.fetch("SELECT * FROM messages WHERE id = $1", message_id)
    assert [(soon, "first", "first")] * 2 == [
        (row["failed_at"], row["error_code"], row["error_message"]) for row in rows
    ]
    assert all(row["read_at"] < soon for row in rows)
    stop = ConsentChange(channel=Channel.SMS, reason=Reason.STOP, key="stop", word="stop")
    early = unmatched(received(gateway, []).account, failed[0], consent=[stop])
    assert soon == early["occurred_at"]
    # or a START that follows would be from before it
    assert early["detail"][CONSENT][0]["occurred_at"] <= datetime.now(UTC)


async def test_reports_that_cannot_be_applied_when_they_come(gateway: Gateway) -> None:
    """What a trigger of the CRM's refuses is answered, and not lost: its provider would come again
    for seconds. It is applied when the trigger is mended; the other tenants' are at once."""
    messages = {}
    for tenant in (gateway.a, gateway.b):
        body = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
        messages[tenant.key] = (
            await gateway.ask("POST", "/v1/messages", body, key=tenant.key)
        ).body["id"]
    crm = await asyncpg.connect(str(gateway.settings.database_url))
    await crm.execute("UPDATE messages SET external_id = 'x' || id")
    await crm.execute(
        "CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF NEW.organization_id = '{gateway.a.organization_id}' THEN RAISE 'The CRM says no.';"
        " END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER never BEFORE UPDATE ON messages FOR EACH ROW EXECUTE FUNCTION never()"
    )
    told = []
    for tenant in (gateway.a, gateway.b):
        about = messages[tenant.key]
        one = received(gateway, [report(UUID(about), f"x{about}")])
        owner: Any = {"organization_id": tenant.organization_id}
        account = replace(one.account, id=tenant.account_id, **owner)
        request = replace(one.request, account_id=tenant.account_id, **owner)
        told.append(replace(one, account=account, request=request))
    reporting, unmatched = (
        Reporting(gateway.database, Metrics()),
        UnmatchedReports(gateway.database, Metrics()),
    )
    await asyncio.gather(*map(reporting.store, told))
    await unmatched.apply()

    async def statuses() -> list[str]:
        return [row["status"] for row in await crm.fetch("SELECT status FROM messages ORDER BY id")]

    assert ["pending", "delivered"] == await statuses()
    assert 2 == await gateway.count("gateway.webhook_requests")
    await crm.execute("DROP TRIGGER never ON messages")
    await UnmatchedReports(gateway.database, Metrics()).apply()
    assert ["delivered", "delivered"] == await statuses()
    await crm.close()
