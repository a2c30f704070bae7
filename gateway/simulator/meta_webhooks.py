"""WhatsApp's signed requests to an account's webhook: statuses and messages.

https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from gateway.simulator.callbacks import Callback, Limits
from gateway.simulator.files import File
from gateway.simulator.meta_accounts import MetaAccount
from gateway.simulator.meta_errors import details, title
from gateway.simulator.plan import bare
from gateway.simulator.provider import InboundBody

Json = dict[str, Any]

# Meta retries for days on everything but 200; here it ends within the time of a test.
LIMITS = Limits(
    connect=5.0,
    read=15.0,
    total=60.0,
    retries=8,
    retry_on=frozenset({"ct", "rt", "4xx", "5xx"}),
)
# Kinds of message that `params` of an inbound one can hold.
KINDS = (
    "text", "reaction", "button", "interactive", "location", "contacts", "order", "system",
    "image", "video", "audio", "document", "sticker",
)  # fmt: skip


def notification(account: MetaAccount, value: Json) -> Callback:
    """The POST of one change; `value` is its content without the account's number."""
    metadata = {
        "display_phone_number": account.number,
        "phone_number_id": account.phone_number_id,
    }
    change = {"messaging_product": "whatsapp", "metadata": metadata} | value
    payload = {
        "object": "whatsapp_business_account",
        "entry": [
            {
                "id": account.business_account_id,
                "changes": [{"value": change, "field": "messages"}],
            }
        ],
    }
    # Characters beyond ASCII are escaped (in lower case), and the escaped text is signed.
    body = json.dumps(payload, separators=(",", ":"), ensure_ascii=True).encode()
    return Callback(
        url=account.webhooks["events"].partition("#")[0],
        body=body,
        headers={
            "Content-Type": "application/json",
            "User-Agent": "facebookexternalua",
            "X-Hub-Signature-256": account.sign(body),
        },
        limits=LIMITS,
    )


def status(
    *, wamid: str, word: str, to: str, at: datetime, opaque: str | None, code: int | None
) -> Json:
    """One status of a message; `code` says why it failed."""
    found: Json = {
        "id": wamid,
        "status": word,
        "timestamp": str(int(at.timestamp())),
        "recipient_id": to,
    }
    if opaque is not None:
        found["biz_opaque_callback_data"] = opaque
    if word == "failed" and code is not None:
        url = "https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes/"
        error = {
            "code": code,
            "title": title(code),
            "message": title(code),
            "error_data": {"details": details(code)},
            "href": url,
        }
        return found | {"errors": [error]}
    conversation: Json = {"id": wamid.removeprefix("wamid.")[:32], "origin": {"type": "service"}}
    if word == "sent":
        end = at + timedelta(hours=24)
        conversation["expiration_timestamp"] = str(int(end.timestamp()))
    pricing = {
        "billable": False,
        "pricing_model": "PMP",
        "category": "service",
        "type": "free_customer_service",
    }
    return found | {"conversation": conversation, "pricing": pricing}


def inbound(
    account: MetaAccount, body: InboundBody, wamid: str, at: datetime, media: list[tuple[str, File]]
) -> Json:
    """The value of a change with a message that somebody wrote; `media` are pairs of id and file.

    `params` are fields of the message (`reaction`, `button`, `interactive`, `location`, ...); the
    `type` follows from them. `context` may be just the id of the quoted message.
    """
    user = bare(body.from_).removeprefix("+")
    contact: Json = {"profile": {"name": body.profile_name or "Simulated Person"}}
    message: Json = {"id": wamid, "timestamp": str(int(at.timestamp()))}
    if user.isdigit():
        contact["wa_id"] = message["from"] = user
    else:
        # A user with a user name may have no phone number.
        contact["user_id"] = message["from_user_id"] = user
    given = dict(body.params)
    context = given.pop("context", None)
    if context is not None:
        message["context"] = (
            {"from": account.number, "id": context} if isinstance(context, str) else context
        )
    kind = next((name for name in KINDS if name in given), None)
    if kind is None and media:
        kind = _media_kind(media[0][1])
        message[kind] = _media(kind, *media[0], caption=body.body)
    elif kind is None:
        kind = "text"
        message["text"] = {"body": body.body}
    message |= {"type": kind} | given
    return {"contacts": [contact], "messages": [message]}


def _media_kind(file: File) -> str:
    main = file.content_type.partition("/")[0]
    if file.content_type == "image/webp":
        return "sticker"
    return main if main in {"image", "video", "audio"} else "document"


def _media(kind: str, media_id: str, file: File, *, caption: str) -> Json:
    found: Json = {"id": media_id, "mime_type": file.content_type}
    if caption and kind not in {"audio", "sticker"}:
        found["caption"] = caption
    if kind == "document" and file.filename:
        found["filename"] = file.filename
    if kind == "audio":
        found["voice"] = True
    return found
