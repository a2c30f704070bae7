"""What mail that comes in answers, by our token or by reference and sender; and what it reports."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest

from channels.model import Channel
from gateway import addresses
from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from tests.service.wires import (
    OURS,
    SECRET,
    by_smtp,
    connect,
    hook,
    inbound_of,
    row_of,
    send,
    step,
    suppressed,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "ada@customer.example"
DESK = OURS[Channel.EMAIL]
DSN = (
    f"Reporting-MTA: dns; mx.example\r\n\r\nFinal-Recipient: rfc822; {ADA}\r\n"
    "Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user"
)
ARF = f"Feedback-Type: abuse\r\nUser-Agent: x/1\r\nVersion: 1\r\nOriginal-Rcpt-To: {ADA}"


async def set_reply_domain(gateway: Gateway, domain: object = "in.clinic.example") -> None:
    """Answers come to addresses of a domain of their own."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE organizations SET settings = settings || $2::jsonb WHERE id = $1",
            gateway.a.organization_id,
            json.dumps({"email": {"reply_domain": domain}}),
        )


@pytest.mark.parametrize(
    ("domain", "meant"),
    [
        (" in.clinic.example\n", "in.clinic.example"),
        ("klinik-münchen.example", "xn--klinik-mnchen-3ob.example"),
        ("@in.clinic.example", None),
        ("in.clinic.example\r\nBcc: eve@evil.example", None),
        ("in.clinic.example>, <eve@evil.example", None),
        ("x" * 300 + ".example", None),
        (["in.clinic.example"], None),
    ],
)
async def test_a_reply_domain_as_somebody_typed_it(
    gateway: Gateway, ask: Ask, api: Api, domain: object, meant: str | None
) -> None:
    """Whatever stands in the settings for the domain, mails leave: without it where it is none."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await set_reply_domain(gateway, domain)
    await send(ask, "email", ADA, subject="Visit", body="When?")
    await step(api.worker(gateway))
    told = api.last.get("reply_to")
    assert meant == (told and told["email"].partition("@")[2])


async def test_reply_token(gateway: Gateway, ask: Ask, api: Api) -> None:
    """An answer to the reply address is matched from wherever it is written, a forged one not;
    and the next mail goes on with the thread."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    account_id = await connect(gateway, "smtp", Channel.EMAIL, "smtp@clinic.example")
    await set_reply_domain(gateway)
    lead = (
        await ask("POST", "/v1/leads", {"first_name": "A", "last_name": "L", "email": ADA})
    ).body
    said = {"subject": "Visit", "body": "When?", "from": DESK}
    sent = await send(ask, "email", ADA, **said)
    await step(api.worker(gateway))
    token = api.last["reply_to"]["email"]
    assert token.endswith("@in.clinic.example")

    def answer(to: str, number: int, sender: str = "ada@home.example") -> bytes:
        head = [f"From: {sender}", f"To: {to}", "Subject: Re: Visit", f"Message-ID: <r{number}@h>"]
        return "\r\n".join([*head, "", "Tomorrow", ""]).encode()

    letter, local = token[2:44], token.partition("@")[0]
    forged = "r-" + ("a" if letter[0] != "a" else "b") + token[3:]
    await by_smtp(gateway, account_id, answer(token.upper(), 1))
    await by_smtp(gateway, account_id, answer(forged, 2, "eve@evil.example"))
    await by_smtp(gateway, account_id, answer(f"{local[:-1]}@in.clinic.example", 3))
    short, wrong, right = await inbound_of(ask)

    assert (sent["id"], lead["id"]) == (right["metadata"].get("reply_to"), right["lead_id"])
    assert (None, None) == (wrong["metadata"].get("reply_to"), wrong["lead_id"])
    assert (None, None) == (short["metadata"].get("reply_to"), short["lead_id"])

    await by_smtp(gateway, account_id, answer(token, 4, ADA))
    await send(ask, "email", ADA, **said)
    await step(api.worker(gateway))
    assert "<r4@h>" == api.last["headers"]["In-Reply-To"]


