"""How we stand with a recipient, in words and rows that accept and dispatch share."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from channels import email, whatsapp
from channels.model import Channel
from gateway import addresses
from gateway.parts import mail_id
from gateway.store import suppressions
from gateway.store.database import Connection
from gateway.store.suppressions import Pair, Written

REASONS = {
    "stop": "has asked for no more messages on this channel (STOP)",
    "hard_bounce": "does not exist: a message to it came back",
    "complaint": "has complained about a message",
    "unsubscribe": "has unsubscribed",
    "manual": "was put on the list of addresses not to write to",
}


def written(message_id: UUID, from_address: str, to_address: str, subject: str | None) -> Written:
    """An e-mail of ours, as later ones to the same person on the same subject refer to it."""
    return Written(
        channel=Channel.EMAIL,
        their_address=addresses.key(Channel.EMAIL, to_address),
        our_address=addresses.key(Channel.EMAIL, from_address),
        topic=email.topic(subject) if subject else "",
        mail_id=mail_id(message_id, from_address),
    )


def group(account_id: UUID, name: str | None) -> str:
    """What is said by one account of a provider's, of all its mails or those of one stream."""
    return f"{account_id}:{name}" if name else str(account_id)


async def window_until(
    db: Connection, organization_id: UUID, their_address: str, our_address: str
) -> datetime | None:
    """Until when WhatsApp takes free text from one address to the other; None if it does not."""
    pair = Pair(
        channel=Channel.WHATSAPP,
        addresses=addresses.forms(Channel.WHATSAPP, their_address),
        our_address=addresses.key(Channel.WHATSAPP, our_address),
    )
    (found,) = await suppressions.standing(db, organization_id, [pair])
    until = found.last_inbound_at + whatsapp.WINDOW if found.last_inbound_at else None
    return until if until and until > datetime.now(UTC) else None
