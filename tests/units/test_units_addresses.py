"""Which channel can go to which stored address."""

from __future__ import annotations

import pytest

from channels.model import Channel
from gateway.addresses import fits

NUMBERS = {Channel.SMS, Channel.WHATSAPP, Channel.CALL}


@pytest.mark.parametrize(
    ("address", "channels"),
    [
        ("ada@example.com", {Channel.EMAIL}),
        ("+15551230001", NUMBERS),
        ("GB.1234567890123", {Channel.WHATSAPP}),
        ("+5215512345678", {Channel.WHATSAPP}),
        ("24000", set()),
        ("Acme", set()),
        ("+Ada@example.com", {Channel.EMAIL}),
        ("", set()),
    ],
)
def test_channels_of_an_address(address: str, channels: set[Channel]) -> None:
    """Mail goes to mailboxes, all else to numbers, and WhatsApp alone to its own user ids."""
    assert {channel for channel in Channel if fits(channel, address)} == channels
