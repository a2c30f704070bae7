"""Callers who hide their number: all of them get one name.

Their words are those of https://datatracker.ietf.org/doc/html/rfc3323, or numbers that spell such a
word on the keys of a phone (https://help.twilio.com/articles/223179988).
"""

from __future__ import annotations

import re
from typing import Final

ANONYMOUS: Final = "anonymous"

_NOWHERE: Final = re.compile(r"sips?:([^@]*@)?anonymous\.invalid([:;?].*)?", re.IGNORECASE)
_SIP_USER: Final = re.compile(r"sips?:([^@:;]*)[^@]*@.*", re.IGNORECASE)
# Without their +, which may be missing.
_HIDDEN: Final = frozenset(
    {
        "", ANONYMOUS, "restricted", "blocked", "unknown", "unavailable", "private",
        "266696687", "7378742833", "2562533", "8656696", "86282452253",
    }
)  # fmt: skip


def seen(caller: str) -> str:
    """A caller's address, or `ANONYMOUS` if it is hidden."""
    sip = _SIP_USER.fullmatch(caller)
    name = (sip[1] if sip else caller).removeprefix("+").lower()
    return ANONYMOUS if name in _HIDDEN or _NOWHERE.fullmatch(caller) else caller
