"""What a message has besides its text: files, and details of WhatsApp and calls. Pure functions.

All of it comes from strangers: anything that does not have the expected shape is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from channels.json_text import as_object
from gateway.inbox.words import in_order
from gateway.media import kinds

_OURS = re.compile(r"/v1/media/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$", re.IGNORECASE)
_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_SECONDS = re.compile(r"\d{1,6}", re.ASCII)
_LONGEST = 300
_LARGEST = 10**15
_LINES = 40
_FILES = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """A file of a message, which we keep (`id`) or which is somewhere else (`url`).

    `reason` says why a file could not be fetched; `show` is `image`, `audio`, `video` or `link`.
    """

    id: UUID | None
    url: str | None
    name: str
    size: str | None
    show: str
    state: str
    reason: str | None


def attachments(row: Mapping[str, Any]) -> list[Any]:
    """The first attachments of a row, at most `_FILES`: a page with a million would take half a
    minute, in which nobody else is served. None if another program has stored something else."""
    given = row["attachments"]
    return given[:_FILES] if isinstance(given, list) else []


def file_count(row: Mapping[str, Any]) -> int:
    """How many attachments a row has, also those that are not shown."""
    given = row["attachments"]
    return len(given) if isinstance(given, list) else 0


def files_not_shown(row: Mapping[str, Any]) -> list[str]:
    """A line about the attachments that are not shown, if there are any."""
    more = file_count(row) - _FILES
    if more <= 0:
        return []
    return ["1 more file is not shown" if more == 1 else f"{more:,} more files are not shown"]


def file_of(attachment: Any, media: Mapping[UUID, Mapping[str, Any]]) -> File:  # noqa: ANN401
    """An attachment of a row; `media` has the states of the files that we keep."""
    given = attachment if isinstance(attachment, dict) else {}
    url = _text(given.get("url"))
    found = _OURS.search(url)
    file_id = UUID(found[1]) if found else None
    kept = media.get(file_id) if file_id else None
    kind = kinds.plain_type(_text(given.get("content_type")) or None)
    state = kept["state"] if kept else ("away" if file_id is None else "stored")
    return File(
        id=file_id,
        url=url if file_id is None and _is_of_the_web(url) else None,
        name=in_order(_text(given.get("filename"))) or "File",
        size=_size(given.get("size")),
        show=_show(kind) if file_id and state == "stored" else "link",
        state=state,
        reason=kept["reason"] if kept else None,
    )


def media_ids(rows: Iterable[Mapping[str, Any]]) -> list[UUID]:
    """The ids of the files of ours that these messages have."""
    found = (
        _OURS.search(_text(each.get("url")))
        for row in rows
        for each in attachments(row)
        if isinstance(each, dict)
    )
    return [UUID(match[1]) for match in found if match]


def details(channel: str, detail: Mapping[str, Any], *, is_ours: bool) -> list[str]:
    """Lines about what is not in the text."""
    if channel == "call":
        return _call(detail, is_ours=is_ours)
    if channel == "whatsapp":
        return [*_whatsapp(detail), *_left_out(detail)]
    if is_ours:
        return []
    automatic = ["An automatic answer"] if detail.get("auto_submitted") is True else []
    reply_to = _text(detail.get("reply_to"))
    answers = [f"Asks for answers at {reply_to}"] if reply_to else []
    return [*automatic, *answers, *_left_out(detail)]


def _left_out(detail: Mapping[str, Any]) -> list[str]:
    left_out = _text(detail.get("left_out"))
    return [f"Not all of it is here. {left_out}"] if left_out else []


def _call(detail: Mapping[str, Any], *, is_ours: bool) -> list[str]:
    lines = []
    digits = _text(detail.get("digits"))
    if digits and digits != "hangup":  # Twilio's word for a recording that no key ended
        lines.append(f"They pressed {digits}" if is_ours else f"Pressed {digits}")
    seconds = detail.get("duration")
    if isinstance(seconds, str) and _SECONDS.fullmatch(seconds):
        seconds = int(seconds)
    if isinstance(seconds, int) and not isinstance(seconds, bool) and 0 <= seconds < _LARGEST:
        minutes, rest = divmod(seconds, 60)
        lines.append(f"Lasted {minutes}:{rest:02}")
    answered = _text(detail.get("answered_by")).replace("_", " ")
    if answered:
        lines.append(f"Answered by: {answered}")
    return lines


def _whatsapp(detail: Mapping[str, Any]) -> list[str]:
    kind = _text(detail.get("type")) or _text(detail.get("MessageType"))
    if kind == "location" or "Latitude" in detail:
        place = as_object(detail.get("location"))
        where = [
            _text(place.get(name, detail.get(other)))
            for name, other in (("name", "Label"), ("address", "Address"))
        ]
        at = [
            _text(str(place.get(name, detail.get(other, ""))))
            for name, other in (("latitude", "Latitude"), ("longitude", "Longitude"))
        ]
        known = [each for each in (*where, ", ".join(filter(None, at))) if each]
        return [f"A place: {', '.join(known)}" if known else "A place"]
    words = {
        "reaction": "A reaction to an earlier message",
        "contacts": "A contact",
        "interactive": "Chosen from what was offered",
        "button": "A button was pressed",
        "order": "An order",
        "sticker": "A sticker",
        "system": "A note by WhatsApp",
        "unsupported": "A kind of message that WhatsApp does not pass on",
        "edit": "An earlier message was changed to this",
        "revoke": "An earlier message was taken back",
    }
    if kind not in words:
        return []
    return [words[kind], *_CONTENTS.get(kind, _nothing)(detail)]


def _nothing(_told: Mapping[str, Any]) -> list[str]:
    return []


def _contacts(detail: Mapping[str, Any]) -> list[str]:
    """The contacts that somebody sent, with their numbers."""
    lines = []
    for each in _objects(detail.get("contacts")):
        name = each.get("name")
        called = _text(name.get("formatted_name")) if isinstance(name, dict) else ""
        numbers = [
            number for p in _objects(each.get("phones")) if (number := _text(p.get("phone")))
        ]
        if numbers:
            lines.append(f"{called or 'No name'}: {', '.join(numbers[:_LINES])}")
    return _first(lines)


def _order(detail: Mapping[str, Any]) -> list[str]:
    """What somebody ordered from the catalogue."""
    order = detail.get("order")
    lines = []
    for each in _objects(order.get("product_items") if isinstance(order, dict) else None):
        price = " ".join(filter(None, [_said(each.get("item_price")), _text(each.get("currency"))]))
        what = f"{_said(each.get('quantity')) or 1} × {_said(each.get('product_retailer_id'))}"
        lines.append(f"{what} ({price} each)" if price else what)
    return _first(lines)


def _flow(detail: Mapping[str, Any]) -> list[str]:
    """What somebody entered into a form (a flow)."""
    answers = detail.get("flow_response")
    given = answers.items() if isinstance(answers, dict) else ()
    lines = [
        f"{name}: {said}" for name, each in given if name != "flow_token" and (said := _said(each))
    ]
    return _first(lines)


def _chosen(detail: Mapping[str, Any]) -> list[str]:
    """The answers of a flow, or whether we may call; the label of a button is in the text."""
    interactive = detail.get("interactive")
    reply = interactive.get("call_permission_reply") if isinstance(interactive, dict) else None
    wish = _text(reply.get("response")) if isinstance(reply, dict) else ""
    return [*([f"Calls by WhatsApp: {wish}"] if wish else []), *_flow(detail)]


def _why_not(detail: Mapping[str, Any]) -> list[str]:
    """WhatsApp's words on a message that it does not pass on."""
    why = _text(detail.get("error_message"))
    return [why] if why else []


