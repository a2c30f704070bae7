"""How many SMS a text takes, written from GSM 03.38 alone (https://www.twilio.com/docs/glossary/what-is-gsm-7-character-encoding)."""

from __future__ import annotations

_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("\f^{}\\[~]|€")


def segments(text: str) -> int:
    """The number of segments, at least 1: 160 or 153 septets each, else 70 or 67 UTF-16 units."""
    if all(character in _BASIC or character in _EXTENDED for character in text):
        return _count([2 if character in _EXTENDED else 1 for character in text], 160, 153)
    return _count([2 if ord(character) > 0xFFFF else 1 for character in text], 70, 67)


def _count(widths: list[int], alone: int, joined: int) -> int:
    if sum(widths) <= alone:
        return 1
    parts, used = 1, 0
    for width in widths:
        # An escape pair or a surrogate pair is never divided between two segments.
        if used + width > joined:
            parts, used = parts + 1, 0
        used += width
    return parts
