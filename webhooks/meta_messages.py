"""Meta, the messages that people send: every type of them as text, files and details.

Docs: https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages
Oddities: `from` may be missing or a user id; a removed reaction has no emoji; the answer of a flow
is JSON in a text, or is meant to be; times are texts, numbers in places; types come unannounced.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

from channels import consent, phone
from channels.consent import Consent
from channels.model import Attachment, Channel
from channels.providers.meta import API, VERSION, read_error
from webhooks.model import ConsentChange, Inbound, Reason, Unknown, Unreadable, WebhookEvent

Given = Mapping[str, Any]

ID_CHARACTERS, DETAIL_CHARACTERS = 256, 1000
ENTRIES, DEPTH, PART_CHARACTERS = 40, 5, 16_000

MEDIA: Final = ("image", "video", "audio", "voice", "document", "sticker")
FILE: Final = ("id", "sha256", "voice", "animated")
# What people type or tap themselves; a caption or a number that changed is no word about consent.
SAID: Final = ("text", "button", "interactive")
# Further parts of a message, kept under Meta's own names.
PARTS: Final = (
    "context", "referral", "errors", "location", "contacts", "interactive", "button", "order",
    "system", "edit", "revoke", "unsupported",
)  # fmt: skip

_MOMENT = re.compile(r"[0-9]{1,11}")


def obj(value: object) -> Given:
    """A JSON object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A JSON array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def text(value: object, most: int | None = None) -> str:
    """A text as PostgreSQL can hold it, empty for anything else: no NUL, no halves of pairs."""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return ""
        value = str(value)
    if value.isascii() and "\0" not in value:
        return value[:most]
    return value.replace("\0", "").encode(errors="replace").decode()[:most]


def detail(value: object, depth: int = DEPTH) -> Any:  # noqa: ANN401 - any JSON
    """Any JSON, bounded in depth, number and length, without what PostgreSQL cannot hold."""
    if isinstance(value, str):
        return text(value, DETAIL_CHARACTERS)
    if isinstance(value, (dict, list)):
        if depth == 0:
            return None
        if isinstance(value, list):
            return [detail(each, depth - 1) for each in value[:ENTRIES]]
        return {
            text(name, ID_CHARACTERS): detail(each, depth - 1)
            for name, each in islice(value.items(), ENTRIES)
        }
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and abs(value) >= 2**63:
        return None
    return value


def filled(**given: object) -> dict[str, Any]:
    """Details without the empty ones; of a part that is too large the beginning of its JSON."""
    kept = {
        name: value
        for name, each in given.items()
        if each is not None and (value := detail(each)) not in (None, "", [], {})
    }
    for name, value in kept.items():
        # Only what may be: a character takes twelve in JSON at most, and texts are bounded.
        is_part = isinstance(value, (dict, list))
        may_be = is_part and 12 * len(repr(value)) > PART_CHARACTERS
        if may_be and len(written := json.dumps(value)) > PART_CHARACTERS:
            kept[name] = written[:DETAIL_CHARACTERS]
    return kept


def moment(value: object) -> datetime | None:
    """A time in seconds since 1970, as a text or a number; None where it is none."""
    digits = text(value, 32)
    return datetime.fromtimestamp(int(digits), UTC) if _MOMENT.fullmatch(digits) else None


def address(value: object) -> str:
    """A number with its +, anything else as it is."""
    given = text(value, ID_CHARACTERS).strip()
    digits = re.sub(r"[\s().+\-]", "", given)
    return f"+{digits}" if re.fullmatch(r"[0-9]+", digits) else given


def for_each(change: ConsentChange, *named: object) -> list[WebhookEvent]:
    """A person's wish for all addresses that are named, whichever we write to: number, user id."""
    found: dict[str, str] = {}
    for each in named:
        if one := address(each):
            found.setdefault(phone.canonical(one), one)
    first, *others = found.values() or [None]
    also = [replace(change, address=one, key=f"{change.key}:{one}") for one in others]
    return [replace(change, address=first), *also]


def business(value: Given) -> str:
    """The business number that a change is about: as it is shown, or else by its id."""
    metadata = obj(value.get("metadata"))
    return address(metadata.get("display_phone_number")) or text(
        metadata.get("phone_number_id"), ID_CHARACTERS
    )


def read(message: Given, value: Given) -> list[WebhookEvent]:
    """One of a change's messages, and what it says about consent; raises `Unreadable`.

    A message in a group is none to us: an answer would go to its author alone.
    """
    external_id = text(message.get("id"), ID_CHARACTERS)
    if not external_id:
        raise Unreadable("The message has no id.")
    sender = address(message.get("from")) or address(message.get("from_user_id"))
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
    return [received, *_consent(received, kind, message, value)]


