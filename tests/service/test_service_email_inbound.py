"""Mail that comes in: every provider's form of it ends as the same row."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import aiohttp
import pytest

from channels.model import Channel
from gateway.observability.metrics import Metrics
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.receiving import Receiving
from gateway.vault import Vault
from tests.service.conftest import files_of
from tests.service.wires import (
    ARN,
    OURS,
    SECRET,
    by_smtp,
    connect,
    hook,
    inbound_of,
    mailgun_signature,
)
from webhooks.model import WebhookRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway

ADA = "ada@customer.example"
DESK = OURS[Channel.EMAIL]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
TEXT = "Grüße 😀\n\nOn Mon, 1 Jan 2026, Desk wrote:\n> Hello\n"
HTML = "<p onclick='x()'>Grüße 😀</p><script>x()</script>"


def mime(*headers: str) -> bytes:
    """A mail with a text that quotes, HTML that would run, and a file."""
    file = base64.b64encode(PNG).decode()
    head = [
        f"From: Ada <{ADA}>",
        f"To: {DESK}",
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_?= =?utf-8?b?8J+YgA==?=",
        "Message-ID: <m-1@customer.example>",
        "MIME-Version: 1.0",
        *headers,
        'Content-Type: multipart/mixed; boundary="b1"',
    ]
    text = base64.b64encode(TEXT.encode()).decode()
    html = base64.b64encode(HTML.encode()).decode()
    body = (
        '--b1\nContent-Type: multipart/alternative; boundary="b2"\n\n'
        "--b2\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
        f"{text}\n--b2\nContent-Type: text/html; charset=utf-8\n"
        f"Content-Transfer-Encoding: base64\n\n{html}\n--b2--\n"
        '--b1\nContent-Type: image/png\nContent-Disposition: attachment; filename="x-ray.png"\n'
        f"Content-Transfer-Encoding: base64\n\n{file}\n--b1--\n"
    )
    return ("\n".join(head) + "\n\n" + body).replace("\n", "\r\n").encode()


async def sendgrid_raw(gateway: Gateway, account_id: UUID, to: str = DESK) -> int:
    """Inbound Parse with the whole mail."""
    form = aiohttp.FormData()
    form.add_field("email", mime().decode())
    form.add_field("envelope", json.dumps({"to": [to], "from": ADA}))
    query = "?" + urlencode({"secret": SECRET})
    return (await hook(gateway, "sendgrid", account_id, "inbound", query, data=form)).status


async def sendgrid_parsed(gateway: Gateway, account_id: UUID) -> int:
    """Inbound Parse that took it apart."""
    form = aiohttp.FormData()
    fields = {
        "from": f"Ada <{ADA}>",
        "to": DESK,
        "subject": "Grüße 😀",
        "text": TEXT,
        "html": HTML,
        "headers": "Message-ID: <m-1@customer.example>\nDate: Mon, 1 Jan 2026 10:00:00 +0000\n",
        "envelope": json.dumps({"to": [DESK], "from": ADA}),
        "charsets": json.dumps({"text": "utf-8", "html": "utf-8", "subject": "UTF-8"}),
        "attachments": "1",
        "attachment-info": json.dumps({"attachment1": {"filename": "x-ray.png"}}),
    }
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("attachment1", PNG, filename="x-ray.png", content_type="image/png")
    query = "?" + urlencode({"secret": SECRET})
    return (await hook(gateway, "sendgrid", account_id, "inbound", query, data=form)).status


async def postmark(gateway: Gateway, account_id: UUID) -> int:
    """Postmark's JSON."""
    payload = {
        "FromFull": {"Email": ADA, "Name": "Ada"},
        "ToFull": [{"Email": DESK, "Name": ""}],
        "OriginalRecipient": DESK,
        "Subject": "Grüße 😀",
        "MessageID": "b7bc2f4a-e38e-4336-af7d-e6c392c2f817",
        "TextBody": TEXT,
        "HtmlBody": HTML,
        "Headers": [{"Name": "Message-ID", "Value": "<m-1@customer.example>"}],
        "Attachments": [
            {"Name": "x-ray.png", "Content": base64.b64encode(PNG).decode(),
             "ContentType": "image/png", "ContentLength": len(PNG)}
        ],
    }  # fmt: skip
    auth = base64.b64encode(f"any:{SECRET}".encode()).decode()
    headers = {"Authorization": f"Basic {auth}", "Content-Type": "application/json"}
    body = json.dumps(payload).encode()
    return (
        await hook(gateway, "postmark", account_id, "inbound", data=body, headers=headers)
    ).status


