"""Accounts, mails and requests that the tests of this folder are made of."""

import hashlib
import hmac
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from channels.model import Account, Attachment, Channel, Content, Mail, Outbound
from tests.mails import ID, MAIL
from webhooks.model import WebhookRequest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SINCE = NOW - timedelta(minutes=1)
URL = f"https://msg.example.org/webhooks/mailgun/{ID}/events"
KEY = "signing-key"
TOKEN = "885894756b6c371a377f5f9516d60a4db497ad27d4931ed215"
BOUNDARY = "BoUnDaRy"


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A Mailgun account with the usual credentials and these; an empty one is left out."""
    held = {"api_key": "key-1", "domain": "example.com", "webhook_signing_key": KEY, **credentials}
    return Account(
        id=ID,
        organization_id=ID,
        provider="mailgun",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def outbound(
    *,
    html: str | None = "<p>Hello</p>",
    subject: str | None = "Grüße 😀",
    attachments: Iterable[Attachment] = (),
    mail: Mail | None = MAIL,
    channel: Channel = Channel.EMAIL,
) -> Outbound:
    """One mail to a customer."""
    return Outbound(
        message_id=ID,
        channel=channel,
        from_address="us@example.com",
        to_address="them+1@example.net",
        content=Content(
            body="Hello", subject=subject, html_body=html, attachments=tuple(attachments)
        ),
        mail=mail,
    )


def signature(at: datetime = NOW, key: str = KEY, token: str = TOKEN) -> dict[str, str]:
    """The signature that Mailgun makes at this time."""
    timestamp = str(int(at.timestamp()))
    signed = hmac.new(key.encode(), (timestamp + token).encode(), hashlib.sha256)
    return {"timestamp": timestamp, "token": token, "signature": signed.hexdigest()}


def request(
    body: bytes, *, event: str = "events", kind: str = "application/json"
) -> WebhookRequest:
    """A request of Mailgun."""
    return WebhookRequest(
        method="POST", url=URL, event=event, headers={"content-type": kind}, body=body
    )


def hook(data: Any, **signed: Any) -> WebhookRequest:
    """A webhook with this event."""
    given = {"signature": signed or signature(), "event-data": data}
    return request(json.dumps(given).encode())


def form(fields: Iterable[tuple[str, str]], *, event: str = "events") -> WebhookRequest:
    """A form as Mailgun sends it if there are no files."""
    kind = "application/x-www-form-urlencoded"
    return request(urlencode(list(fields)).encode(), event=event, kind=kind)


def multipart(*parts: tuple[str, bytes], event: str = "inbound") -> WebhookRequest:
    """A form with files; the first of each pair is what follows `form-data; name=`."""
    body = b""
    for head, content in parts:
        disposition = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name={head}\r\n\r\n"
        body += disposition.encode() + content + b"\r\n"
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return request(body + f"--{BOUNDARY}--\r\n".encode(), event=event, kind=kind)
