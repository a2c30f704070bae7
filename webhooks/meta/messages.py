"""Meta, the messages that people send: messages of every type as text, files and details.

Docs: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
Oddities: `from` may be missing or a user id; a removed reaction has no emoji; the answer of a flow
should be JSON in a text; times are texts, and sometimes numbers; new types come unannounced.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from channels.model import Attachment, Channel
from channels.providers.meta import API, VERSION
from channels.providers.meta.reasons import read_error
from webhooks.meta import people
from webhooks.meta.values import (
    ID_CHARACTERS,
    Given,
    address,
    filled,
    text,
)
from webhooks.model import Inbound, Unknown, Unreadable, WebhookEvent
from webhooks.values import items, members, moment, read_object

MEDIA: Final = ("image", "video", "audio", "voice", "document", "sticker")
FILE: Final = ("id", "sha256", "voice", "animated")
# Types in which people type or tap text themselves: only these are read for STOP and START.
SAID: Final = ("text", "button", "interactive")
# Further parts of a message, kept under Meta's own names.
PARTS: Final = (
    "context", "referral", "errors", "location", "contacts", "interactive", "button", "order",
    "system", "edit", "revoke", "unsupported",
)  # fmt: skip


def business(value: Given) -> str:
    """The business number of a change: as displayed, or else its id."""
    metadata = members(value.get("metadata"))
    return address(metadata.get("display_phone_number")) or text(
        metadata.get("phone_number_id"), ID_CHARACTERS
    )


def read(message: Given, value: Given) -> list[WebhookEvent]:
    """One of the messages in a change, and what it says about consent; raises `Unreadable`.

    Messages in groups are ignored: an answer would go only to the author.
    """
    external_id = text(message.get("id"), ID_CHARACTERS)
    if not external_id:
        raise Unreadable("The message has no id.")
    system = members(message.get("system"))
    named = (
        message.get("from"), message.get("from_user_id"), system.get("previous_user_id"),
        people.told_before(system),
    )  # fmt: skip
    sender = next((each for name in named if (each := address(name))), "")
    if not sender:
        raise Unreadable("The message says not whose it is.")
    if message.get("group_id"):
        known = filled(**{name: message.get(name) for name in ("id", "from", "group_id", "type")})
        return [Unknown(word="group-message", detail=known)]
    kind = text(message.get("type"), 64) or ("text" if "text" in message else "unknown")
    received = Inbound(
        external_id=external_id,
        channel=Channel.WHATSAPP,
        from_address=sender,
        to_address=business(value),
        body=_body(message, kind),
        attachments=_attachments(message, kind),
        quotes=_quotes(message, kind),
        occurred_at=moment(message.get("timestamp")),
        detail=_detail(message, kind, value),
    )
    told = people.wishes(received, message, value) if kind in SAID else []
    news = people.renamed(external_id, message) if kind == "system" else []
    return [received, *told, *news]


def _body(message: Given, kind: str) -> str:
    """The text that people see; empty if a message only has details."""
    part = members(message.get(kind))
    if kind in MEDIA:
        return text(part.get("caption"))
    if kind == "interactive":
        reply = _reply(part)
        return text(reply.get("title")) or text(reply.get("body"))
    if kind == "contacts":
        names = (members(members(each).get("name")) for each in items(message.get(kind)))
        return ", ".join(
            name
            for each in names
            if (name := text(each.get("formatted_name") or each.get("first_name")))
        )
    if kind == "edit":
        edited = members(part.get("message"))
        inner = text(edited.get("type"), 64)
        return _body(edited, inner) if inner != "edit" else ""
    where = {"text": "body", "button": "text", "reaction": "emoji", "order": "text"}
    return text(part.get(where.get(kind, "body"))) if kind in {*where, "system"} else ""


def _reply(interactive: Given) -> Given:
    """What was chosen in an interactive message, under the name of its type."""
    return members(interactive.get(text(interactive.get("type"), 64)))


def _attachments(message: Given, kind: str) -> tuple[Attachment, ...]:
    """The file: Meta gives an id, and its API the URL, with the account's token."""
    part = members(message.get(kind))
    media_id = text(part.get("id"), ID_CHARACTERS)
    if kind not in MEDIA or not media_id:
        return ()
    attachment = Attachment(
        url=f"{API}/{VERSION}/{quote(media_id, safe='')}",
        filename=text(part.get("filename"), ID_CHARACTERS) or None,
        content_type=text(part.get("mime_type"), ID_CHARACTERS) or None,
    )
    return (attachment,)


def _quotes(message: Given, kind: str) -> str | None:
    """The message that this one answers, reacts to, edits or revokes."""
    part, context = members(message.get(kind)), members(message.get("context"))
    about = {
        "reaction": part.get("message_id"),
        "edit": part.get("original_message_id"),
        "revoke": part.get("original_message_id"),
    }
    return text(about.get(kind) or context.get("id"), ID_CHARACTERS) or None


def _detail(message: Given, kind: str, value: Given) -> dict[str, Any]:
    part, contact = members(message.get(kind)), people.contact(message, value)
    reply = _reply(part) if kind == "interactive" else {}
    system = part if kind == "system" else {}
    code, words = read_error(next(iter(items(message.get("errors"))), None))
    is_known = kind in {*MEDIA, *PARTS, "text", "reaction"}
    return filled(
        type=kind,
        phone_number_id=members(value.get("metadata")).get("phone_number_id"),
        ProfileName=members(contact.get("profile")).get("name"),
        username=members(contact.get("profile")).get("username") or contact.get("username"),
        # So that somebody with a new number or user id stays in the same conversation.
        new_address=people.new_address(message) if kind == "system" else None,
        user_id=message.get("from_user_id") or contact.get("user_id") or system.get("user_id"),
        wa_id=contact.get("wa_id"),
        button_payload=part.get("payload") if kind == "button" else reply.get("id"),
        flow_response=_flow(reply.get("response_json")),
        reaction=_reaction(part) if kind == "reaction" else None,
        media={name: part.get(name) for name in FILE if name in part} if kind in MEDIA else None,
        error_code=code,
        error_message=words,
        **{name: message[name] for name in PARTS if name in message},
        message=None if is_known else message,
    )


def _reaction(part: Given) -> dict[str, Any]:
    known = {"message_id": part.get("message_id"), "emoji": part.get("emoji")}
    return known if part.get("emoji") else {**known, "removed": True}


def _flow(response: object) -> object:
    """The answers of a flow, if they are an object, as they should be."""
    try:
        return read_object(text(response).encode())
    except Unreadable:
        return None
