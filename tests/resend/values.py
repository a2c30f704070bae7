"""Accounts, mails and requests that the tests of this folder are made of."""

import hmac
import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

from channels.model import Account
from tests.mails import ID
from webhooks.model import WebhookRequest

EMAIL_ID = "5d2f6c1e-3b1a-4a57-9a53-6f2f0f6f0a11"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT = "2026-01-02T03:04:05.123Z"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 123000, tzinfo=UTC)
KEY = b"a key of twenty-four byt"
SECRET = "whsec_" + b64encode(KEY).decode()
RECEIVED = "https://api.resend.com/emails/receiving/"


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A Resend account with the usual credentials and these; an empty one is left out."""
    held = {"api_key": "re_key", "webhook_secret": SECRET, **credentials}
    return Account(
        id=ID,
        organization_id=ID,
        provider="resend",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def signed(
    body: bytes,
    *,
    at: datetime = NOW,
    key: bytes = KEY,
    event_id: str = "msg_1",
    prefix: str = "svix",
    event: str = "events",
) -> WebhookRequest:
    """A request as Svix signs it."""
    timestamp = str(int(at.timestamp()))
    mark = hmac.digest(key, f"{event_id}.{timestamp}.".encode() + body, "sha256")
    headers = {
        f"{prefix}-id": event_id,
        f"{prefix}-timestamp": timestamp,
        f"{prefix}-signature": "v1," + b64encode(mark).decode(),
    }
    return WebhookRequest(
        method="POST",
        url=f"https://msg.example.org/webhooks/resend/{ID}/{event}",
        event=event,
        headers=headers,
        body=body,
    )


def hook(name: str, **data: Any) -> WebhookRequest:
    """A webhook of this type about our mail; a field that is None is left out."""
    usual: dict[str, Any] = {
        "email_id": EMAIL_ID,
        "created_at": "2026-01-02T03:00:00Z",
        "from": "Us <us@example.com>",
        "to": ["them@example.net"],
        "subject": "Hello",
        "tags": {"message_id": str(ID)},
    }
    told = {key: value for key, value in (usual | data).items() if value is not None}
    return signed(json.dumps({"type": name, "created_at": AT, "data": told}).encode())


def fetched(payload: Any, url: str = f"{RECEIVED}{EMAIL_ID}?html_format=cid") -> WebhookRequest:
    """An answer of Resend's API or its file server to a request; bytes are not made JSON."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return WebhookRequest(method="GET", url=url, event="fetched", headers={}, body=body)
