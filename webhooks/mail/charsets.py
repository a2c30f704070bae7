"""The charsets of mails: what they name, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from webhooks import values
from webhooks.mail import japanese
from webhooks.values import codec

# As `decode` compares names.
NOT_CHARSETS = frozenset(each.replace("-", "") for each in values.NOT_CHARSETS)
# Text labelled as ASCII or Latin-1 is UTF-8 or Windows-1252, and other labels stand for larger
# charsets (https://encoding.spec.whatwg.org/#names-and-labels): always (WINDOWS), or if the named
# one cannot decode the bytes (LARGER).
GUESSED: Final = frozenset(
    {"", "iso88591", "latin1", "usascii", "ascii", "ansix341968", "iso646us", "646", "utf8"}
)
WINDOWS: Final = {
    **dict.fromkeys(("iso88599", "latin5"), "cp1254"),
    **dict.fromkeys(("tis620", "iso885911", "windows874"), "cp874"),
    # Names that Python does not know (most are in the same standard).
    "windows936": "gb18030",
    "xbig5": "big5hkscs",
    "xmacroman": "mac_roman",
    **dict.fromkeys(("xmaccyrillic", "xmacukrainian"), "mac_cyrillic"),
    **dict.fromkeys(("xmacce", "xmaccentraleurroman"), "mac_latin2"),
    **{f"xmac{each}": f"mac_{each}" for each in ("greek", "turkish", "croatian", "romanian")},
}
CODE_PAGE: Final = re.compile(r"x?(?:cp|windows)([0-9]{3,5})")
LARGER: Final = {
    **dict.fromkeys(("gb2312", "gbk", "xgbk", "euccn", "csgb2312"), "gb18030"),
    **dict.fromkeys(("shiftjis", "sjis", "xsjis", "mskanji", "windows31j"), "cp932"),
    **dict.fromkeys(("euckr", "ksc56011987", "ksc5601", "windows949"), "cp949"),
    **dict.fromkeys(("iso88598i", "iso88598e"), "iso8859-8"),
    **dict.fromkeys(("big5", "cnbig5", "xxbig5", "csbig5"), "big5hkscs"),
}
EUC_JP: Final = frozenset({"eucjp", "xeucjp", "xeuc", "ujis", "cseucpkdfmtjapanese"})
# The charset that a page names itself.
PAGE: Final = re.compile(
    rb"""<meta\s[^>]{0,200}?charset\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE
)


def of_page(page: bytes) -> str | None:
    """The charset that HTML itself names at its beginning, if these bytes can be in that charset.

    https://html.spec.whatwg.org/multipage/parsing.html#determining-the-character-encoding
    """
    found = PAGE.search(page[:4096])
    named = found[1].decode() if found else None
    try:
        is_readable = named is not None and b"<meta".decode(codec(named)) == "<meta"
    except LookupError:  # Python has not all names
        is_readable = True
    except UnicodeError:  # it would take more bytes for a character
        is_readable = False
    return named if is_readable else None


def decode(data: bytes, charset: str | None) -> str:
    """Bytes as text in the named charset, else in the likeliest one."""
    named = (charset or "").partition("*")[0]
    name = re.sub(r"[^a-z0-9]", "", named.lower())
    is_own = re.fullmatch(r"[\w.:-]{1,40}", named, re.ASCII) and name not in NOT_CHARSETS
    if is_own and name not in GUESSED:
        with suppress(LookupError, ValueError):
            return data.decode(codec(_known(name, named, WINDOWS)))
        if not _is_utf_8(data):
            if name in EUC_JP:
                return japanese.euc_jp(data)
            with suppress(LookupError):
                return data.decode(codec(_known(name, named, WINDOWS | LARGER)), "replace")
    return _guessed(data)


def _known(name: str, named: str, known: Mapping[str, str]) -> str:
    page = CODE_PAGE.fullmatch(name)
    return known.get(name) or (f"cp{page[1]}" if page else named)


def unlabelled(data: bytes, charset: str | None) -> str:
    """Bytes without a charset, such as a file name, beside a text with this one: UTF-8 or that."""
    name = re.sub(r"[^a-z0-9]", "", (charset or "").lower())
    if data.isascii() or name in GUESSED or name in NOT_CHARSETS or _is_utf_8(data):
        return _guessed(data)
    # Windows writes file names in cp932, whatever the charset of the mail.
    japanese = ("cp932",) if name.startswith("iso2022jp") or name in EUC_JP else ()
    for each in (_known(name, charset or "", WINDOWS | LARGER), *japanese):
        with suppress(LookupError, ValueError):
            return data.decode(codec(each))
    return _guessed(data)


def piece(text: str, data: bytes, charset: str | None) -> str:
    """A piece of a header that was decoded without a charset, decoded in that of the text."""
    try:
        return text if _is_utf_8(data) else unlabelled(text.encode("cp1252"), charset)
    except UnicodeEncodeError:  # a byte that Windows-1252 does not have was lost
        return text


def _guessed(data: bytes) -> str:
    """As UTF-8 if that decodes more than it loses: one bad byte must not spoil all others."""
    if data.isascii() and japanese.is_iso_2022_jp(data):
        return japanese.iso_2022_jp(data)
    text = data.decode(errors="replace")
    lost = text.count("\ufffd")
    read = len(text) - len(text.encode("ascii", "ignore")) - lost
    return text if read > lost or not lost else data.decode("cp1252", "replace")


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
