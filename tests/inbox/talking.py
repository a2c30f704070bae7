"""For tests of conversations in the inbox: messages in and out, and the composer's form."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from tests.inbox.conftest import Browser, Inbox, Shown
from tests.service.conftest import Ask

ANN = "+447700900123"
MEMBER = "member@alpha.example.com"


async def send(ask: Ask, to: str = ANN, **more: Any) -> dict[str, Any]:
    """Send a message of tenant A through the API."""
    answer = await ask("POST", "/v1/messages", {"channel": "sms", "to": to, "body": "Hello"} | more)
    assert 202 == answer.status, answer.body
    body: dict[str, Any] = answer.body
    return body


async def stored(inbox: Inbox, **columns: Any) -> dict[str, Any]:
    """Store a message as the CRM itself could have done."""
    row = {
        "organization_id": inbox.gateway.a.organization_id,
        "channel": "sms",
        "direction": "inbound",
        "from_address": ANN,
        "to_address": "+15551230001",
        "body": "hi",
        "status": "received",
        **columns,
    }
    names, places = ", ".join(row), ", ".join(f"${n}" for n in range(1, len(row) + 1))
    async with inbox.gateway.database.as_service() as db:
        found = await db.fetchrow(
            f"INSERT INTO messages ({names}) VALUES ({places}) RETURNING *",  # noqa: S608
            *row.values(),
        )
    return dict(found or {})


def hidden(shown: Shown, name: str) -> str:
    """The value of a hidden field of the composer."""
    form = shown.text[shown.text.index('id="composer"') :]
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', form)
    assert found is not None
    return unescape(found[1])


async def reply(browser: Browser, path: str, **fields: str) -> Shown:
    """Fill in the composer of a conversation and press a button (`do`)."""
    page = await browser.get(path)
    return await browser.post(f"{path}/reply", {"key": hidden(page, "key"), "do": "send"} | fields)
