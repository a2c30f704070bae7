"""Who must not be written to: said by people, by providers, or by hand; and taken back by whom."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channels.model import Channel
from gateway import consenting
from gateway.ids import new_id
from gateway.receive.unmatched import UnmatchedReports
from gateway.store import suppressions
from gateway.store.reports import CONSENT
from gateway.store.suppressions import Statement
from tests.service.wires import (
    SECRET,
    connect,
    from_meta,
    from_sendgrid,
    from_twilio,
    hook,
    row_of,
    send,
    step,
    suppressed,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)
from tests.smtp.values import Server

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "+447700900123"
SMS = {"channel": "sms", "to": ADA, "body": "Hello"}


async def writes(gateway: Gateway, body: str, number: int = 1, **more: str) -> None:
    """Somebody sends us an SMS."""
    fields = {
        "MessageSid": f"SM{number:032x}",
        "AccountSid": "AC" + "a" * 32,
        "From": ADA,
        "To": gateway.a.sender,
        "Body": body,
    }
    assert 200 == (await from_twilio(gateway, "message", fields | more)).status


async def test_stop_and_start(gateway: Gateway, ask: Ask, api: Api) -> None:
    """STOP refuses new messages and fails queued ones; START lifts it; the tenant beside it, and
    other channels, are not touched; HELP and STOP in a sentence say nothing."""
    for number, body in enumerate(("HELP", "please do not STOP"), 50):
        await writes(gateway, body, number)
    assert set() == await suppressed(ask)
    waiting = await send(ask, **SMS)
    await writes(gateway, " Stop. ")
    (row,) = (await ask("GET", "/v1/suppressions")).body["data"]
    assert ("sms", ADA, "stop", "twilio") == (
        row["channel"],
        row["address"],
        row["reason"],
        row["source"],
    )
    assert " Stop. " == row["evidence"]["text"]
    assert f"SM{1:032x}" == row["evidence"]["message"]

    refused = await ask("POST", "/v1/messages", SMS)
    assert (422, {"to"}) == (refused.status, set(refused.fields()))
    assert "STOP" in refused.fields()["to"]
    lead = (
        await ask("POST", "/v1/leads", {"first_name": "A", "last_name": "L", "phone": ADA})
    ).body
    by_lead = {"channel": "sms", "lead_id": lead["id"], "body": "x"}
    assert {"lead_id"} == set((await ask("POST", "/v1/messages", by_lead)).fields())
    checked = (await ask("POST", "/v1/messages/check", SMS)).body
    assert (False, ["to"]) == (checked["ok"], [e["field"] for e in checked["errors"]])
    others = await ask("POST", "/v1/messages", SMS, key=gateway.b.key)
    assert 202 == others.status

    await step(api.worker(gateway))
    failed = await row_of(ask, waiting)
    assert ("failed", "suppressed") == (failed["status"], failed["error_code"])
    assert "STOP" in failed["error_message"]
    assert 1 == len(api.asked)  # the other tenant's
    assert [] == (await ask("GET", "/v1/suppressions", key=gateway.b.key)).body["data"]

    await writes(gateway, "START", 2)
    assert set() == await suppressed(ask)
    assert 202 == (await ask("POST", "/v1/messages", SMS)).status


async def test_a_number_in_its_other_form(gateway: Gateway, ask: Ask, api: Api) -> None:
    """STOP holds for a number with and without the digit that comes and goes in Brazil, Mexico and
    Argentina: it is one telephone, whichever form its SMS come from; and so does START."""
    new, old = "+5511987654321", "+551187654321"
    waiting = await send(ask, "sms", new, body="Hello")
    await writes(gateway, "STOP", 1, From=old)

    for to in (new, old):
        refused = await ask("POST", "/v1/messages", SMS | {"to": to})
        assert (422, {"to"}) == (refused.status, set(refused.fields()))
    await step(api.worker(gateway))
    assert "suppressed" == (await row_of(ask, waiting))["error_code"]
    assert [] == api.asked

    await writes(gateway, "START", 2, From=new)
    assert set() == await suppressed(ask)
    await send(ask, "sms", old, body="Hello")


async def test_again_is_once(gateway: Gateway, ask: Ask) -> None:
    """The same STOP again, also after START, changes nothing: it was said before."""
    await writes(gateway, "STOP", 1)
    await writes(gateway, "STOP", 1)
    await writes(gateway, "START", 2)
    await writes(gateway, "STOP", 1)
    assert set() == await suppressed(ask)
    assert 2 == await gateway.count("gateway.consent_events")


@pytest.mark.parametrize("how", ["answer", "report"])
async def test_opted_out_at_the_provider(gateway: Gateway, ask: Ask, api: Api, how: str) -> None:
    """What Twilio refuses with 21610 is on our list from then on, with the message as evidence."""
    error = {"code": 21610, "message": "Attempt to send to unsubscribed recipient"}
    sid = "SM" + "3" * 32
    api.says(*((400, error) if how == "answer" else (201, {"sid": sid})))
    sent = await send(ask, **SMS)
    await step(api.worker(gateway))
    if how == "report":
        fields = {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "To": ADA,
                  "MessageStatus": "undelivered", "ErrorCode": "21610"}  # fmt: skip
        await from_twilio(gateway, "status", fields)
    row = await row_of(ask, sent)

    assert ("failed", "21610") == (row["status"], row["error_code"])
    assert {("sms", ADA, "stop")} == await suppressed(ask)
    assert {"to"} == set((await ask("POST", "/v1/messages", SMS)).fields())


NAMELESS = {"MessageSid": "SM" + "4" * 32, "AccountSid": "AC" + "a" * 32,
            "MessageStatus": "undelivered", "ErrorCode": "21610"}  # fmt: skip


@pytest.mark.parametrize("is_missed", [True, False])
async def test_opted_out_before_the_answer(
    gateway: Gateway, ask: Ask, api: Api, *, is_missed: bool
) -> None:
    """A report that names nobody, and comes before the answer to the send does, stops whoever the
    message turns out to have gone to, once; also where a worker only finds it later."""
    api.says(201, {"sid": NAMELESS["MessageSid"]})
    if not is_missed:
        await from_twilio(gateway, "status", NAMELESS)
        assert set() == await suppressed(ask)
    sent = await send(ask, **SMS)
    if is_missed:  # neither transaction saw the other
        await from_twilio(gateway, "status", NAMELESS)
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE messages SET external_id = $1 WHERE id = $2::uuid",
                NAMELESS["MessageSid"],
                UUID(sent["id"]),
            )
        await UnmatchedReports(gateway.database).apply()
    else:
        await step(api.worker(gateway))

    assert "failed" == (await row_of(ask, sent))["status"]
    assert {("sms", ADA, "stop")} == await suppressed(ask)
    await from_twilio(gateway, "status", NAMELESS)
    assert 1 == await gateway.count("gateway.consent_events")
    failed = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert "consent" not in str(failed)


@pytest.mark.parametrize("is_missed", [True, False])
async def test_a_parameter_that_is_called_as_our_own_note(
    gateway: Gateway, ask: Ask, api: Api, *, is_missed: bool
) -> None:
    """What a provider tells under the name of our note is no note, and keeps no report back."""
    odd = {
        "MessageSid": "SM" + "4" * 32,
        "AccountSid": "AC" + "a" * 32,
        "MessageStatus": "delivered",
        CONSENT: "x",
    }
    api.says(201, {"sid": odd["MessageSid"]})
    if not is_missed:
        await from_twilio(gateway, "status", odd)
    sent = await send(ask, **SMS)
    if is_missed:
        await from_twilio(gateway, "status", odd)
        async with gateway.database.as_service() as db:
            # as a version before this one has kept it
            await db.execute(
                "UPDATE gateway.unmatched_reports"
                " SET detail = jsonb_set(detail, ARRAY[$1::text], '[\"x\"]')",
                CONSENT,
            )
            await db.execute("UPDATE messages SET external_id = $1", odd["MessageSid"])
        await UnmatchedReports(gateway.database).apply()
    else:
        await step(api.worker(gateway))

    assert "delivered" == (await row_of(ask, sent))["status"]


async def test_what_cannot_be_stored_of_one_report(
    gateway: Gateway, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kept report whose opt-out is refused, by a rule of another program's, say, stays kept, and
    holds up no other."""
    sids = (NAMELESS["MessageSid"], "SM" + "5" * 32)
    for sid in sids:
        sent = await send(ask, **SMS)
        await from_twilio(
            gateway,
            "status",
            NAMELESS
            if sid == sids[0]
            else {"MessageSid": sid, "AccountSid": "AC" + "a" * 32, "MessageStatus": "delivered"},
        )
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE messages SET external_id = $1 WHERE id = $2::uuid", sid, UUID(sent["id"])
            )

    async def refuse(*_: object, **__: object) -> int:
        raise ValueError("refused")

    monkeypatch.setattr(consenting, "store", refuse)
    await UnmatchedReports(gateway.database).apply()
    assert "delivered" == (await row_of(ask, sent))["status"]
    assert 1 == await gateway.count("gateway.unmatched_reports")

    monkeypatch.undo()
    await UnmatchedReports(gateway.database).apply()
    assert {("sms", ADA, "stop")} == await suppressed(ask)


