"""The provider's own id of a mail whose answer was lost, in whatever order it is told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from channels.model import Channel
from tests.service.wires import (
    SECRET,
    connect,
    from_sendgrid,
    hook,
    row_of,
    send,
    step,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "ada@example.com"
ORDERS = [("opened", "bounced"), ("bounced", "opened")]
BOUNCE = """\
From: MAILER-DAEMON@mx.example.net
To: desk@clinic.example
Subject: Undelivered Mail Returned to Sender
Message-ID: <n1@mx.example.net>
Date: Sat, 28 Nov 2026 10:00:00 +0000
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net

Final-Recipient: rfc822; ada@example.com
Action: failed
Status: 5.2.2
Diagnostic-Code: smtp; 552 5.2.2 full

--b
Content-Type: text/rfc822-headers

Message-ID: {message_id}

--b--
"""


async def from_postmark(gateway: Gateway, account: UUID, event: str, fields: Any) -> None:
    """A webhook of Postmark's."""
    query = f"?secret={SECRET}"
    await hook(gateway, "postmark", account, event, query, data=json.dumps(fields).encode())


async def tell(
    gateway: Gateway, provider: str, account: UUID, word: str, external_id: str, **ours: str
) -> None:
    """An event of a mail by the provider's id, and by ours where it is given."""
    at = {"open": "2026-11-28T10:00:00Z", "delivered": "2026-11-28T09:59:00Z"}[word]
    if provider == "sendgrid":
        event = {"event": word, "email": ADA, "timestamp": 1795860000, **ours}
        answer = await from_sendgrid(gateway, account, [event | {"sg_message_id": external_id}])
        assert 200 == answer.status
        return
    kind, when = {"open": ("Open", "ReceivedAt"), "delivered": ("Delivery", "DeliveredAt")}[word]
    event = {"RecordType": kind, "Recipient": ADA, "FirstOpen": True, when: at, "Metadata": ours}
    await from_postmark(gateway, account, "events", event | {"MessageID": external_id})


async def bounce(gateway: Gateway, provider: str, account: UUID, message_id: str) -> None:
    """A bounce of another mail server's, which knows a mail by its Message-ID."""
    raw = BOUNCE.format(message_id=message_id)
    if provider == "postmark":
        mail = {"FromFull": {"Email": "MAILER-DAEMON@mx.example.net"}, "RawEmail": raw}
        await from_postmark(gateway, account, "inbound", mail)
        return
    form = f'--x\r\nContent-Disposition: form-data; name="email"\r\n\r\n{raw}\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    query = f"?secret={SECRET}"
    await hook(gateway, provider, account, "inbound", query, data=form.encode(), headers=headers)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("provider", ["sendgrid", "postmark"])
async def test_it_goes_before_our_message_id(
    gateway: Gateway, ask: Ask, api: Api, provider: str, order: tuple[str, ...]
) -> None:
    """A mail whose answer was lost is known by its provider's id, whether that or a bounce came
    first, so that a report by that id alone arrives."""
    account = await connect(gateway, provider, Channel.EMAIL)
    row = await send(ask, "email", ADA, subject="Hello", body="Hello")
    api.answers = lambda _: web.Response(status=502)
    await step(api.worker(gateway))
    headers = api.last.get("headers") or {h["Name"]: h["Value"] for h in api.last["Headers"]}
    for word in order:
        if word == "opened":
            await tell(gateway, provider, account, "open", "its-own", message_id=row["id"])
        else:
            await bounce(gateway, provider, account, headers["Message-ID"])
    await tell(gateway, provider, account, "delivered", "its-own")
    now = await row_of(ask, row)

    assert ("read", "its-own", "5.2.2") == (now["status"], now["external_id"], now["error_code"])
    assert now["delivered_at"]


@pytest.mark.parametrize("form", ["{}", "{{{}}}@evil.example", "{}@evil.example"])
@pytest.mark.parametrize("has_dashes", [True, False])
async def test_a_bounce_that_writes_our_id_otherwise(
    gateway: Gateway, ask: Ask, api: Api, form: str, *, has_dashes: bool
) -> None:
    """It takes not the place of the provider's id, whichever comes first."""
    account = await connect(gateway, "postmark", Channel.EMAIL)
    row = await send(ask, "email", ADA, subject="Hello", body="Hello")
    api.answers = lambda _: web.Response(status=502)
    await step(api.worker(gateway))
    ours = row["id"] if has_dashes else row["id"].replace("-", "")
    for _ in range(2):
        await bounce(gateway, "postmark", account, f"<{form.format(ours)}>")
        await tell(gateway, "postmark", account, "open", "its-own", message_id=row["id"])

    assert "its-own" == (await row_of(ask, row))["external_id"]
