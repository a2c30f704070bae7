"""What each provider tells of one message, in every order and more than once: the same row."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from channels.model import Account
from gateway.receive.incoming import unmatched
from gateway.registry import PROVIDERS
from gateway.reported import report_event
from gateway.store import kept_reports, reports
from gateway.store.database import Database
from gateway.store.reports import Event
from tests.faults.stage import Json, Stage, Tenant
from tests.faults.test_faults_orders import HELD, Table, expected, sid_of
from webhooks.model import StatusReport, WebhookRequest

FORM = "application/x-www-form-urlencoded"
Said = Mapping[str, Any]

SECOND = {"event": "open", "timestamp": 1700000060, "email": "ada@customer.example"}
BOUNCE = SECOND | {"event": "bounce", "type": "bounce"}
# Reports that only their meaning tells apart, beside some that everything does.
SENDGRID: Final[Sequence[Said]] = (
    SECOND | {"sg_machine_open": True, "sg_event_id": "a"},
    SECOND | {"sg_machine_open": False, "sg_event_id": "b"},
    SECOND | {"sg_event_id": "c"},
    BOUNCE | {"status": "5.1.1", "reason": "550 5.1.1 no such user"},
    BOUNCE | {"status": "5.1.1", "reason": "550 5.1.1 user unknown"},
    BOUNCE | {"status": "4.2.2", "reason": "452 4.2.2 mailbox full"},
    {"event": "delivered", "timestamp": 1700000050},
    {"event": "delivered", "timestamp": 1700000051},
)
META: Final[Sequence[Said]] = (
    {"status": "sent", "timestamp": "1700000010"},
    {"status": "sent", "timestamp": "1700000009"},
    {"status": "delivered", "timestamp": "1700000030"},
    {"status": "delivered", "timestamp": "1700000020"},
    {"status": "read", "timestamp": "1700000032"},
    {"status": "read", "timestamp": "1700000031"},
    *(
        {"status": "failed", "timestamp": second, "errors": [{"code": code, "message": words}]}
        for second in ("1700000040", "1700000041")
        for code, words in ((131026, "no"), (131026, "not now"), (131047, "too late"))
    ),
)
MAILGUN: Final[Sequence[Said]] = tuple(
    {"id": "one", "timestamp": 1700000060.5, "recipient": "ada@customer.example"} | said
    for said in (
        {"event": "opened", "client-info": {"bot": "gmail"}},
        {"event": "opened", "client-info": {"bot": ""}},
        {"event": "failed", "severity": "permanent", "delivery-status": {"code": 550}},
        {"event": "failed", "severity": "permanent", "delivery-status": {"code": 554}},
        {"event": "delivered"},
    )
)
POSTMARK: Final[Sequence[Said]] = (
    {"RecordType": "Delivery", "DeliveredAt": "2023-11-14T22:14:10Z"},
    {"RecordType": "Delivery", "DeliveredAt": "2023-11-14T22:14:09Z"},
    *(
        {"RecordType": "Bounce", "Type": "HardBounce", "ID": 7, "TypeCode": code, "Details": words,
         "BouncedAt": "2023-11-14T22:14:12Z"}
        for code, words in ((1, "no such user"), (1, "unknown user"), (2, "no such user"))
    ),
)  # fmt: skip
SES: Final[Sequence[tuple[str, Said]]] = tuple(
    (second, said)
    for second in ("2023-11-14T22:14:20.000Z", "2023-11-14T22:14:21.000Z")
    for said in (
        {"eventType": "Send", "send": {}},
        {"eventType": "Delivery", "delivery": {"timestamp": "2023-11-14T22:14:19.000Z"}},
        {"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bounceSubType": "General"}},
        {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "General"}},
        {"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail"}},
    )
)
RESEND: Final[Sequence[Said]] = tuple(
    {"type": name, "created_at": second, "data": {"bounce": {"type": kind, "message": "no"}}}
    for name, kind in (
        ("email.sent", ""),
        ("email.delivered", ""),
        ("email.bounced", "Permanent"),
        ("email.bounced", "Transient"),
    )
    for second in ("2023-11-14T22:14:20.000Z", "2023-11-14T22:14:21.000Z")
)
SMS: Final[Sequence[Said]] = (
    {"MessageStatus": "sent"},
    {"MessageStatus": "undelivered", "ErrorCode": "30003", "ErrorMessage": "Unreachable"},
    {"MessageStatus": "undelivered", "ErrorCode": "30003", "ErrorMessage": "Switched off"},
)
CALLS: Final[Sequence[Said]] = tuple(
    {"CallStatus": name, "Timestamp": f"Tue, 14 Nov 2023 22:14:{second} +0000"} | more
    for name, more in (
        ("ringing", {}),
        ("completed", {"CallDuration": "12"}),
        ("completed", {"CallDuration": "13"}),
        ("failed", {"ErrorCode": "13227", "ErrorMessage": "one"}),
        ("failed", {"ErrorCode": "13227", "ErrorMessage": "other"}),
    )
    for second in (20, 21)
)


@dataclass(frozen=True)
class Telling:
    """A report of a provider's about any message, as the body of its webhook."""

    provider: str
    event: str
    said: Any

    def body(self, external_id: str) -> bytes:
        """The body where the message has this id at the provider."""
        said = self.said
        match self.provider:
            case "sendgrid":
                return _json([said | {"sg_message_id": f"{external_id}.recvd"}])
            case "meta":
                value = {"statuses": [said | {"id": external_id}]}
                changes = [{"field": "messages", "value": value}]
                return _json(
                    {"object": "whatsapp_business_account", "entry": [{"changes": changes}]}
                )
            case "mailgun":
                headers = {"headers": {"message-id": external_id}}
                return _json({"event-data": said | {"message": headers}})
            case "postmark":
                return _json(said | {"MessageID": external_id})
            case "ses":
                second, about = said
                message = json.dumps(about | {"mail": {"messageId": external_id}})
                return _json({"Type": "Notification", "Message": message, "Timestamp": second})
            case "resend":
                return _json(said | {"data": said["data"] | {"email_id": external_id}})
            case _:
                name = "CallSid" if self.event == "call-status" else "MessageSid"
                return urlencode(said | {name: external_id}).encode()

    def report(self, external_id: str) -> StatusReport:
        """What the webhook half reads in it."""
        kind = FORM if self.provider == "twilio" else "application/json"
        request = WebhookRequest(
            method="POST",
            url=f"https://gateway.example/{self.event}",
            event=self.event,
            headers={"content-type": kind},
            body=self.body(external_id),
        )
        first = PROVIDERS[self.provider].webhook.parse(request)[0]
        assert isinstance(first, StatusReport)
        # What has no time of the provider's has that of its arrival: here they all come at once.
        return replace(first, occurred_at=first.occurred_at or HELD)


