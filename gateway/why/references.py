"""What a text that somebody looks up may refer to: ids, or an address."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from channels import email, phone

_LONGEST = 1000
_SCHEMES = ("whatsapp:", "mailto:", "tel:", "sms:")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Our ids, ids of providers, and addresses as they are stored; the likeliest of each first."""

    ids: tuple[UUID, ...] = ()
    external_ids: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def reference(text: str, countries: Sequence[str | None] = (None,)) -> Reference:
    """All that a text may refer to; `countries` are those of a national number.

    A Message-ID may be given with or without <>, and has our id, or the provider's, before its @.
    SendGrid shows its ids with a point and more characters appended.
    """
    text = text.strip()[:_LONGEST].replace("\x00", "")
    bare = text.removeprefix("<").removesuffix(">")
    local = bare.partition("@")[0]
    external = dict.fromkeys([text, bare, local, bare.partition(".")[0]])
    return Reference(
        ids=tuple(dict.fromkeys(found for part in (bare, local) if (found := _uuid(part)))),
        external_ids=tuple(each for each in external if each),
        addresses=_addresses(text, countries),
    )


def _addresses(text: str, countries: Sequence[str | None]) -> tuple[str, ...]:
    written = text
    for scheme in _SCHEMES:
        if written.lower().startswith(scheme):
            written = written[len(scheme) :].strip()
    named = re.fullmatch(r"[^<>]*<([^<>\s]+@[^<>\s]+)>", written)
    if named:
        written = named[1]
    if "@" in written:
        return (email.key(email.to_mailbox(written) or written),)
    numbers = [phone.to_e164(written, country) for country in (None, *countries)]
    # Also unchanged: it may be a short code, a WhatsApp user id, or a number in an unusual form.
    bare = re.sub(r"[\s().\-/]", "", written) if written.startswith("+") else written
    return tuple(dict.fromkeys(each for each in (*numbers, bare) if each))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
