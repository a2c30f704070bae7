"""Accounts, mails and requests that the tests of this folder are made of."""

import json
from datetime import UTC, datetime
from typing import Any

from channels.model import Account
from tests.mails import ID
from webhooks.model import WebhookRequest

EXTERNAL_ID = "b7bc2f4a-e38e-4336-af7d-e6c392c2f817"
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
URL = f"https://msg.example.org/webhooks/postmark/{ID}"


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A Postmark account with the usual credentials and these; an empty one is left out."""
    held = {"server_token": "token", "webhook_secret": "sesame", **credentials}
    return Account(
        id=ID,
        organization_id=ID,
        provider="postmark",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def request(payload: Any, event: str = "events", query: str = "?secret=sesame") -> WebhookRequest:
    """A webhook of Postmark; bytes are not made JSON."""
    return WebhookRequest(
        method="POST",
        url=f"{URL}/{event}{query}",
        event=event,
        headers={"content-type": "application/json"},
        body=payload if isinstance(payload, bytes) else json.dumps(payload).encode(),
    )