def _body(message: Given, kind: str) -> str:
    """What a person reads, empty where the details alone say it."""
    part = obj(message.get(kind))
    if kind in MEDIA:
        return text(part.get("caption"))
    if kind == "interactive":
        reply = _reply(part)
        return text(reply.get("title")) or text(reply.get("body"))
    if kind == "contacts":
        names = (obj(obj(each).get("name")) for each in items(message.get(kind))[:ENTRIES])
        return ", ".join(
            name
            for each in names
            if (name := text(each.get("formatted_name") or each.get("first_name")))
        )
    if kind == "edit":
        edited = obj(part.get("message"))
        inner = text(edited.get("type"), 64)
        return _body(edited, inner) if inner != "edit" else ""
    where = {"text": "body", "button": "text", "reaction": "emoji", "order": "text"}
    return text(part.get(where.get(kind, "body"))) if kind in {*where, "system"} else ""


def _reply(interactive: Given) -> Given:
    """What was chosen of an interactive message, whatever it is called."""
    return obj(interactive.get(text(interactive.get("type"), 64)))


def _attachments(message: Given, kind: str) -> tuple[Attachment, ...]:
    """The file: Meta names an id, and its address is asked for there with the token."""
    part = obj(message.get(kind))
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
    """The message that this one is about: answered, reacted to, changed, taken back."""
    part, context = obj(message.get(kind)), obj(message.get("context"))
    about = {
        "reaction": part.get("message_id"),
        "edit": part.get("original_message_id"),
        "revoke": part.get("original_message_id"),
    }
    return text(about.get(kind) or context.get("id"), ID_CHARACTERS) or None


def _detail(message: Given, kind: str, value: Given) -> dict[str, Any]:
    part, contact = obj(message.get(kind)), _contact(message, value)
    reply = _reply(part) if kind == "interactive" else {}
    code, words = read_error(next(iter(items(message.get("errors"))), None))
    known = filled(
        type=kind,
        phone_number_id=obj(value.get("metadata")).get("phone_number_id"),
        ProfileName=obj(contact.get("profile")).get("name"),
        username=obj(contact.get("profile")).get("username") or contact.get("username"),
        user_id=message.get("from_user_id") or contact.get("user_id"),
        wa_id=contact.get("wa_id"),
        button_payload=part.get("payload") if kind == "button" else reply.get("id"),
        flow_response=_flow(reply.get("response_json")),
        reaction=_reaction(part) if kind == "reaction" else None,
        media={name: part.get(name) for name in FILE if name in part} if kind in MEDIA else None,
        error_code=code,
        error_message=words,
        **{name: message[name] for name in PARTS if name in message},
    )
    is_known = kind in {*MEDIA, *PARTS, "text", "reaction"}
    return known | ({} if is_known else filled(message=message))


def _reaction(part: Given) -> dict[str, Any]:
    known = {"message_id": part.get("message_id"), "emoji": part.get("emoji")}
    return known if part.get("emoji") else {**known, "removed": True}


def _flow(response: object) -> object:
    """The answers of a flow, where they are an object as they should be."""
    try:
        return obj(json.loads(text(response)))
    except (ValueError, RecursionError):
        return None


def _contact(message: Given, value: Given) -> Given:
    """Who sent the message, of the contacts that come beside it."""
    ids = {each for name in ("from", "from_user_id") if (each := text(message.get(name)))}
    for each in items(value.get("contacts")):
        contact = obj(each)
        if ids & {text(contact.get("wa_id")), text(contact.get("user_id"))}:
            return contact
    return {}


def _consent(received: Inbound, kind: str, message: Given, value: Given) -> list[WebhookEvent]:
    wish = consent.read(received.body, Channel.WHATSAPP) if kind in SAID else None
    if wish not in {Consent.STOP, Consent.START}:
        return []
    change = ConsentChange(
        channel=Channel.WHATSAPP,
        reason=Reason.STOP,
        is_lifted=wish is Consent.START,
        word=received.body.strip(),
        key=f"meta:{received.external_id}:{wish}",
        occurred_at=received.occurred_at,
        detail={"text": received.body, "external_id": received.external_id},
    )
    contact = _contact(message, value)
    own = (message.get("from"), message.get("from_user_id"))
    return for_each(change, *own, contact.get("wa_id"), contact.get("user_id"))
