"""gateway/reporting.py: large requests about the same messages, at the same moment."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

from channels.model import Account, Status
from gateway.ids import new_id
from gateway.metrics import Metrics
from gateway.reporting import Received, Reporting
from gateway.store.reports import RawRequest
from webhooks.model import StatusReport

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

# More than one statement takes.
MANY = 700


def received(gateway: Gateway, told: list[StatusReport]) -> Received:
    """A verified request of A's account that holds these reports."""
    account = Account(
        id=gateway.a.account_id,
        organization_id=gateway.a.organization_id,
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


def report(message_id: UUID | None, external_id: str) -> StatusReport:
    """A message was delivered."""
    return StatusReport(
        external_id=external_id,
        message_id=message_id,
        status=Status.DELIVERED,
        word="delivered",
        key=f"test:{external_id}:delivered",
    )


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

    assert MANY == await gateway.count("gateway.message_events")
    assert MANY == await gateway.count("gateway.unmatched_reports")
    assert MANY == await gateway.count("messages WHERE status = 'delivered'")
    assert 12 == await gateway.count("gateway.webhook_requests")