_CONTENTS = {
    "contacts": _contacts,
    "order": _order,
    "interactive": _chosen,
    "unsupported": _why_not,
}


def _first(lines: list[str]) -> list[str]:
    """The first lines, and how many more there are."""
    more = len(lines) - _LINES
    return [*lines[:_LINES], f"and {more} more"] if more > 0 else lines


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _said(value: object) -> str:
    """One or several texts or numbers, on one line."""
    given = value[:_LINES] if isinstance(value, list) else [value]
    plain = [each for each in given if isinstance(each, (str, int, float))]
    return ", ".join(str(each)[:200] for each in plain)


def _is_of_the_web(url: str) -> bool:
    try:
        return urlsplit(url).scheme in ("http", "https")
    except ValueError:
        return False


def _show(kind: str) -> str:
    if kind in _IMAGES:
        return "image"
    major = kind.partition("/")[0]
    return major if major in ("audio", "video") and kind in kinds.INLINE else "link"


def _size(value: object) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST:
        return None
    if value < 1000:
        return f"{value} B"
    if value < 1_000_000:
        return f"{value / 1000:.0f} kB"
    return f"{value / 1_000_000:.1f} MB"


def _text(value: object) -> str:
    return value[:_LONGEST].strip() if isinstance(value, str) else ""
