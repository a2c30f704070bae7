"""The authors of inbound messages: addresses, contact, and the message that is answered."""

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

# Types of messages in which WhatsApp itself tells something about a person or an earlier message:
# they open no window. "request_welcome" does: somebody has opened the chat, and not written yet.
# https://developers.facebook.com/docs/whatsapp/cloud-api/phone-numbers/conversational-components
_NOT_WRITTEN = ("system", "unsupported", "edit", "revoke")
# The code of "unsupported" for a message that only the WhatsApp Business app shows; its other code
# also stands for a pinned message, for example.
# https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messages/unsupported/
_UNAVAILABLE = "131060"

# By kind, lead or client; and those by `addresses.identity` of their addresses.
Owner = Mapping[str, UUID | None]
Owners = Mapping[str, Owner]

_NOBODY: Final[Owner] = {"lead": None, "client": None}


def place(
    own_id: UUID,
    message: Inbound,
    known: Owners,
    answered: Answered | None,
) -> Place:
    """What determines the conversation of an inbound message: its author, not what it answers.

    Anybody may answer a mail that was forwarded to them: that does not make them the same person.
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
    """All known addresses of the author: WhatsApp has user ids beside numbers, and announces new
    ones."""
    user_id, new = (_text(message.detail.get(name)) for name in ("user_id", "new_address"))
    known_as = [user_id] if whatsapp.is_user_id(user_id) else []
    if message.channel is Channel.WHATSAPP and new:
        known_as.append(new)
    if answered is not None and _hides_number(message, answered):
        known_as.append(answered.to_address)
    return list(dict.fromkeys([message.from_address, *known_as]))


def person(message: Inbound, answered: Answered | None, before: datetime | None) -> list[Person]:
    """The author with all addresses; none if WhatsApp announces a new one, because there is also a
    `Renamed` for that."""
    if message.detail.get("type") == "system":
        return []
    return [Person(_own_addresses(message, answered), before)]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def owners(known: Sequence[Mapping[str, Any]]) -> Owners:
    """By address, the newest lead and the newest client who have it; `known` is newest first."""
    found: dict[str, dict[str, UUID | None]] = {}
    for row in reversed(known):
        for each in addresses.identities(row, row["country"]):
            found.setdefault(each, dict(_NOBODY))[row["kind"]] = row["id"]
    return found


def owner(message: Inbound, known: Owners) -> Owner:
    """The lead and the client who have the sender's address."""
    return known.get(addresses.identity(message.from_address), _NOBODY)


def written(message: Inbound, answered: Answered | None) -> list[Written]:
    """Records that they wrote, for WhatsApp's window and the threads of e-mails.

    An e-mail joins the thread of the one that it answers, though it may have come to our reply
    address, or from another address of theirs. WhatsApp's window opens for all their addresses.
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
    """The messages that an inbound one may answer: our ids, and provider's ids, nearest first.

    Before the @ of a Message-ID is our own id, or, if the provider replaces it, the provider's.
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
    """Whether the author is who we wrote to: anybody can name a message of ours."""
    other = (
        answered.to_address if answered.direction == Direction.OUTBOUND else answered.from_address
    )
    if _hides_number(message, answered):
        return True
    return addresses.key(message.channel, other) == addresses.key(
        message.channel, message.from_address
    )


def _hides_number(message: Inbound, answered: Answered) -> bool:
    """Whether an author whom WhatsApp names only by user id answers a message to their number.

    It is WhatsApp that says which message is answered, and nobody else got that message.
    """
    return (
        message.channel is Channel.WHATSAPP
        and whatsapp.is_user_id(message.from_address)
        and answered.direction == Direction.OUTBOUND
        and answered.to_address.startswith("+")
    )