async def mailgun(gateway: Gateway, account_id: UUID) -> int:
    """A route of Mailgun's."""
    form = aiohttp.FormData()
    fields = mailgun_signature() | {
        "recipient": DESK,
        "sender": ADA,
        "from": f"Ada <{ADA}>",
        "subject": "Grüße 😀",
        "body-plain": TEXT,
        "body-html": HTML,
        "Message-Id": "<m-1@customer.example>",
        "message-headers": json.dumps([["Message-Id", "<m-1@customer.example>"]]),
    }
    for name, value in fields.items():
        form.add_field(name, value)
    form.add_field("attachment-1", PNG, filename="x-ray.png", content_type="image/png")
    return (await hook(gateway, "mailgun", account_id, "inbound", data=form)).status


async def ses(gateway: Gateway, account_id: UUID) -> int:
    """A notification of SNS's, from where its signature is proven."""
    received = {
        "notificationType": "Received",
        "mail": {"messageId": "ses-1", "source": ADA, "timestamp": "2026-01-01T10:00:00.000Z"},
        "receipt": {"recipients": [DESK], "action": {"type": "SNS", "encoding": "BASE64"}},
        "content": base64.b64encode(mime()).decode(),
    }
    envelope = {
        "Type": "Notification",
        "MessageId": "sns-1",
        "TopicArn": ARN,
        "Message": json.dumps(received),
        "Timestamp": "2026-01-01T10:00:01.000Z",
    }
    vault = Vault(gateway.settings.gateway_secret_keys)
    receiving = Receiving(gateway.database, vault, Metrics(), files_of(gateway))
    account = await HookAccounts(gateway.database, vault, {}).named(
        "ses", str(account_id), "inbound"
    )
    body = json.dumps(envelope).encode()
    request = WebhookRequest(
        method="POST", url="https://x.example", event="inbound", headers={}, body=body
    )
    await receiving.fetched(account, request)
    return 200


async def smtp(gateway: Gateway, account_id: UUID) -> int:
    """The operator's own server."""
    return (await by_smtp(gateway, account_id, mime(), sender=ADA, recipient=DESK)).status


PROVIDERS: dict[str, tuple[str, Callable[[Gateway, UUID], Awaitable[int]]]] = {
    "sendgrid raw": ("sendgrid", sendgrid_raw),
    "sendgrid parsed": ("sendgrid", sendgrid_parsed),
    "postmark": ("postmark", postmark),
    "mailgun": ("mailgun", mailgun),
    "ses": ("ses", ses),
    "smtp": ("smtp", smtp),
}


@pytest.mark.parametrize("form", PROVIDERS)
async def test_one_row(gateway: Gateway, ask: Ask, form: str) -> None:
    """A mail is one row, however often it comes: new text, harmless HTML, and its file."""
    name, deliver = PROVIDERS[form]
    account_id = await connect(gateway, name, Channel.EMAIL)
    lead = (
        await ask("POST", "/v1/leads", {"first_name": "Ada", "last_name": "L", "email": ADA})
    ).body
    assert [200, 200] == [
        200 if await deliver(gateway, account_id) in (200, 204) else 0 for _ in range(2)
    ]
    (row,) = await inbound_of(ask)

    assert ("email", "received", ADA, DESK) == (
        row["channel"],
        row["status"],
        row["from_address"],
        row["to_address"],
    )
    assert ("Grüße 😀", "Grüße 😀") == (row["subject"], row["body"].strip())
    assert "m-1@customer.example" == row["external_id"]
    assert "Grüße" in row["html_body"]
    assert "onclick" not in row["html_body"]
    assert "script" not in row["html_body"]
    assert "Hello" in row["metadata"]["provider"]["quoted_text"]
    assert lead["id"] == row["lead_id"]
    (file,) = row["attachments"]
    assert ("x-ray.png", "image/png", len(PNG)) == (
        file["filename"],
        file["content_type"],
        file["size"],
    )
    path = "/v1/media/" + file["url"].rpartition("/")[2]
    async with gateway.http.get(path, headers={"Authorization": f"Bearer {gateway.a.key}"}) as got:
        assert (200, PNG) == (got.status, await got.read())
        assert "nosniff" == got.headers["X-Content-Type-Options"]
    assert 404 == (await ask("GET", path, key=gateway.b.key)).status
    assert 401 == (await ask("GET", path, key="")).status
    if form != "ses":
        return
    bad = {"Type": "Notification", "SigningCertURL": "https://amazonaws.com.evil.example/c.pem"}
    refused = await hook(gateway, "ses", account_id, "inbound", data=json.dumps(bad).encode())
    assert 403 == refused.status


