"""The author of a mail: the mailbox in its From (RFC 5322 §3.4), which must not be confused with a
name.

The server that checked the mail's origin (DMARC) may parse a From in another way than we do. So
only two kinds are believed: one that is well-formed as it is, and one that names the same single
mailbox in every way in which it can be parsed. A name may look like an address, encoded (RFC 2047),
in the seven bits of ISO-2022-JP, or behind a quotation mark that is never closed.
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
# A host name in the DNS: no top-level domain begins with a digit, unlike much text in ISO-2022-JP.
_HOST = re.compile(rf"\s*{_ATOM}(?:\s*\.\s*{_ATOM})+")
_TOP = re.compile(r"[a-zA-Z\x80-\U0010ffff]")
_NO_LOCAL = re.compile(r'[\x00-\x20\x7f\s@<>()\[\]",;:\\]')
_COMMENT = re.compile(r"\([^()]*\)")
# What stands behind a domain, and may belong to it.
_GOES_ON = re.compile(r"\A\s*\.\s*\S|\w\.\w")
_APART = re.compile("[<,;\x1b]")
# Collapsed first: two adjacent patterns that match blanks would try every way to divide them.
_BLANKS = re.compile(r"(\s)\s+")
_NO_NAME = re.compile(r'[()"<>\\]|mailto:')


def author(text: str, *, is_decoded: bool) -> tuple[str, str]:
    """The name in a From, and its mailbox without <>; both "" if there is none.

    The first of several authors. In a header that was decoded before, it is not known which commas
    and quotation marks belong to a name: there the address in <> at the end counts.
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
    """The first author by RFC 5322; None if quotes, comments or <> violate it."""
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
    """The name of one element of the list, or else its comment; and its mailbox."""
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
    """Quoted strings, comments, <>, commas and the text between; None if one is not closed."""
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
    """The end of a comment, which may contain others."""
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
    """The mailbox in a text, if it is the same one in every way in which the text can be read."""
    japanese, plain = shifted(text), decoded(text)
    written = _named(_SHIFT.sub("\x1b", text))
    # A mailbox within an encoded word counts only if there is no other @.
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
    """Everything that may be a mailbox with a domain in the DNS, and whether it is clear where it
    begins and ends: a parser that removes blanks or comments might read another one."""
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
    """A name without characters of structure."""
    return " ".join(_NO_NAME.sub(" ", text).split()).strip(" ,;[]-")