async def test_wants_it_again_before_the_answer(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A START that comes after such a report outlasts it."""
    api.says(201, {"sid": NAMELESS["MessageSid"]})
    await from_twilio(gateway, "status", NAMELESS)
    await writes(gateway, "START")
    await send(ask, **SMS)
    await step(api.worker(gateway))

    assert set() == await suppressed(ask)
    assert 2 == await gateway.count("gateway.consent_events")


async def test_opted_out_at_meta_before_the_answer(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Meta's report may come before its answer, too, and say neither who nor which message."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    await meta_says(gateway, account, "Hello", 1, time.time() - 100)
    stopped = {"id": "wamid.7", "status": "failed", "timestamp": str(int(time.time()) - 10),
               "errors": [{"code": 131050, "title": "stopped"}]}  # fmt: skip
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(statuses=[stopped])))
    assert 1 == await gateway.count("gateway.unmatched_reports")
    assert set() == await suppressed(ask)
    api.says(200, {"messages": [{"id": "wamid.7"}]})
    await send(ask, "whatsapp", ADA, body="Hello")
    await step(api.worker(gateway))

    assert {("whatsapp", ADA, "unsubscribe")} == await suppressed(ask)


async def test_no_such_mailbox_while_sending(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What a mail server says of a mailbox while it is written to holds as if a bounce said it."""
    mail = {"channel": "email", "to": MAIL, "subject": "Hello", "body": "Hello"}
    rcpt = "550 5.1.1 no such user"
    async with Server({"RCPT": rcpt}, extensions=("AUTH PLAIN",)) as server:
        await connect(gateway, "smtp", Channel.EMAIL, port=str(server.port))
        sent = await send(ask, **mail)
        await step(api.worker(gateway))
    row = await row_of(ask, sent)

    assert ("failed", "5.1.1") == (row["status"], row["error_code"])
    assert {("email", MAIL, "hard_bounce")} == await suppressed(ask)
    (found,) = (await ask("GET", "/v1/suppressions")).body["data"]
    assert ("smtp", "5.1.1") == (found["source"], found["evidence"]["code"])
    assert {"to"} == set((await ask("POST", "/v1/messages", mail)).fields())


async def test_inactive_at_postmark(gateway: Gateway, ask: Ask, api: Api) -> None:
    """To whom Postmark sends no more is on our list, until it is reactivated there."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    mail = {"channel": "email", "to": MAIL, "subject": "Hello", "body": "Hello"}
    api.says(422, {"ErrorCode": 406, "Message": "You tried to send to an inactive recipient."})
    sent = await send(ask, **mail)
    await step(api.worker(gateway))
    row = await row_of(ask, sent)

    assert ("failed", "406") == (row["status"], row["error_code"])
    assert {("email", MAIL, "hard_bounce")} == await suppressed(ask)
    now = {"ChangedAt": datetime.now(UTC).isoformat()}
    body = json.dumps(RECORDS["reactivated"] | now).encode()
    await hook(gateway, "postmark", account, "events", f"?secret={SECRET}", data=body)
    assert set() == await suppressed(ask)


@pytest.mark.parametrize(
    ("reason", "key", "member", "owner"),
    [
        ("manual", 204, 204, 204),
        ("hard_bounce", 204, 204, 204),
        ("stop", 403, 403, 204),
        ("complaint", 403, 403, 204),
        ("unsubscribe", 403, 403, 204),
    ],
)
async def test_who_may_lift(
    gateway: Gateway, ask: Ask, reason: str, key: int, member: int, owner: int
) -> None:
    """What was put there by hand anybody takes back; what people said themselves an owner alone,
    never another tenant's; who it was is written down."""
    body = {"channel": "sms", "address": ADA, "reason": reason, "note": "by phone"}
    callers = ((gateway.a.key, key), (gateway.a.member, member), (gateway.a.owner, owner))
    for caller, wanted in callers:
        made = await ask("POST", "/v1/suppressions", body)
        assert 201 == made.status, made.body
        path = f"/v1/suppressions/{made.body['id']}"
        assert 404 == (await ask("DELETE", path, key=gateway.b.owner)).status
        assert 404 == (await ask("GET", path, key=gateway.b.owner)).status
        assert wanted == (await ask("DELETE", path, key=caller)).status
    assert set() == await suppressed(ask)
    assert 404 == (await ask("DELETE", path, key=gateway.a.owner)).status
    async with gateway.database.as_service() as db:
        said = await db.fetchval(
            "SELECT detail FROM gateway.consent_events WHERE is_lifted "
            "ORDER BY occurred_at DESC LIMIT 1"
        )
        trail = await db.fetch(
            "SELECT user_id, old_data FROM audit_logs WHERE table_name = 'suppressions' "
            "AND action = 'DELETE' ORDER BY created_at DESC LIMIT 1"
        )
        auth_id = await db.fetchval(
            "SELECT auth_id FROM auth_users WHERE organization_id = $1 AND role = 'owner'",
            gateway.a.organization_id,
        )
    assert {"staff": str(auth_id)} == said
    assert [(auth_id, ADA)] == [(row["user_id"], row["old_data"]["address"]) for row in trail]


async def test_by_hand(ask: Ask) -> None:
    """An address is put on the list in any of its forms, once; what is none is refused."""
    mail = {"channel": "email", "address": "Ada@Customer.example"}
    first = await ask("POST", "/v1/suppressions", mail | {"note": "by phone"})
    again = await ask("POST", "/v1/suppressions", mail | {"address": "ADA@customer.example"})
    assert (201, first.body["id"]) == (again.status, again.body["id"])
    assert "by phone" == first.body["evidence"]["note"]
    assert {("email", "ada@customer.example", "manual")} == await suppressed(ask)
    for body, field in (
        ({"channel": "email", "address": "nobody"}, "address"),
        ({"channel": "fax", "address": ADA}, "channel"),
        ({"channel": "sms", "address": ADA, "reason": "dislike"}, "reason"),
    ):
        refused = await ask("POST", "/v1/suppressions", body)
        assert (422, {field}) == (refused.status, set(refused.fields()))
    found = await ask("GET", "/v1/suppressions?address=ADA@customer.example")
    assert 1 == len(found.body["data"])


async def meta_says(gateway: Gateway, account: UUID, word: str, number: int, at: float) -> None:
    """STOP or START on WhatsApp, said at a time."""
    wamid = f"wamid.{number}"
    text = whatsapp_text(word, wamid=wamid, sender=ADA[1:], at=at)
    answer = await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    assert 200 == answer.status


@pytest.mark.parametrize("last", ["STOP", "START"])
async def test_all_at_once(gateway: Gateway, ask: Ask, last: str) -> None:
    """Twenty STOPs and STARTs at once end as the latest of them says, whoever comes first."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    now = time.time() - 100
    words = [random.choice(("STOP", "START")) for _ in range(19)]  # noqa: S311
    said = [*enumerate(words), (19, last)]
    random.shuffle(said)
    await asyncio.gather(
        *(meta_says(gateway, account, word, number, now + number) for number, word in said)
    )
    wanted: set[Any] = {("whatsapp", ADA, "stop")} if last == "STOP" else set()
    assert wanted == await suppressed(ask)
    assert 20 == await gateway.count("gateway.consent_events")


def complaints(numbers: list[int], at: datetime, *, is_lifted: bool = False) -> list[Statement]:
    """What is said of many addresses, or taken back, in this order."""
    return [
        Statement(
            id=new_id(),
            channel=Channel.EMAIL,
            address=f"ada{number}@customer.example",
            reason="complaint",
            is_lifted=is_lifted,
            source="sendgrid",
            occurred_at=at,
        )
        for number in numbers
    ]


async def test_many_addresses_take_few_locks(gateway: Gateway) -> None:
    """However many addresses are spoken of at once, PostgreSQL's one table of locks has room for
    everybody else's."""
    said = complaints(list(range(3000)), datetime.now(UTC))
    async with gateway.database.as_service() as db:
        await suppressions.change(db, gateway.a.organization_id, said)
        taken = await db.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        )
    assert 3000 == await gateway.count("gateway.suppressions")
    assert 0 < taken <= 64  # what PostgreSQL has for each connection


