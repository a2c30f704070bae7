"""Who wrote a mail: the mailbox of its From (RFC 5322 §3.4), which a name must not pass for.

Whoever checks a mail's origin (DMARC) may read a From in another way than we do, so only two are
believed: one that is well-formed as its bytes stand, and one that names a single mailbox in every
way that it can be read. A name may look like an address, be it encoded (RFC 2047), in the seven
bits of ISO-2022-JP, or behind a quotation mark that nothing closes.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Final

from channels.email import to_mailbox
from webhooks.mail.headers import WORD, decoded, shifted

CHARACTERS: Final = 4 * 2**10
_ATOM: Final = r'[^\x00-\x20\x7f\s@<>()\[\]",;:.\\]+'
_DOMAIN: Final = rf"{_ATOM}(?:\s*\.\s*{_ATOM})*"
_LOCAL: Final = r'[^\x00-\x20\x7f\s@<>()\[\]",;:\\]'
# Blanks around its dots are those of RFC 822. In the local part they would be a sentence's.
_ADDRESS: Final = (
    rf'(?P<local>"(?:[^"\\]|\\.)*+"|{_LOCAL}++)\s*@\s*'
    rf"(?P<domain>{_DOMAIN}|\[[^\[\]\x00-\x20]*\])\s*\.?\s*"
)
_BARE = re.compile(rf"(?P<group>[^:@]*+:)?\s*{_ADDRESS}", re.DOTALL)
_INSIDE = re.compile(rf"\s*(?:@[^:]*:)?\s*{_ADDRESS}", re.DOTALL)  # behind a route of old (§4.4)
_ENCLOSED = re.compile(r"([^<>]*)<([^<>]*)>\s*")
_QUOTES: Final = r'"(?:[^"\\]|\\.)*+"'
_QUOTED = re.compile(_QUOTES, re.DOTALL)
_PIECE = re.compile(rf'{_QUOTES}|<(?:[^<>"]|{_QUOTES})*+>|[^"(<\\,;]+|[,;]', re.DOTALL)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)
_STRUCTURE = re.compile(r'["(),:;<>@\\]')
_SHIFT = re.compile(r"\x1b(?:\$[@B]|\([BIJ])")
# One of the DNS: no top-level domain begins with a digit, as many bytes of Japanese do.
_HOST = re.compile(rf"\s*{_ATOM}(?:\s*\.\s*{_ATOM})+")
_TOP = re.compile(r"[a-zA-Z\x80-\U0010ffff]")
_NO_LOCAL = re.compile(r'[\x00-\x20\x7f\s@<>()\[\]",;:\\]')
_COMMENT = re.compile(r"\([^()]*\)")
# What stands behind a domain, and may belong to it.
_GOES_ON = re.compile(r"\A\s*\.\s*\S|\w\.\w")
_APART = re.compile("[<,;\x1b]")
# However many blanks follow each other, they part what they part; two patterns that both take them
# would try every way to share them.
_BLANKS = re.compile(r"(\s)\s+")
_NO_NAME = re.compile(r'[()"<>\\]|mailto:')


def author(text: str, *, is_decoded: bool) -> tuple[str, str]:
    """Name of a From, and its mailbox without <>; both "" where there is none.

    Of several authors the first. Of a header that somebody has decoded nobody knows which commas
    and quotation marks are a name's: what is in <> at its end counts, as names stand before.
    """
    text = _BLANKS.sub(r"\1", text[:CHARACTERS])
    found = _enclosed(text) if is_decoded else _well_formed(text)
    return found or _only(text)


def _enclosed(text: str) -> tuple[str, str] | None:
    if bare := _BARE.fullmatch(text):
        return "", _mailbox(bare)
    found = _ENCLOSED.fullmatch(text)
    inside = _INSIDE.fullmatch(found[2]) if found else None
    return (_told(found[1]), _mailbox(inside)) if found and inside else None


def _well_formed(text: str) -> tuple[str, str] | None:
    """The first author by RFC 5322; None where quotes, comments or <> are not as it has them."""
    if any(_STRUCTURE.search(word[0]) for word in WORD.finditer(text)):
        return None  # an encoded word is an atom
    pieces = _pieces(text)
    if pieces is None:
        return None
    name = plain = comment = inside = ""
    for piece in [*pieces, ","]:
        if piece in {",", ";"}:
            if "@" in plain + inside:
                return _element(name, plain, comment, inside)
            name = plain = comment = inside = ""
        elif piece[0] == "(":
            comment += piece[1:-1]
        elif inside and piece.strip():
            return None  # nothing stands behind <>
        elif piece[0] == "<":
            inside = piece
        else:
            plain += piece
            name += re.sub(r"\\(.)", r"\1", piece[1:-1]) if piece[0] == '"' else piece
    return None


def _element(name: str, plain: str, comment: str, inside: str) -> tuple[str, str] | None:
    """The name of one element of the list, or else its comment, and its mailbox."""
    if inside:
        found = _INSIDE.fullmatch(inside[1:-1])
        told = name if name.strip() else comment
        atoms = _QUOTED.sub("", plain)
        if "@" in atoms and ":" in atoms:
            return None  # a group's name has no @
    else:
        found = _BARE.fullmatch(plain)
        told = (found["group"] if found else "") or comment
    return (" ".join(told.split()), _mailbox(found)) if found else None


def _pieces(text: str) -> list[str] | None:
    """Quoted strings, comments, <>, commas and what is between; None where one is not closed."""
    found: list[str] = []
    at = 0
    while at < len(text):
        piece = _comment(text, at) if text[at] == "(" else _PIECE.match(text, at)
        if piece is None:
            return None
        end = piece.end()
        found.append(text[at:end])
        at = end
    return found


def _comment(text: str, at: int) -> re.Match[str] | None:
    """The end of a comment, which may hold others."""
    depth = 0
    for each in _PARENTHESIS.finditer(text, at):
        depth += (each[0] == "(") - (each[0] == ")")
        if not depth:
            return each
    return None


def _mailbox(found: re.Match[str]) -> str:
    local, domain = found["local"], "".join(found["domain"].split())
    return f"{local}@{domain}"


def _only(text: str) -> tuple[str, str]:
    """The mailbox that a text names, if it is one and the same however the text is read."""
    japanese, plain = shifted(text), decoded(text)
    written = _named(_SHIFT.sub("\x1b", text))
    # One that only an encoded word names is none's but where no other @ is written.
    named = written if written or "@" in text else _named(plain)
    bare = [_COMMENT.sub("", each) for each in (japanese, plain)]
    every = [named, *map(_named, (japanese, plain, *bare))]
    mailbox = next(iter(named), "")
    is_sole = all(len(each.keys() | named.keys()) == 1 for each in every)
    if not (is_sole and all(each.get(mailbox, True) for each in every) and to_mailbox(mailbox)):
        return "", ""
    told = re.sub(re.escape(mailbox), " ", japanese if written else plain, flags=re.IGNORECASE)
    return _told(told), mailbox


def _named(text: str) -> dict[str, bool]:
    """All that may be a mailbox with a domain of the DNS, and whether it is clear where each ends:
    what stands beside it would make another of it to who takes blanks or comments out."""
    found: dict[str, bool] = {}
    parts = text.split("@")
    for number, (left, right) in enumerate(pairwise(parts)):
        host = _HOST.match(right)
        if host is None or _TOP.match(host[0].rpartition(".")[2].lstrip()) is None:
            continue
        local = _NO_LOCAL.split(left)[-1]
        before = "@" * (number > 0) + left.removesuffix(local)
        behind = right[host.end() :]
        mailbox = f"{local}@{''.join(host[0].split()).lower()}"
        is_enclosed = before.endswith("<") and behind.lstrip().startswith(">")
        is_apart = not before.rstrip().endswith((".", "@"))
        is_apart = is_apart and not _GOES_ON.search(_APART.split(behind, maxsplit=1)[0])
        is_whole = local != "" and len(host[0].split()) == 1 and not host[0][0].isspace()
        found[mailbox] = found.get(mailbox, True) and is_whole and (is_enclosed or is_apart)
    return found


def _told(text: str) -> str:
    """A name without what is structure, or was meant as such."""
    return " ".join(_NO_NAME.sub(" ", text).split()).strip(" ,;[]-")