async def test_reference_and_sender(gateway: Gateway, ask: Ask) -> None:
    """A reference alone matches nothing: whoever was written to must be the one who answers."""
    account_id = await connect(gateway, "smtp", Channel.EMAIL)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")

    def answer(sender: str, number: int) -> bytes:
        head = [
            f"From: {sender}",
            f"To: {DESK}",
            "Subject: Re: Visit",
            f"Message-ID: <r{number}@h>",
            f"In-Reply-To: <{sent['id']}@clinic.example>",
        ]
        return "\r\n".join([*head, "", "Tomorrow", ""]).encode()

    await by_smtp(gateway, account_id, answer(ADA.upper(), 1))
    await by_smtp(gateway, account_id, answer("eve@evil.example", 2))
    stranger, own = await inbound_of(ask)

    assert sent["id"] == own["metadata"].get("reply_to")
    assert "reply_to" not in stranger["metadata"]


def report(kind: str, body: str, original: str) -> bytes:
    """A DSN or an ARF about one of our mails."""
    name = "delivery-status" if kind == "delivery-status" else "feedback-report"
    return "\r\n".join(
        [
            "From: MAILER-DAEMON@mx.example",
            f"To: {DESK}",
            "Subject: Report",
            f"Message-ID: <{kind}@mx.example>",
            f'Content-Type: multipart/report; report-type={name}; boundary="b"',
            "",
            "--b",
            "Content-Type: text/plain",
            "",
            "It is so.",
            "--b",
            f"Content-Type: message/{name}",
            "",
            body,
            "--b",
            "Content-Type: text/rfc822-headers",
            "",
            f"Message-ID: <{original}>",
            f"To: {ADA}",
            "--b--",
            "",
        ]
    ).encode()


@pytest.mark.parametrize(
    ("kind", "body", "status", "reason"),
    [
        ("delivery-status", DSN, "failed", "hard_bounce"),
        ("feedback-report", ARF, "pending", "complaint"),
    ],
)
async def test_report_by_mail(
    gateway: Gateway, ask: Ask, kind: str, body: str, status: str, reason: str
) -> None:
    """A bounce that comes as a mail makes the message failed, a complaint suppresses; neither is
    a message, and about an unknown message they are nothing."""
    account_id = await connect(gateway, "smtp", Channel.EMAIL)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    strange = "01a20aed-921f-7942-839f-8c58e20076ec@clinic.example"
    for original in (strange, f"{sent['id']}@clinic.example", f"{sent['id']}@clinic.example"):
        raw = report(kind, body, original)
        assert 204 == (await by_smtp(gateway, account_id, raw, sender="")).status
    row = await row_of(ask, sent)

    assert status == row["status"]
    assert [] == await inbound_of(ask)
    assert {("email", ADA, reason)} == await suppressed(ask)
    assert 0 == len((await ask("GET", "/v1/suppressions", key=gateway.b.key)).body["data"])


async def test_a_contact_with_umlauts(gateway: Gateway, ask: Ask) -> None:
    """A domain is one whether a contact's is noted as people write it or as DNS has it: both ways
    of writing to it, and what comes from there, belong to that contact."""
    account_id = await connect(gateway, "smtp", Channel.EMAIL)
    written, in_dns = "Ada@Bücher.example", "ada@xn--bcher-kva.example"
    for noted in (written, in_dns.replace("bcher-kva", "strae-oqa")):
        lead = (await ask("POST", "/v1/leads", {"email": noted})).body["id"]
        for to in (noted, addresses.sought(noted, None), noted.replace("xn--strae-oqa", "straße")):
            sent = await send(ask, "email", to, subject="Visit", body="When?")
            assert lead == (await row_of(ask, sent))["lead_id"], to
    raw = f"From: {in_dns}\r\nTo: {DESK}\r\nMessage-ID: <1@x>\r\n\r\nTomorrow\r\n".encode()
    await by_smtp(gateway, account_id, raw, sender=in_dns)
    (answer,) = await inbound_of(ask)
    found = await ask("GET", f"/v1/messages?address={quote(written)}")

    assert 4 == len(found.body["data"])
    assert {answer["lead_id"]} == {each["lead_id"] for each in found.body["data"]} != {lead}