DEEP = b"".join(
    b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(200)
)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xfe\x00garbage",
        b"From: a@b.example\r\nContent-Type: multipart/mixed\r\n\r\nno boundary",
        b"From: a@b.example\r\nContent-Type: text/plain; charset=x-unheard-of\r\n\r\n\xe9\x00",
        b"From: =?utf-8?b?8J+YgA?= <a@b.example>\r\nSubject: =?bad?q?\xff?=\r\n\r\nx",
        b"From: a@b.example\r\nTo: " + b"x@y.example, " * 5000 + b"\r\n\r\nx",
        b"From: a@b.example\r\nSubject: x\r\n Bcc: y\r\nMessage-ID: <a b>\r\n\r\nx",
        b"From: a@b.example\r\n" + DEEP,
    ],
)  # fmt: skip
async def test_malformed(gateway: Gateway, ask: Ask, raw: bytes) -> None:
    """Whatever a mail looks like, it is answered well, at once, and shown."""
    account_id = await connect(gateway, "smtp", Channel.EMAIL)
    assert 204 == (await by_smtp(gateway, account_id, raw)).status
    rows: list[dict[str, Any]] = await inbound_of(ask)
    assert ["a@b.example"] * len(rows) == [row["from_address"] for row in rows]
    assert 1 == await gateway.count("gateway.webhook_requests")


async def test_a_file_that_cannot_be_read(gateway: Gateway, ask: Ask) -> None:
    """A file of which its provider brought nothing that can be read is lost, and said to be so:
    nobody waits for it."""
    account_id = await connect(gateway, "postmark", Channel.EMAIL)
    payload = {
        "FromFull": {"Email": ADA},
        "OriginalRecipient": DESK,
        "Subject": "papers",
        "TextBody": "see the files",
        "Attachments": [{"Name": "a.pdf", "Content": "A", "ContentType": "application/pdf"},
                        {"Name": "b.pdf", "ContentType": "application/pdf"}],
    }  # fmt: skip
    body = json.dumps(payload).encode()
    query = "?" + urlencode({"secret": SECRET})
    assert 200 == (await hook(gateway, "postmark", account_id, "inbound", query, data=body)).status
    (row,) = await inbound_of(ask)
    async with gateway.database.as_service() as db:
        kept = await db.fetch("SELECT filename, state, reason FROM gateway.media ORDER BY position")
    told = (await ask("GET", f"/v1/messages/{row['id']}/why")).body

    reason = "The provider brought none of it that can be read."
    assert [("a.pdf", "failed", reason), ("b.pdf", "failed", reason)] == [tuple(r) for r in kept]
    assert 0 == await gateway.count("gateway.errands")
    assert "being fetched" not in json.dumps(told)
    assert "a.pdf could not be fetched" in json.dumps(told)


async def test_one_letter_for_two_mailboxes(gateway: Gateway, ask: Ask) -> None:
    """A letter that is handed in for two of our mailboxes came to both, and to each once."""
    account = await connect(gateway, "sendgrid", Channel.EMAIL)
    sales = "sales@clinic.example"
    for to in (DESK, sales, DESK, sales):
        assert 200 == await sendgrid_raw(gateway, account, to)
    assert [sales, DESK] == [row["to_address"] for row in await inbound_of(ask)]
