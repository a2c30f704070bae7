"""Accounts, messages and requests that the tests of this folder are made of."""

import hashlib
import hmac
import json
from typing import Any
from uuid import UUID

from channels.model import Account, Attachment, Channel, Content, Outbound, ProviderTemplate
from webhooks.model import WebhookRequest

ID = UUID("0191e180-7d60-7000-aded-7d8b151cbd5b")
URL = f"https://msg.example.org/webhooks/meta/{ID}/events"
WAMID = "wamid.HBgLMTU1NTAwMDIyMjIVAgARGBI="
SECRET = "app-secret"
NUMBER_ID = "106540352242922"


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A Meta account with the usual credentials and these; an empty one is left out."""
    held = {
        "access_token": "token",
        "phone_number_id": NUMBER_ID,
        "app_secret": SECRET,
        "verify_token": "verify-me",
        **credentials,
    }
    return Account(
        id=ID,
        organization_id=ID,
        provider="meta",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def outbound(
    body: str = "Hello",
    *attachments: Attachment,
    template: ProviderTemplate | None = None,
    to: str = "+15550002222",
    channel: Channel = Channel.WHATSAPP,
    quotes: str | None = None,
) -> Outbound:
    """One message to a customer."""
    return Outbound(
        message_id=ID,
        channel=channel,
        from_address="+15550001111",
        to_address=to,
        content=Content(body=body, attachments=attachments, template=template),
        quotes=quotes,
    )


def request(
    body: bytes | object = b"",
    *,
    method: str = "POST",
    query: str = "",
    event: str = "events",
    signed: str | None = None,
) -> WebhookRequest:
    """A request of Meta; `signed` is its signature header, by default the correct one."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    right = "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    return WebhookRequest(
        method=method,
        url=f"{URL}?{query}" if query else URL,
        event=event,
        headers={"x-hub-signature-256": right if signed is None else signed},
        body=raw,
    )


def change(field: str | None = "messages", **value: Any) -> dict[str, Any]:
    """One change about our number."""
    metadata = {"display_phone_number": "1 555-000-1111", "phone_number_id": NUMBER_ID}
    held = {"messaging_product": "whatsapp", "metadata": metadata, **value}
    return {"value": held} | ({} if field is None else {"field": field})


def update(*changes: object) -> dict[str, Any]:
    """The body of a webhook: one entry with these changes."""
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "102290129340398", "changes": list(changes)}],
    }


def message(**given: Any) -> dict[str, Any]:
    """A message from a person; a text unless another `type` is given."""
    usual = {"from": "15550002222", "id": WAMID, "timestamp": "1749416383"}
    if "type" not in given:
        given = {"type": "text", "text": {"body": "Hello"}} | given
    return usual | given
