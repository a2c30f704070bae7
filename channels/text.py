"""The characters of a text: how many UTF-16 code units, and which cannot be sent."""

from __future__ import annotations

import re
import unicodedata

_BEYOND = re.compile("[\U00010000-\U0010ffff]")
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")


def units(text: str) -> int:
    """How many UTF-16 code units a text has: providers count a character beyond U+FFFF as two."""
    return len(text) if text.isascii() else len(text) + len(_BEYOND.findall(text))


def is_sendable(text: str) -> bool:
    """Whether a text contains neither NUL nor half a surrogate pair."""
    return _UNSENDABLE.search(text) is None


def is_control(character: str) -> bool:
    """Whether a character is not allowed in a mail header or the name of a file."""
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
