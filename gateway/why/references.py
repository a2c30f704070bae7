"""What somebody may mean by a text that they have found somewhere: ids, or an address."""

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
    """Ids of ours, ids of providers, and addresses as they are stored; the likeliest first."""

    ids: tuple[UUID, ...] = ()
    external_ids: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def reference(text: str, countries: Sequence[str | None] = (None,)) -> Reference:
    """Read a text as every one of them; `countries` are where a national number may be from.

    A Message-ID comes with and without <>, and before its @ is our id, or the provider's. SendGrid
    shows its own with more behind a point.
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
    # As it is written: a short code, a WhatsApp user id, a number in a form that nobody dials.
    bare = re.sub(r"[\s().\-/]", "", written) if written.startswith("+") else written
    return tuple(dict.fromkeys(each for each in (*numbers, bare) if each))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
