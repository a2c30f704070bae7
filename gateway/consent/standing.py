"""How we stand with a recipient, in words and rows that accept and dispatch share."""

from __future__ import annotations

from uuid import UUID

from channels import email
from channels.model import Channel
from gateway import addresses
from gateway.parts import mail_id
from gateway.store.suppressions import Written

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