def _json(said: object) -> bytes:
    return json.dumps(said).encode()


def tellings(provider: str, event: str, said: Sequence[Any]) -> list[Telling]:
    """All that a provider tells."""
    return [Telling(provider, event, each) for each in said]


TOLD: Final = {
    "sendgrid": tellings("sendgrid", "events", SENDGRID),
    "meta": tellings("meta", "events", META),
    "mailgun": tellings("mailgun", "events", MAILGUN),
    "postmark": tellings("postmark", "events", POSTMARK),
    "ses": tellings("ses", "events", SES),
    "resend": tellings("resend", "events", RESEND),
    "twilio": tellings("twilio", "status", SMS),
    "twilio-calls": tellings("twilio", "call-status", CALLS),
}


class Desk(Table):
    """A table where any provider reports."""

    def __init__(self, database: Database, stage: Stage, tenant: Tenant) -> None:
        super().__init__(database, stage, tenant)
        self.tenant = tenant

    def account(self, provider: str) -> Account:
        """The tenant's account at a provider."""
        return replace(self._account, provider=provider)

    def told(self, message_id: UUID, telling: Telling) -> Event:
        """A telling about a message, as it is recorded."""
        account = self.account(telling.provider)
        return report_event(account, telling.report(sid_of(message_id)), message_id)

    async def events(self, message_id: UUID) -> int:
        """How many events a message has."""
        async with self.database.as_service() as db:
            count: int = await db.fetchval(
                "SELECT count(*) FROM gateway.message_events WHERE message_id = $1", message_id
            )
        return count

    async def keep(self, message_id: UUID, telling: Telling) -> None:
        """A telling that comes before the message's external id is known."""
        report = telling.report(sid_of(message_id))
        async with self.database.as_service() as db:
            await kept_reports.keep_unmatched(
                db, [unmatched(self.account(telling.provider), report)]
            )

    async def take(self, message_id: UUID) -> None:
        """The message's external id becomes known."""
        key = (
            self.tenant.organization_id,
            self.tenant.account_id,
            sid_of(message_id),
            message_id,
        )
        async with self.database.as_service() as db:
            await reports.record(db, await kept_reports.take_unmatched(db, [key]))


@pytest.fixture
async def desk(stage: Stage, tenant: Tenant) -> AsyncIterator[Desk]:
    """A table of messages."""
    database = await Database.connect(str(stage.settings.database_url), size=2)
    yield Desk(database, stage, tenant)
    await database.close()


def by_contract(told: Sequence[Telling]) -> Json:
    """What the contract makes of all that is told."""
    said = [telling.report("SM1") for telling in told]
    return expected(
        (str(report.status), report.occurred_at or HELD, report.error_code, report.error_message)
        for report in said
        if report.status is not None
    )


@pytest.mark.parametrize("provider", TOLD)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_every_order_of_what_a_provider_tells(
    desk: Desk, provider: str, data: st.DataObject
) -> None:
    """Whatever a provider tells, in whatever order and how often, and whether its message was
    known before or not: the row is the one that the contract describes."""
    some = data.draw(st.lists(st.sampled_from(TOLD[provider]), min_size=1, max_size=6))
    other = data.draw(st.permutations([*some, *some[: len(some) // 2]]))
    straight, crooked, late, together = await desk.messages(4)
    for telling in some:
        await desk.record([desk.told(straight, telling)])
    for telling in other:
        await desk.record([desk.told(crooked, telling)])
        await desk.keep(late, telling)
    await desk.record([desk.told(together, telling) for telling in other])
    await desk.take(late)

    rows = await desk.rows([straight, crooked, late, together])
    assert [rows[0]] * 4 == rows
    wanted = by_contract(some)
    assert wanted == {name: rows[0][name] for name in wanted}


@pytest.mark.parametrize("provider", TOLD)
async def test_the_same_report_is_one_event(desk: Desk, provider: str) -> None:
    """What is told again is no second event, and what says something else of the row is one."""
    (message_id,) = await desk.messages(1)
    for telling in [*TOLD[provider], *TOLD[provider]]:
        await desk.record([desk.told(message_id, telling)])
    told = {
        (r.word, r.status, r.occurred_at, r.error_code, r.error_message, str(r.provider))
        for r in (telling.report("SM1") for telling in TOLD[provider])
    }
    assert len(told) == await desk.events(message_id)
