"""Who wrote a mail: the mailbox of its From (RFC 5322 §3.4), which a name must not pass for.

A name may look like an address, be it encoded (RFC 2047) or without quotation marks. Whoever
checks a mail's origin (DMARC) looks at the address behind it, and so do we.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

CHARACTERS: Final = 16 * 2**10
_PIECE = re.compile(r'\\.|[^"()<>,;\\]+|.', re.DOTALL)
_ROUTE = re.compile(r"\s*@[^:]*:")
_ADDRESS = re.compile(r"[^@\s]{1,320}@[^@\s]{1,320}")
_ENCLOSED = re.compile(r"<[^<>\s]{1,320}@[^<>\s]{1,320}>")


def author(text: str, *, is_decoded: bool) -> tuple[str, str]:
    """Name of a From, and its mailbox as it is written there; both "" where there is none.

    Of several authors the first. Of a header that somebody has decoded nobody knows which commas
    are a name's: there the last mailbox in <> counts, as names stand before theirs.
    """
    text = text[:CHARACTERS]
    found = next(_authors(text, is_decoded=is_decoded), None)
    if found is None:  # behind a quotation mark that nothing closes, say
        enclosed = next(iter(_ENCLOSED.findall(text)), "")
        return "", enclosed if enclosed and is_sole(enclosed, text) else ""
    return found


def is_sole(mailbox: str, text: str) -> bool:
    """Whether a mailbox stands in a text, and no other there has a domain, in whatever way."""
    before, found, behind = text.partition(mailbox)
    return found != "" and "." not in f"{before} {behind}".partition("@")[2]


def _authors(text: str, *, is_decoded: bool) -> Iterator[tuple[str, str]]:
    """Each author's name, or comment, and mailbox: what is in <>, else all of it.

    What nothing closes ends where the text does.
    """
    name = plain = comment = inside = enclosed = mode = ""
    depth = 0
    for piece in [*_PIECE.findall(text), ""]:
        if mode == '"' and piece:
            mode = "" if piece == '"' else mode
            name += piece.removeprefix("\\") if mode else ""
            plain += piece
        elif mode == "(" and piece:
            depth += (piece == "(") - (piece == ")")
            mode = mode if depth else ""
            comment += piece if mode else ""
        elif mode == "<" and piece == ">":
            mode, enclosed = "", _mailbox(inside) or enclosed
        elif mode == "<" and piece:
            inside = "" if piece == "<" else inside + piece
        elif piece == "" or (piece in ",;" and not is_decoded):
            if mode == "<":
                enclosed = _mailbox(next(iter(inside.split()), "")) or enclosed
            if enclosed or (mode != '"' and "@" in plain):
                told, alone = (name, "") if enclosed else _alone(plain)
                yield " ".join((told or comment).split()), enclosed or alone
            name = plain = comment = inside = enclosed = ""
        elif piece in {'"', "(", "<"}:
            mode, depth, inside = piece, 1, ""
            plain += piece if piece == '"' else ""
        else:
            name += piece
            plain += piece


def _alone(plain: str) -> tuple[str, str]:
    """A mailbox without <>, apart from a name before it, if it is clear which is which.

    Of what stands behind it, and of a dot beside it, others make a part of it (RFC 5322 §4.4).
    """
    *before, last = plain.split()
    is_apart = _ADDRESS.fullmatch(last) and not (last[0] == "." or "".join(before).endswith("."))
    if not is_apart or plain.count("@") > 1 or '"' in plain:
        return "", plain.strip()
    return " ".join(before), last


def _mailbox(inside: str) -> str:
    """What is in <>, without the route to it of old (RFC 5322 §4.4); "" where there is none."""
    return f"<{_ROUTE.sub('', inside, count=1)}>" if "@" in inside else ""