@pytest.mark.parametrize("is_lifted", [True, False])
async def test_many_addresses_in_any_order(gateway: Gateway, *, is_lifted: bool) -> None:
    """Ten who speak of the same addresses at once, each in an order of its own, do not wait in a
    circle, and of each address the latest word counts."""
    start = datetime.now(UTC) - timedelta(minutes=5)

    async def say(turn: int) -> None:
        numbers = random.sample(range(100), 100)
        said = complaints(
            numbers, start + timedelta(seconds=turn), is_lifted=(turn % 2 == 1) is is_lifted
        )
        async with gateway.database.as_service() as db:
            await suppressions.change(db, gateway.a.organization_id, said)

    await asyncio.gather(*map(say, random.sample(range(10), 10)))
    assert 1000 == await gateway.count("gateway.consent_events")
    assert (0 if is_lifted else 100) == await gateway.count("gateway.suppressions")


async def test_one_reason_does_not_lift_another(gateway: Gateway, ask: Ask) -> None:
    """START takes back a STOP, not what was put on the list for another reason."""
    await ask("POST", "/v1/suppressions", {"channel": "sms", "address": ADA})
    await writes(gateway, "STOP", 1)
    await writes(gateway, "START", 2)
    assert {("sms", ADA, "manual")} == await suppressed(ask)


