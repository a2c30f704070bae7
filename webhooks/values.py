"""Values of a provider in a form that can be stored: texts, JSON, times, our ids.

Everything is bounded, and no result contains NUL or lone surrogates, which PostgreSQL cannot store,
or numbers that other programs cannot read in JSON.
"""

from __future__ import annotations

import codecs
import encodings
import json
import math
import pkgutil
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from encodings import aliases
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs
from uuid import UUID

from channels.json_text import load
from webhooks.model import Unreadable

DETAILS: Final = 40
DETAIL_CHARACTERS: Final = 1000
# Of all details of a message, as JSON: enough for long orders and the answers of long forms.
KEPT_CHARACTERS: Final = 64_000
LONGEST_NUMBER: Final = 18
CHARSET_CHARACTERS: Final = 40
# Codecs of Python that are no charsets: they are slow, or decode something else than text.
NOT_CHARSETS: Final = frozenset(
    {"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape"}
)
_CODECS: Final = frozenset(aliases.aliases) | {
    module.name for module in pkgutil.iter_modules(encodings.__path__)
}

# Not 0, with which some say that they know no time.
_MOMENT = re.compile(r"[1-9][0-9]{0,10}(\.[0-9]{1,9})?")
_SIZED = (str, list, dict)
# A single parameter without encoded characters, as in our callback URLs.
_PLAIN = re.compile(r"[\w-]+=[\w-]+", re.ASCII)


@lru_cache(maxsize=256)
def codec(charset: str) -> str:
    """The name of Python's codec for a charset; raises `LookupError`.

    Python searches its folders for each name, and keeps it for ever, even one that it does not
    know: so it is not asked for those, of which a mail may have a million. No name is longer than
    `CHARSET_CHARACTERS`; "utf", a megabyte of hyphens, "8" would be kept here.
    """
    if len(charset) > CHARSET_CHARACTERS:
        raise LookupError("no codec has so long a name")
    name = encodings.normalize_encoding(charset).lower()
    if _CODECS.isdisjoint((name, name.replace(".", "_"))):
        raise LookupError("no codec has this name")
    return codecs.lookup(name).name


def decoded(value: bytes, charset: str = "utf-8", *, fallback: str = "utf-8") -> str:
    """Bytes as text that can be stored; if `charset` cannot decode them, `fallback` does."""
    try:
        name = codec(charset)
        text = value.decode("utf-8" if name in NOT_CHARSETS else name)
    except (LookupError, ValueError):
        text = value.decode(fallback, errors="replace")
    return stored(text)


def stored(text: str) -> str:
    """The text as PostgreSQL can store it: without NUL and lone surrogates."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "").encode(errors="replace").decode()


def read_json(body: bytes) -> object:
    """The JSON of a body; raises `Unreadable`.

    NaN, infinity, and numbers that are too long for other programs become texts, so that one such
    value does not spoil the rest. Of two members with the same name the last one counts.
    """
    text = body.decode("utf-8-sig", errors="replace")
    try:
        return load(text, parse_int=_integer, parse_float=_fraction, parse_constant=str)
    except ValueError as error:
        raise Unreadable("The body is not JSON.") from error


def read_object(body: bytes) -> Mapping[str, Any]:
    """The JSON object of a body; raises `Unreadable`."""
    given = read_json(body)
    if not isinstance(given, dict):
        raise Unreadable("The body is not a JSON object.")
    return given


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_NUMBER else digits[:DETAIL_CHARACTERS]


def _fraction(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits[:DETAIL_CHARACTERS]


def members(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object, most: int | None = None) -> list[Any]:
    """A JSON array, cut to `most` items, or an empty one in place of anything else."""
    return value[:most] if isinstance(value, list) else []


def word(value: object, length: int = DETAIL_CHARACTERS) -> str:
    """A text or number as one line of text, bounded; empty for anything else."""
    if isinstance(value, str):
        # Most ids, addresses and names are one word in which nothing has to be changed.
        if len(value) <= length and value.isascii() and value.isprintable() and " " not in value:
            return value
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    return " ".join(stored(str(value)[: 4 * length]).split())[:length]


def moment(value: object) -> datetime | None:
    """A time in seconds since 1970, from a number or text; None if it cannot be read."""
    digits = word(value, 32)
    if _MOMENT.fullmatch(digits) is None:
        return None
    return datetime.fromtimestamp(float(digits), UTC)


def our_id(value: object) -> UUID | None:
    """Our id of a message, as the provider returns it; None for anything else."""
    try:
        found = UUID(value) if isinstance(value, str) and len(value) == 36 else None
    except ValueError:
        return None
    # Not in another form (in braces, with dashes elsewhere), which we never gave.
    return found if found and str(found) == str(value).lower() else None


def our_id_in(mail_id: str | None) -> UUID | None:
    """Our id in a Message-ID of ours, where it is the local part."""
    return our_id((mail_id or "").partition("@")[0])


def in_query(url: str, name: str) -> str:
    """A parameter of a URL, empty if it is missing or there are several of that name."""
    query = url.partition("?")[2].partition("#")[0]
    if _PLAIN.fullmatch(query):
        given, _, value = query.partition("=")
        return value if given == name else ""
    try:
        values = parse_qs(query, max_num_fields=100).get(name, [])
    except ValueError:
        return ""
    return stored(values[0]) if len(values) == 1 else ""


def detail(given: Mapping[str, Any], *, leave_out: frozenset[str]) -> dict[str, Any]:
    """The rest of an event, under the provider's own names, bounded in number and length."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in leave_out or value is None or (not value and isinstance(value, _SIZED)):
            continue
        if len(found) == DETAILS:
            break
        found[_bounded_text(name, 64)] = _bounded(value)
    return found


def fitted(found: Mapping[str, Any], *, cut: Iterable[str] = ()) -> dict[str, Any]:
    """Details cut to `KEPT_CHARACTERS` together: of the largest ones only the beginning is kept.

    `left_out` names those, and those that were `cut` before.
    """
    kept, shortened = dict(found), set(cut)
    # Only if it may be too long: a character takes at most twice as much room in JSON as in `repr`.
    if 2 * len(repr(kept)) > KEPT_CHARACTERS:
        texts = {name: _written(value) for name, value in kept.items()}
        over = sum(len(text) for text in texts.values()) - KEPT_CHARACTERS
        for name, text in sorted(texts.items(), key=lambda each: -len(each[1])):
            if over <= 0 or len(text) <= DETAIL_CHARACTERS:
                break
            kept[name] = text[:DETAIL_CHARACTERS]
            over -= len(text) - DETAIL_CHARACTERS
            shortened.add(name)
    if shortened:
        kept["left_out"] = f"Too much to be kept whole: {', '.join(sorted(shortened))}."
    return kept


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _bounded_text(text: str, length: int) -> str:
    # A shortcut for nearly all texts.
    if len(text) <= length and text.isascii() and "\0" not in text:
        return text
    return stored(text[:length])


def _bounded(value: object) -> object:
    if isinstance(value, str):
        return _bounded_text(value, DETAIL_CHARACTERS)
    if isinstance(value, (int, float)):  # a bool is an int
        return value
    return stored(json.dumps(value, ensure_ascii=False)[:DETAIL_CHARACTERS])
