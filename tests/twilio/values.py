"""Accounts, messages and requests that the tests of this folder are made of."""

import base64
import hashlib
import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import urlencode
from uuid import UUID

from channels.model import (
    Account,
    Attachment,
    CallPlan,
    Channel,
    Content,
    Outbound,
    ProviderTemplate,
)
from webhooks.model import WebhookRequest

ID = UUID("0191e180-7d60-7000-aded-7d8b151cbd5b")
SID = "SM00000000000000000000000000000001"
TOKEN = "12345"
URL = "https://msg.example.org/webhooks/twilio/0191e180-7d60-7000-aded-7d8b151cbd5b/status"
CALLBACK = f"{URL}?message_id={ID}#rc=5&rp=all"
SINCE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FORM = "application/x-www-form-urlencoded"


def account(api_url: str | None = None, **credentials: str) -> Account:
    """A Twilio account with the usual credentials and these; an empty one is left out."""
    held = {"account_sid": "AC1", "auth_token": TOKEN, **credentials}
    return Account(
        id=ID,
        organization_id=ID,
        provider="twilio",
        credentials={name: value for name, value in held.items() if value},
        api_url=api_url,
    )


def outbound(
    body: str = "Hello",
    channel: Channel = Channel.SMS,
    media: Iterable[str] = (),
    template: ProviderTemplate | None = None,
    call: CallPlan | None = None,
) -> Outbound:
    """One message to a customer."""
    return Outbound(
        message_id=ID,
        channel=channel,
        from_address="+15550001111",
        to_address="+15550002222",
        content=Content(
            body=body,
            attachments=tuple(Attachment(url=url) for url in media),
            template=template,
            call=call,
        ),
    )


def signature(url: str, form: Iterable[tuple[str, str]] = (), token: str = TOKEN) -> str:
    """The signature of a request, made as Twilio's documentation says."""
    text = url + "".join(name + value for name, value in sorted(set(form)))
    digest = hmac.new(token.encode(), text.encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def request(
    form: Iterable[tuple[str, str]] = (),
    *,
    event: str = "status",
    url: str = URL,
    method: str = "POST",
    body: bytes | None = None,
    content_type: str | None = FORM,
    signed: str | None = None,
) -> WebhookRequest:
    """A request of Twilio; `signed` is its signature header, by default the correct one."""
    form = list(form)
    headers = {"x-twilio-signature": signature(url, form) if signed is None else signed}
    if content_type is not None:
        headers["content-type"] = content_type
    return WebhookRequest(
        method=method,
        url=url,
        event=event,
        headers=headers,
        body=urlencode(form).encode() if body is None else body,
    )