async def test_national_numbers(ask: Ask) -> None:
    """A number may be given as it is written in the organization's country."""
    body = {"channel": "sms", "address": "07700 900123"}
    made = await ask("POST", "/v1/suppressions", body)
    found = await ask("GET", "/v1/suppressions?address=07700%20900123")

    assert (201, "+447700900123") == (made.status, made.body["address"])
    assert [made.body] == found.body["data"]


MAIL = "ada@customer.example"
RECORDS: dict[str, dict[str, Any]] = {
    "bounce": {"RecordType": "Bounce", "Type": "HardBounce", "ID": 1, "Inactive": True,
               "MessageID": "m-1", "BouncedAt": "2026-01-01T10:00:00Z", "Email": MAIL},
    "complaint": {"RecordType": "SpamComplaint", "ID": 2, "MessageID": "m-1", "Email": MAIL,
                  "BouncedAt": "2026-01-01T11:00:00Z"},
    "by staff": {"RecordType": "SubscriptionChange", "MessageID": None, "Origin": "Customer",
                 "SuppressSending": True, "SuppressionReason": "ManualSuppression",
                 "ChangedAt": "2026-01-01T12:00:00Z", "Recipient": MAIL},
    "reactivated": {"RecordType": "SubscriptionChange", "MessageID": None, "Origin": "Customer",
                    "SuppressSending": False, "SuppressionReason": None, "Metadata": {},
                    "ChangedAt": "2026-01-02T10:00:00Z", "Recipient": MAIL},
    "again": {"RecordType": "Bounce", "Type": "HardBounce", "ID": 3, "Inactive": True,
              "MessageID": "m-2", "BouncedAt": "2026-01-03T10:00:00Z", "Email": MAIL},
}  # fmt: skip


