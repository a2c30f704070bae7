"""Who wrote an inbound message: their addresses, their contact, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from channels import email, whatsapp
from channels.model import Channel, Direction
from gateway import addresses
from gateway.store.conversations import Place
from gateway.store.suppressions import Answered, Person, Written
from webhooks.model import Inbound

# What WhatsApp tells of a person, or of an earlier message: it opens no window, which
# "request_welcome" does, where somebody has opened the chat and written nothing yet.
# https://developers.facebook.com/docs/whatsapp/cloud-api/phone-numbers/conversational-components
_NOT_WRITTEN = ("system", "unsupported", "edit", "revoke")
# For a message that only the WhatsApp Business app has; the other code of "unsupported" also stands
# for a pinned message, for example.
# https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/unsupported/
_UNAVAILABLE = "131060"

# By kind, lead or client; and by `addresses.identity` of what is theirs.
Owner = Mapping[str, UUID | None]
Owners = Mapping[str, Owner]

_NOBODY: Final[Owner] = {"lead": None, "client": None}


def place(
    own_id: UUID,
    message: Inbound,
    known: Owners,
    answered: Answered | None,
) -> Place:
    """What tells the conversation of an inbound message: who wrote it, not what it answers.

    Anybody may answer a mail that was sent on to them: that does not make them the same person.
    """
    contact = owner(message, known)
    return Place(
        seed=own_id,
        addresses=_own_addresses(message, answered),
        lead_id=contact["lead"],
        client_id=contact["client"],
        name=_text(message.detail.get("ProfileName")) or _text(message.detail.get("from_name")),
    )


def _own_addresses(message: Inbound, answered: Answered | None) -> list[str]:
    """All addresses that the one who wrote is known by: WhatsApp has user ids beside numbers, and
    tells of new ones."""
    user_id, new = (_text(message.detail.get(name)) for name in ("user_id", "new_address"))
    known_as = [user_id] if whatsapp.is_user_id(user_id) else []
    if message.channel is Channel.WHATSAPP and new:
        known_as.append(new)
    if answered is not None and _hides_number(message, answered):
        known_as.append(answered.to_address)
    return list(dict.fromkeys([message.from_address, *known_as]))


def person(message: Inbound, answered: Answered | None, before: datetime | None) -> list[Person]:
    """The one who wrote, with all their addresses; not where WhatsApp tells of new ones, of which
    a `Renamed` of its own tells, too."""
    if message.detail.get("type") == "system":
        return []
    return [Person(_own_addresses(message, answered), before)]


def _text(told: object) -> str:
    return told if isinstance(told, str) else ""


def owners(known: Sequence[Mapping[str, Any]]) -> Owners:
    """Of each address of leads and clients, which are newest first, the newest ones who have it."""
    found: dict[str, dict[str, UUID | None]] = {}
    for row in reversed(known):
        for each in addresses.identities(row, row["country"]):
            found.setdefault(each, dict(_NOBODY))[row["kind"]] = row["id"]
    return found


def owner(message: Inbound, known: Owners) -> Owner:
    """The lead and the client whose own address the sender's is."""
    return known.get(addresses.identity(message.from_address), _NOBODY)


def written(message: Inbound, answered: Answered | None) -> list[Written]:
    """That they wrote: what WhatsApp's window and the threads of e-mails are known from.

    An e-mail belongs to the thread of the one that it answers: it may have come to our reply
    address, and from another one of theirs. On WhatsApp the window opens for all their addresses.
    """
    is_kept = message.channel in (Channel.EMAIL, Channel.WHATSAPP)
    is_hidden = message.detail.get("error_code") == _UNAVAILABLE
    if not is_kept or (message.detail.get("type") in _NOT_WRITTEN and not is_hidden):
        return []
    is_mail = message.channel is Channel.EMAIL
    theirs, ours = _own_addresses(message, answered), message.to_address
    if is_mail and answered is not None and answered.direction == Direction.OUTBOUND:
        theirs, ours = [answered.to_address], answered.from_address
    return [
        Written(
            channel=message.channel,
            their_address=addresses.key(message.channel, address),
            our_address=addresses.key(message.channel, ours),
            topic=email.topic(message.subject or "") if is_mail else "",
            inbound_at=min(message.occurred_at or datetime.now(UTC), datetime.now(UTC)),
            mail_id=message.external_id if is_mail else None,
        )
        for address in theirs
    ]


def candidates(message: Inbound) -> tuple[list[UUID], list[str]]:
    """What an inbound message says that it answers: our ids, and a provider's, the nearest first.

    Our Message-IDs have our id before the @; a provider that gives its own has its id there.
    """
    ids: list[UUID] = []
    external: list[str] = [message.quotes] if message.quotes else []
    for reference in message.references:
        local = reference.partition("@")[0]
        external += [reference, local]
        try:
            ids.append(UUID(local))
        except ValueError:
            continue
    return ids, external


def is_theirs(message: Inbound, answered: Answered) -> bool:
    """Whether the one who answers is the one who was written to: anybody can name a message."""
    other = (
        answered.to_address if answered.direction == Direction.OUTBOUND else answered.from_address
    )
    if _hides_number(message, answered):
        return True
    return addresses.key(message.channel, other) == addresses.key(
        message.channel, message.from_address
    )


def _hides_number(message: Inbound, answered: Answered) -> bool:
    """Whether one whom WhatsApp names by user id alone answers what we sent to their number.

    WhatsApp says what is answered, not the person, and nobody else was sent it.
    """
    return (
        message.channel is Channel.WHATSAPP
        and whatsapp.is_user_id(message.from_address)
        and answered.direction == Direction.OUTBOUND
        and answered.to_address.startswith("+")
    )
