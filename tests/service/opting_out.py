"""People write that they want no more messages, or want them again."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from tests.service.wires import (
    from_meta,
    from_twilio,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from tests.service.conftest import Gateway

ADA = "+447700900123"
MAIL = "ada@customer.example"
SMS = {"channel": "sms", "to": ADA, "body": "Hello"}


async def writes(gateway: Gateway, body: str, number: int = 1, **more: str) -> None:
    """Somebody sends us an SMS."""
    fields = {
        "MessageSid": f"SM{number:032x}",
        "AccountSid": "AC" + "a" * 32,
        "From": ADA,
        "To": gateway.a.sender,
        "Body": body,
    }
    assert 200 == (await from_twilio(gateway, "message", fields | more)).status


async def meta_says(gateway: Gateway, account: UUID, word: str, number: int, at: float) -> None:
    """Somebody writes STOP or START on WhatsApp, at this time."""
    wamid = f"wamid.{number}"
    text = whatsapp_text(word, wamid=wamid, sender=ADA[1:], at=at)
    answer = await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    assert 200 == answer.status