async def test_a_mail_that_names_an_sms(gateway: Gateway, ask: Ask) -> None:
    """A bounce that comes as a mail is about a mail: anybody may write one that names another
    message, and that changes nothing, now or later."""
    account_id = await connect(gateway, "smtp", Channel.EMAIL)
    sent = await send(ask, "sms", "+447700900123", body="When?")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'SM1@clinic.example'")
    for original in (f"{sent['id']}@clinic.example", "SM1@clinic.example"):
        raw = report("delivery-status", DSN, original)
        assert 204 == (await by_smtp(gateway, account_id, raw, sender="")).status
    await UnmatchedReports(gateway.database, Metrics()).apply()

    assert "pending" == (await row_of(ask, sent))["status"]
    assert set() == await suppressed(ask)


async def by_postmark(gateway: Gateway, account_id: UUID, parts: dict[str, str]) -> None:
    """A report with these parts, as Postmark brings it."""
    payload = {
        "From": "MAILER-DAEMON@mx.example",
        "OriginalRecipient": DESK,
        "Subject": "Undelivered Mail",
        "TextBody": "It is so.",
        "Headers": [{"Name": "Message-ID", "Value": "<n@mx.example>"}],
        "Attachments": [
            {"ContentType": kind, "Content": base64.b64encode(text.encode()).decode()}
            for kind, text in parts.items()
        ],
    }
    body, query = json.dumps(payload).encode(), "?" + urlencode({"secret": SECRET})
    answer = await hook(gateway, "postmark", account_id, "inbound", query, data=body)
    assert 200 == answer.status


async def test_reactivated_where_a_mail_complained(gateway: Gateway, ask: Ask) -> None:
    """What a mail complains of was on no list of the provider's that brought it, so what is taken
    off such a list does not take it back."""
    account_id = await connect(gateway, "postmark", Channel.EMAIL)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    lift = {
        "RecordType": "SubscriptionChange", "Origin": "Customer", "SuppressSending": False,
        "ChangedAt": None, "Recipient": ADA,
    }  # fmt: skip
    copy = f"Message-ID: <{sent['id']}@clinic.example>"
    parts = {"message/feedback-report": ARF, "text/rfc822-headers": copy}
    await by_postmark(gateway, account_id, parts)
    body, query = json.dumps(lift).encode(), f"?secret={SECRET}"
    answer = await hook(gateway, "postmark", account_id, "events", query, data=body)
    assert 200 == answer.status

    assert {("email", ADA, "complaint")} == await suppressed(ask)


async def test_report_taken_apart(gateway: Gateway, ask: Ask) -> None:
    """A bounce that Postmark took apart makes the message failed, and is no message; one that names
    none of ours changes nothing, and one that names nobody's is a letter."""
    account_id = await connect(gateway, "postmark", Channel.EMAIL)
    sent = await send(ask, "email", ADA, subject="Visit", body="When?")
    strange = "01a20aed-921f-7942-839f-8c58e20076ec@clinic.example"
    copies = [f"Message-ID: <{name}>" for name in (strange, f"{sent['id']}@clinic.example")]
    for copy in (copies[0], "To: x", copies[1], copies[1]):
        parts = {"message/delivery-status": DSN, "text/rfc822-headers": copy}
        await by_postmark(gateway, account_id, parts)
    row = await row_of(ask, sent)

    assert ("failed", "5.1.1") == (row["status"], row["error_code"])
    assert {("email", ADA, "hard_bounce")} == await suppressed(ask)
    assert ["It is so."] == [letter["body"] for letter in await inbound_of(ask)]
