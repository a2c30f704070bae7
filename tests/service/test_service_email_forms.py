"""What the forms of web sites send, whole: the words in it are a customer's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import aiohttp
import pytest

from channels.model import Channel
from tests.service.wires import (
    OURS,
    SECRET,
    by_smtp,
    connect,
    hook,
    inbound_of,
    mailgun_signature,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway

DESK, SHOP = OURS[Channel.EMAIL], "web@forms.example"
TEXT = (
    "You have a new submission:\n\nFrom: Ada <ada@customer.example>\nDate: 5 May 2026 10:00\n"
    "Subject: Visit\n\nI need an appointment."
)


def written(kind: str, body: str) -> str:
    """A form's mail, as PHP's mail() is often told to write it."""
    head = f"From: Web <{SHOP}>\nTo: {DESK}\nSubject: New message\nMessage-ID: <f@forms.example>\n"
    return f"{head}Content-type: {kind}\n\n{body}"


async def smtp(gateway: Gateway, account_id: UUID, raw: str) -> None:
    """The operator's own server."""
    await by_smtp(gateway, account_id, raw.encode(), sender=SHOP, recipient=DESK)


async def mailgun(gateway: Gateway, account_id: UUID, raw: str) -> None:
    """A route of Mailgun's to a URL that ends with mime."""
    form = aiohttp.FormData()
    fields = mailgun_signature() | {"recipient": DESK, "sender": SHOP, "body-mime": raw}
    for name, value in fields.items():
        form.add_field(name, value)
    await hook(gateway, "mailgun", account_id, "inbound", data=form)


async def sendgrid(gateway: Gateway, account_id: UUID, raw: str) -> None:
    """Inbound Parse with the whole mail."""
    form = aiohttp.FormData()
    form.add_field("email", raw)
    form.add_field("envelope", json.dumps({"to": [DESK], "from": SHOP}))
    query = "?" + urlencode({"secret": SECRET})
    await hook(gateway, "sendgrid", account_id, "inbound", query, data=form)


async def postmark(gateway: Gateway, account_id: UUID, raw: str) -> None:
    """Postmark's JSON with the whole mail."""
    payload = {
        "FromFull": {"Email": SHOP},
        "OriginalRecipient": DESK,
        "MessageID": "b7bc2f4a-e38e-4336-af7d-e6c392c2f817",
        "RawEmail": raw,
        "Headers": [],
    }
    query = "?" + urlencode({"secret": SECRET})
    await hook(gateway, "postmark", account_id, "inbound", query, data=json.dumps(payload).encode())


FORMS: dict[str, Callable[[Gateway, UUID, str], Awaitable[None]]] = {
    each.__name__: each for each in (smtp, mailgun, sendgrid, postmark)
}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ('text/plain charset="utf-8"', TEXT),
        ("text/plain (plain text); charset=utf-8", TEXT),
        ("text/html charset=utf-8", TEXT.replace("<", "&lt;").replace("\n", "<br>\n")),
    ],
)
@pytest.mark.parametrize("provider", FORMS)
async def test_a_form(gateway: Gateway, ask: Ask, provider: str, kind: str, body: str) -> None:
    """All that a customer filled in is the message, however the form writes its type."""
    account_id = await connect(gateway, provider, Channel.EMAIL)
    await FORMS[provider](gateway, account_id, written(kind, body))
    [row] = await inbound_of(ask)

    assert row["body"] == TEXT
    assert "quoted_text" not in row["metadata"]["provider"]
    assert not row["attachments"]
