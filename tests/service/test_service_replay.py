"""Replay: what was lost of kept requests is stored, once, at the time when it came."""

# ruff: noqa: S608 (the names are those of this file)

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from channels.model import Channel
from tests.service.losses import ADA, INBOUND, PHONE, STORED, age, forget, report, rows
from tests.service.wires import (
    OURS,
    by_smtp,
    connect,
    counts,
    from_meta,
    from_sendgrid,
    from_twilio,
    inbound_of,
    replay,
    row_of,
    send,
    suppressed,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.losses import Connection

DESK = OURS[Channel.EMAIL]


async def test_a_lost_report(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A report that was lost is applied by the statement that advances every message, at the time
    when it came; twice is once, and the request is not kept twice."""
    sent = await send(ask, "sms", PHONE, body="Hello")
    await report(gateway, sent, "sent")
    await report(gateway, sent, "delivered")
    before = await rows(owner, *STORED, "occurred_at")
    at = datetime.fromisoformat((await row_of(ask, sent))["delivered_at"])
    await forget(owner, "gateway.message_events", "type = 'delivered'")
    await owner.execute("UPDATE messages SET status = 'sent', delivered_at = NULL")
    await age(owner, 2)
    await owner.execute("UPDATE messages SET sent_at = sent_at - interval '3 days'")

    first, lost = await replay(gateway), await row_of(ask, sent)
    after = await rows(owner)
    again = await replay(gateway)

    assert ((1, 1, 0, 0), (0, 2, 0, 0)) == (counts(first), counts(again))
    assert "delivered" == lost["status"]
    delivered = datetime.fromisoformat(lost["delivered_at"])
    assert timedelta(0) <= delivered - (at - timedelta(days=2)) < timedelta(seconds=5)
    assert after == await rows(owner)
    kept = await rows(owner, *STORED, "occurred_at")
    assert before["gateway.message_events"] == kept["gateway.message_events"]


async def test_a_lost_message(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A message that somebody wrote is there again, unread, where it belongs in the history, with
    its files and its STOP; nobody is answered, and what is known is counted unread once."""
    assert "<Response" in (await from_twilio(gateway, "message", INBOUND)).body
    (before,) = await inbound_of(ask)
    await owner.execute("UPDATE gateway.conversations SET unread_count = 0, status = 'closed'")
    assert (0, 2, 0, 0) == counts(await replay(gateway))
    assert 0 == await owner.fetchval("SELECT sum(unread_count) FROM gateway.conversations")
    for table in ("messages", "gateway.suppressions", "gateway.consent_events"):
        await forget(owner, table)
    await age(owner, 3)

    first = await replay(gateway)
    after = await rows(owner)
    again = await replay(gateway)

    assert ((2, 0, 0, 0), (0, 2, 0, 0)) == (counts(first), counts(again))
    assert after == await rows(owner)
    (row,) = await inbound_of(ask)
    same = ("id", "body", "from_address", "attachments", "external_id", "conversation_id")
    assert {name: before[name] for name in same} == {name: row[name] for name in same}
    moved = datetime.fromisoformat(before["created_at"]) - datetime.fromisoformat(row["created_at"])
    assert timedelta(days=3) - timedelta(seconds=5) < moved <= timedelta(days=3)
    assert {("sms", PHONE, "stop")} == await suppressed(ask)
    assert [("open", 1)] == [
        tuple(each)
        for each in await owner.fetch("SELECT status, unread_count FROM gateway.conversations")
    ]
    assert 1 == await gateway.count("gateway.errands")
    assert 0 == await gateway.count("gateway.queue")


async def test_a_batch(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """Of a batch of SendGrid's, what is lost is stored: the events of one message, and a bounce
    with its suppression."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    one, two = [
        await send(ask, "email", to, subject="Bill", body="Hello")
        for to in (ADA, "bob@customer.example")
    ]
    common = {"timestamp": int(time.time()), "sg_message_id": "sg-1.recvd"}
    batch = [
        common
        | {"event": event, "email": to, "message_id": row["id"], "sg_event_id": f"e{n}"}
        | more
        for n, (event, to, row, more) in enumerate(
            [
                ("processed", ADA, one, {}),
                ("delivered", ADA, one, {}),
                ("bounce", "bob@customer.example", two, {"type": "bounce", "reason": "550 no"}),
                ("group_resubscribed_of_tomorrow", ADA, one, {}),
            ]
        )
    ]
    assert (await from_sendgrid(gateway, account, batch)).status < 300
    before = await rows(owner, *STORED, "id")
    for table in ("gateway.suppressions", "gateway.consent_events"):
        await forget(owner, table)
    await forget(owner, "gateway.message_events", "type IN ('delivered', 'bounce')")
    await owner.execute(
        "UPDATE messages SET status = 'pending', delivered_at = NULL, failed_at = NULL,"
        " error_code = NULL, error_message = NULL"
    )

    first = await replay(gateway)
    again = await replay(gateway)

    assert before == await rows(owner, *STORED, "id")
    assert ((3, 2, 0, 0), (0, 5, 0, 0)) == (counts(first), counts(again))


async def test_a_status_of_meta(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """What Meta tells has a time of its own, which counts, however late it is applied; a report
    about a message that is not stored waits for it."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    status = {"id": "wamid.9", "status": "read", "timestamp": "1764000000"}
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(statuses=[status])))
    await forget(owner, "gateway.unmatched_reports")

    assert (0, 0, 1, 0) == counts(await replay(gateway))
    assert 1 == await gateway.count("gateway.unmatched_reports")
    await forget(owner, "gateway.unmatched_reports")
    sent = await send(ask, "sms", PHONE, body="Hello")
    await owner.execute("UPDATE messages SET channel = 'whatsapp', external_id = 'wamid.9'")

    assert (1, 0, 0, 0) == counts(await replay(gateway))
    row = await row_of(ask, sent)
    assert ("read", "2025-11-24T16:00:00Z") == (row["status"], row["read_at"])


async def test_an_account_that_was_missing(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """What one app of Meta's told of a number whose account was not there yet is that account's
    now; of another app's number it is nobody's."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    value = whatsapp_value(whatsapp_text("Hi", wamid="wamid.1", sender=PHONE[1:]))
    value["metadata"]["phone_number_id"] = "222"
    assert 200 == (await from_meta(gateway, account, whatsapp_post(value))).status
    await connect(
        gateway, "meta", Channel.WHATSAPP, "+15551230010", phone_number_id="222", app_secret="other"
    )
    nobody = await replay(gateway)
    await owner.execute("DELETE FROM gateway.senders WHERE address = '+15551230010'")
    await connect(gateway, "meta", Channel.WHATSAPP, "+15551230010", phone_number_id="222")

    first, again = await replay(gateway), await replay(gateway)

    assert [(0, 0, 0, 1), (1, 0, 0, 0), (0, 1, 0, 0)] == [*map(counts, (nobody, first, again))]
    assert ["Hi"] == [row["body"] for row in await inbound_of(ask)]


async def test_a_lost_call(gateway: Gateway, owner: Connection) -> None:
    """A call that came in is there again with its recording, its transcript, and what was told of
    it before it came; once more changes nothing."""
    account = await connect(gateway, "twilio", Channel.CALL)
    known = {"CallSid": "CA" + "5" * 32, "AccountSid": "AC" + "a" * 32}
    from_, to = {"From": PHONE}, {"To": "+15551230008"}
    for event, fields in (
        ("call-status", {"CallStatus": "in-progress", "CallDuration": "31"}),
        ("call", {"Direction": "inbound", "CallStatus": "ringing"} | from_ | to),
        ("transcription", {"TranscriptionSid": "TR1", "TranscriptionStatus": "completed",
                           "TranscriptionText": "Please call me back."}),
        ("recording", {"RecordingSid": "RE1", "RecordingStatus": "completed",
                       "RecordingUrl": "https://api.twilio.com/Recordings/RE1"}),
    ):  # fmt: skip
        await from_twilio(gateway, event, known | fields, account_id=account)
    before = await rows(owner, *STORED, "occurred_at")
    assert (0, 4, 0, 0) == counts(await replay(gateway))
    assert before == await rows(owner, *STORED, "occurred_at")
    await forget(owner, "messages")

    await replay(gateway)

    after = await rows(owner, *STORED, "occurred_at")
    for table in ("messages", "gateway.message_events", "gateway.media"):
        assert before[table] == after[table]
    after = await rows(owner)
    await replay(gateway)
    assert after == await rows(owner)


async def test_a_mail_that_is_read_otherwise_by_now(
    gateway: Gateway, ask: Ask, owner: Connection
) -> None:
    """A mail of which a mended reader reads more than before is no second mail; one that was lost
    is there again, with its file."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    raw = (
        f"From: Ada <{ADA}>\r\nTo: {DESK}\r\nMessage-ID: <m-1@c.example>\r\nMIME-Version: 1.0\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nHello\r\n'
        "--b\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=a.png\r\n\r\n"
        "PNG\r\n--b--\r\n"
    ).encode()
    assert 204 == (await by_smtp(gateway, account, raw)).status
    folder = gateway.settings.gateway_data / "media"
    await owner.execute(
        "UPDATE gateway.webhook_requests SET body = replace("
        "convert_from(body, 'UTF8'), 'Hello', 'Grüße')::text::bytea"
    )

    assert (0, 1, 0, 0) == counts(await replay(gateway))
    await forget(owner, "messages")
    for file in [*folder.rglob("*")]:
        if file.is_file():
            file.unlink()
    assert (1, 0, 0, 0) == counts(await replay(gateway, is_trial=True))
    assert [] == [each for each in folder.rglob("*") if each.is_file()]
    assert (1, 0, 0, 0) == counts(await replay(gateway))
    (row,) = await inbound_of(ask)
    assert ["a.png"] == [each["filename"] for each in row["attachments"]]
    assert 1 == len([each for each in folder.rglob("*") if each.is_file()])


async def test_what_the_envelope_tells(gateway: Gateway, owner: Connection) -> None:
    """The envelope that a mail server hands in beside a mail is kept with it: an empty sender still
    tells an automatic answer."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    raw = f"From: {ADA}\r\nTo: {DESK}\r\nMessage-ID: <a-1@c.example>\r\n\r\nI am away.\r\n".encode()
    await by_smtp(gateway, account, raw, sender="", recipient="desk+tag@clinic.example")
    before = await owner.fetchrow("SELECT metadata, to_address FROM messages")
    await forget(owner, "messages")

    await replay(gateway)
    assert before == await owner.fetchrow("SELECT metadata, to_address FROM messages")


async def test_what_cannot_be_applied(gateway: Gateway, ask: Ask, owner: Connection) -> None:
    """A request is named with its reason that cannot be read, that a rule of another program's
    refuses, whose account cannot be opened, or has a provider that this version lacks, or that we
    cannot handle; the others are applied."""
    meta, smtp, sendgrid, mailgun = [
        await connect(gateway, name, channel, address)
        for name, channel, address in (
            ("meta", Channel.WHATSAPP, None),
            ("smtp", Channel.EMAIL, "a@clinic.example"),
            ("sendgrid", Channel.EMAIL, "b@clinic.example"),
            ("mailgun", Channel.EMAIL, "c@clinic.example"),
        )
    ]
    for n in range(3):
        fields = INBOUND | {"MessageSid": "SM" + str(n) * 32, "Body": f"text {n}"}
        await from_twilio(gateway, "message", fields)
    await from_meta(gateway, meta, whatsapp_post())
    for account, name, headers in (
        (smtp, "smtp", {}),
        (mailgun, "pigeon", {}),
        (sendgrid, "sendgrid", {"content-type": 5}),
    ):
        await owner.execute(
            "INSERT INTO gateway.webhook_requests (organization_id, id, account_id, provider,"
            " event, method, url, headers, body) VALUES ($1, gen_random_uuid(), $2, $3, 'inbound',"
            " 'POST', '', $4, 'x')",
            *(gateway.a.organization_id, account, name, json.dumps(headers)),
        )
    await forget(owner, "messages")
    await owner.execute("ALTER TABLE messages ADD CONSTRAINT no_1 CHECK (body <> 'text 1')")
    await owner.execute("UPDATE gateway.webhook_requests SET body = 'x' WHERE provider = 'meta'")
    for column, value, account in (("credentials", b"?", smtp), ("provider", "pigeon", mailgun)):
        await owner.execute(
            f"UPDATE gateway.provider_accounts SET {column} = $1 WHERE id = $2", value, account
        )

    result = await replay(gateway)
    reasons = {each.account_id: each.reason for each in result.failures}

    assert (7, 5, 5) == (result.requests, result.failed, len(reasons))
    assert "constraint no_1" in reasons[gateway.a.account_id]
    assert "it cannot be read: The body is not JSON." == reasons[meta]
    assert "it cannot be read: this version has no provider pigeon" == reasons[mailgun]
    assert "credentials" in reasons[smtp]
    assert reasons[sendgrid].startswith("the gateway made a mistake (")
    assert {"text 0", "text 2"} == {row["body"] for row in await inbound_of(ask)}