async def postmark_says(gateway: Gateway, account: UUID, *names: str) -> None:
    """Records of Postmark about one address, one after the other."""
    for name in names:
        body = json.dumps(RECORDS[name]).encode()
        answer = await hook(gateway, "postmark", account, "events", f"?secret={SECRET}", data=body)
        assert 200 == answer.status


@pytest.mark.parametrize(
    "order", [each for each in itertools.permutations(RECORDS) if each[0] != "again"][::19]
)
async def test_reactivated_at_postmark(gateway: Gateway, ask: Ask, order: tuple[str, ...]) -> None:
    """What Postmark takes off its own list is off ours, in whatever order it tells; what it says
    later holds."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    await postmark_says(gateway, account, *order, *order)
    assert {("email", MAIL, "hard_bounce")} == await suppressed(ask)
    assert 4 + 4 == await gateway.count("gateway.consent_events")


@pytest.mark.parametrize("is_late", [True, False])
async def test_what_others_said_outlasts_a_reactivation(
    gateway: Gateway, ask: Ask, *, is_late: bool
) -> None:
    """Postmark takes back its own words, not another provider's complaint, the recipient's
    unsubscription, or what staff put on our list."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    at = datetime(2026, 1, 1, tzinfo=UTC)
    said = [
        Statement(id=new_id(), channel=Channel.EMAIL, address=MAIL, reason=reason,
                  is_lifted=False, source=source, occurred_at=at)
        for reason, source in
        [("complaint", "sendgrid"), ("unsubscribe", "one-click"), ("manual", "api")]
    ]  # fmt: skip
    if is_late:
        await postmark_says(gateway, account, "bounce", "complaint", "by staff", "reactivated")
    async with gateway.database.as_service() as db:
        await suppressions.change(db, gateway.a.organization_id, said)
    if not is_late:
        await postmark_says(gateway, account, "bounce", "complaint", "by staff", "reactivated")
    outlast = {("email", MAIL, each.reason) for each in said}
    assert outlast == await suppressed(ask)


