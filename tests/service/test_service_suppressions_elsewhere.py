"""Who must not be written to as providers know it: it counts until they take it back."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channels.model import Channel
from gateway.ids import new_id
from gateway.store import suppressions
from gateway.store.suppressions import Statement
from tests.resend.values import signed
from tests.service.opting_out import ADA, MAIL, SMS
from tests.service.wires import (
    SECRET,
    connect,
    from_sendgrid,
    from_twilio,
    hook,
    row_of,
    send,
    step,
    suppressed,
)
from tests.smtp.values import Server

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

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


async def postmark_says(gateway: Gateway, account: UUID, *names: str, **more: Any) -> None:
    """Records of Postmark about one address, one after the other."""
    for name in names:
        body = json.dumps(RECORDS[name] | more).encode()
        answer = await hook(gateway, "postmark", account, "events", f"?secret={SECRET}", data=body)
        assert 200 == answer.status


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
    "order", [each for each in itertools.permutations(RECORDS) if each[0] != "again"][::19]
)
async def test_reactivated_at_postmark(gateway: Gateway, ask: Ask, order: tuple[str, ...]) -> None:
    """What Postmark takes off its own list is off ours, in whatever order it tells; what it says
    later holds."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    await postmark_says(gateway, account, *order, *order)
    assert {("email", MAIL, "hard_bounce")} == await suppressed(ask)
    # Each lift is one for what was said before streams and accounts were told apart, too.
    assert 4 + 2 * 4 == await gateway.count("gateway.consent_events")


@pytest.mark.parametrize("elsewhere", ["stream", "account"])
async def test_reactivated_in_one_list_of_postmarks(
    gateway: Gateway, ask: Ask, elsewhere: str
) -> None:
    """Each stream of each server has a list of its own: what is taken off one stays on others."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    other, stream = account, "outbound"
    if elsewhere == "stream":
        stream = "broadcast"
    else:
        other = await connect(gateway, "postmark", Channel.EMAIL, "news@clinic.example")
    said = ("bounce", "complaint", "by staff")
    await postmark_says(gateway, account, *said, MessageStream="outbound")
    before = await suppressed(ask)
    assert 3 == len(before)
    await postmark_says(gateway, other, "reactivated", MessageStream=stream)
    assert before == await suppressed(ask)
    await postmark_says(gateway, other, *said, MessageStream=stream)
    await postmark_says(gateway, account, "reactivated", MessageStream="outbound")
    assert set() == await suppressed(ask)


async def test_inactive_in_one_stream(gateway: Gateway, ask: Ask, api: Api) -> None:
    """To whom Postmark sends no more in one stream is on our list until reactivated in that."""
    account = await connect(gateway, "postmark", Channel.EMAIL, message_stream="broadcast")
    api.says(422, {"ErrorCode": 406, "Message": "You tried to send to an inactive recipient."})
    await send(ask, channel="email", to=MAIL, subject="Hello", body="Hello")
    await step(api.worker(gateway))
    listed = {("email", MAIL, "hard_bounce")}
    assert listed == await suppressed(ask)
    now = {"ChangedAt": datetime.now(UTC).isoformat()}
    await postmark_says(gateway, account, "reactivated", MessageStream="outbound", **now)
    assert listed == await suppressed(ask)
    await postmark_says(gateway, account, "reactivated", MessageStream="broadcast", **now)
    assert set() == await suppressed(ask)


async def resend_says(gateway: Gateway, account: UUID, name: str, at: str, **data: Any) -> None:
    """An event of Resend about one address."""
    told = {"type": name, "created_at": at, "data": {"email": MAIL, **data}}
    request = signed(json.dumps(told).encode(), at=datetime.now(UTC), key=b"secret" * 4)
    headers = dict(request.headers)
    answer = await hook(gateway, "resend", account, "events", data=request.body, headers=headers)
    assert 200 == answer.status


async def test_taken_off_one_list_of_resends(gateway: Gateway, ask: Ask) -> None:
    """Each account at Resend has a list of its own: what is taken off one stays on the other."""
    account = await connect(gateway, "resend", Channel.EMAIL)
    other = await connect(gateway, "resend", Channel.EMAIL, "news@clinic.example")
    await resend_says(gateway, account, "suppression.added", "2026-01-01T10:00:00Z",
                      origin="complaint")  # fmt: skip
    await resend_says(gateway, other, "suppression.removed", "2026-01-02T10:00:00Z")
    assert {("email", MAIL, "complaint")} == await suppressed(ask)
    await resend_says(gateway, account, "suppression.removed", "2026-01-02T10:00:00Z")
    assert set() == await suppressed(ask)


@pytest.mark.parametrize("is_late", [True, False])
@pytest.mark.parametrize("source", ["postmark", "resend"])
async def test_what_was_said_before_lists_were_told_apart(
    gateway: Gateway, ask: Ask, source: str, *, is_late: bool
) -> None:
    """A statement of a former version says of no list, so any of its provider's lifts it."""

    async def taken_back() -> None:
        account = await connect(gateway, source, Channel.EMAIL)
        if source == "postmark":
            await postmark_says(gateway, account, "reactivated", MessageStream="broadcast")
        else:
            await resend_says(gateway, account, "suppression.removed", "2026-01-02T10:00:00Z")

    said = Statement(id=new_id(), channel=Channel.EMAIL, address=MAIL, reason="complaint",
                     is_lifted=False, source=source,
                     occurred_at=datetime(2026, 1, 1, tzinfo=UTC))  # fmt: skip
    if is_late:
        await taken_back()
    async with gateway.database.as_service() as db:
        await suppressions.change(db, gateway.a.organization_id, [said])
    if not is_late:
        assert {("email", MAIL, "complaint")} == await suppressed(ask)
        await taken_back()
    assert set() == await suppressed(ask)


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
