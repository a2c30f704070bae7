"""What an SMS can hold: the alphabets of GSM 03.38, UCS-2, and how many segments a text takes.

The alphabets: https://www.etsi.org/deliver/etsi_ts/123000_123099/123038/
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from channels import filenames
from channels.errors import ContentError, raise_all, tried
from channels.model import Attachment, Content
from channels.text import is_sendable, units

CHARACTERS = 1600
"""Twilio's limit for a body (https://www.twilio.com/docs/api/errors/21617).

How it counts is not documented; we count UTF-16 code units, the stricter reading, so that what
we accept is accepted there.
"""

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = frozenset("\f^{}\\[~]|€")
_GSM_SINGLE, _GSM_PART = 160, 153
_UCS_SINGLE, _UCS_PART = 70, 67


@dataclass(frozen=True, kw_only=True, slots=True)
class Segments:
    """How a text is sent: `characters` in UTF-16 code units, `forced_by` the first non-GSM one."""

    encoding: Literal["GSM-7", "UCS-2"]
    segments: int
    characters: int
    forced_by: str | None


def measure(text: str) -> Segments:
    """The encoding of a text, its number of segments, and the character that forces UCS-2."""
    forced_by = next((c for c in text if c not in _BASIC and c not in _EXTENSION), None)
    characters = units(text)
    if forced_by is None:
        segments = _count((2 if c in _EXTENSION else 1 for c in text), _GSM_SINGLE, _GSM_PART)
        return Segments(encoding="GSM-7", segments=segments, characters=characters, forced_by=None)
    segments = _count((2 if c > "\uffff" else 1 for c in text), _UCS_SINGLE, _UCS_PART)
    return Segments(encoding="UCS-2", segments=segments, characters=characters, forced_by=forced_by)


def compose(text: str, attachments: Sequence[Attachment] = ()) -> Content:
    """The content of an SMS or MMS; raises `ContentError` with everything that is wrong."""
    wrong: list[ContentError] = []
    tried(wrong, _check_text, text, attachments)
    tried(wrong, filenames.check_all, attachments)
    raise_all(wrong)
    return Content(body=text, attachments=tuple(attachments))


def _check_text(text: str, attachments: Sequence[Attachment]) -> None:
    if len(text) > CHARACTERS:  # first, because the other checks read every character
        raise _too_long(len(text))
    if not text.strip() and not attachments:
        raise ContentError("body", "The text is empty.")
    if not is_sendable(text):
        raise ContentError("body", "The text holds a character that cannot be sent.")
    characters = units(text)
    if characters > CHARACTERS:
        raise _too_long(characters)


def letters(text: str) -> str:
    """The letters, digits and symbols of a text, without quotation marks, dashes and spaces: these
    are kept if a provider converts a text to GSM-7."""
    kept = ("Lu", "Ll", "Lt", "Lo", "Mn", "Mc", "Nd", "Nl", "No", "So")
    whole = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in whole if unicodedata.category(letter) in kept)


def _too_long(characters: int) -> ContentError:
    return ContentError(
        "body", f"The text has {characters} characters; an SMS holds at most {CHARACTERS}."
    )


def _count(sizes: Iterable[int], single: int, part: int) -> int:
    """How many segments characters of these sizes take; no part ends within a character."""
    total, parts, room = 0, 0, 0
    for size in sizes:
        total += size
        if size > room:
            parts += 1
            room = part
        room -= size
    return min(parts, 1) if total <= single else parts