SAID = {
    "group 5": {"event": "group_unsubscribe", "asm_group_id": 5},
    "group 6": {"event": "group_unsubscribe", "asm_group_id": 6},
    # with an argument of its sender's own that is called as our note of a group is
    "all": {"event": "unsubscribe", "asm_group_id": 5, "of_group": "5"},
    "group 5 again": {"event": "group_resubscribe", "asm_group_id": 5},
}


async def sendgrid_says(gateway: Gateway, account: UUID, *names: str) -> None:
    """Events of SendGrid about one address, one after the other; each has the same time always."""
    for name in names:
        at = 1767261600 + list(SAID).index(name)
        item = SAID[name] | {"email": MAIL, "timestamp": at}
        assert 200 == (await from_sendgrid(gateway, account, [item])).status


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize(
    ("said", "is_left"),
    [
        (["group 5"], False),
        (["group 5", "group 6"], True),
        (["all"], True),
        (["group 5", "all"], True),
    ],
)
async def test_resubscribed_to_a_group(
    gateway: Gateway, ask: Ask, said: list[str], *, is_left: bool, is_late: bool
) -> None:
    """Who wants the mails of one group of SendGrid's again takes back what they said of that group,
    whichever comes first, and nothing else."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    order = ["group 5 again", *said] if is_late else [*said, "group 5 again"]
    await sendgrid_says(gateway, account, *order)
    assert ({("email", MAIL, "unsubscribe")} if is_left else set()) == await suppressed(ask)


@pytest.mark.parametrize("source", ["one-click", "api"])
async def test_what_others_said_outlasts_a_resubscription(
    gateway: Gateway, ask: Ask, source: str
) -> None:
    """Our own one-click unsubscription, and what staff put on our list, is no group's."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    at = datetime(2025, 1, 1, tzinfo=UTC)
    said = Statement(id=new_id(), channel=Channel.EMAIL, address=MAIL, reason="unsubscribe",
                     is_lifted=False, source=source, occurred_at=at)  # fmt: skip
    async with gateway.database.as_service() as db:
        await suppressions.change(db, gateway.a.organization_id, [said])
    await sendgrid_says(gateway, account, "group 5", "group 5 again")
    assert {("email", MAIL, "unsubscribe")} == await suppressed(ask)
