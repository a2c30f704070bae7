"""Accounts, mails and requests that the tests of this folder are made of."""

import base64
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from channels.model import Account, Attachment, Channel, Content, Mail, Outbound
from tests.mails import ID
from webhooks.model import WebhookRequest

SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = f"https://msg.example.org/webhooks/sendgrid/{ID}/events"
KEY = ec.derive_private_key(12345, ec.SECP256R1())
OTHER_KEY = ec.derive_private_key(54321, ec.SECP256R1())
BOUNDARY = "xYzZY"


def public(key: ec.EllipticCurvePrivateKey) -> str:
    """A public key as SendGrid shows it."""
    form = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(form).decode()


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A SendGrid account with the usual credentials and these; an empty one is left out."""
    held = {"api_key": "SG.key", "webhook_public_key": public(KEY), **credentials}
    return Account(
        id=ID,
        organization_id=ID,
        provider="sendgrid",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def outbound(
    *,
    body: str = "Hello",
    html: str | None = "<p>Hello</p>",
    attachments: Iterable[Attachment] = (),
    mail: Mail | None = None,
    channel: Channel = Channel.EMAIL,
) -> Outbound:
    """One mail to a customer."""
    return Outbound(
        message_id=ID,
        channel=channel,
        from_address="us@example.com",
        to_address="them@example.net",
        content=Content(
            body=body, subject="Grüße 😀", html_body=html, attachments=tuple(attachments)
        ),
        mail=mail,
    )


def signature(
    body: bytes, timestamp: str = "1600112502", key: ec.EllipticCurvePrivateKey = KEY
) -> dict[str, str]:
    """The headers of a signed request."""
    signed = key.sign(timestamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    return {
        "x-twilio-email-event-webhook-signature": base64.b64encode(signed).decode(),
        "x-twilio-email-event-webhook-timestamp": timestamp,
    }


def request(
    body: bytes, *, event: str = "events", url: str = URL, headers: dict[str, str] | None = None
) -> WebhookRequest:
    """A request of SendGrid, correctly signed unless headers are given."""
    given = signature(body) if headers is None else headers
    return WebhookRequest(method="POST", url=url, event=event, headers=given, body=body)


def events(*items: Any) -> WebhookRequest:
    """A batch of events."""
    return request(json.dumps(list(items)).encode())


def multipart(*parts: tuple[str, bytes]) -> bytes:
    """A multipart body; the first of each pair is what follows `form-data; name=`."""
    body = b""
    for head, content in parts:
        disposition = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name={head}\r\n\r\n"
        body += disposition.encode() + content + b"\r\n"
    return body + f"--{BOUNDARY}--".encode()


def posted(body: bytes, **headers: str) -> WebhookRequest:
    """A request of Inbound Parse."""
    named = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"} | headers
    return request(body, event="inbound", headers=named)
