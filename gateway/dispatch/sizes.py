"""How large a request may be, and therefore how long it may take to be sent."""

from __future__ import annotations

from channels import email
from channels.leaving import seconds_more
from channels.model import Channel, Outbound
from gateway.store.queue import Claimed

# Bytes of a request for each byte of a file (in base64, at Amazon even twice) and for each
# character of a text (up to four bytes, each written with three characters).
_FILES, _TEXTS = 2, 12


def slow_seconds(outbound: Outbound) -> float:
    """How many more seconds than a small message this one may take."""
    content = outbound.content
    return seconds_more(
        _FILES * file_bytes(outbound) + _TEXTS * (len(content.body) + len(content.html_body or ""))
    )


def slowest_seconds(claimed: Claimed) -> float:
    """The same for an earlier request with this message, whose files are not loaded now."""
    if claimed.channel != Channel.EMAIL:
        return 0.0
    texts = len(claimed.body) + len(claimed.html_body or "")
    return seconds_more(_FILES * most_file_bytes(claimed) + _TEXTS * texts)


def file_bytes(outbound: Outbound) -> int:
    """The bytes of a message's files."""
    return sum(len(each.content or b"") for each in outbound.content.attachments)


def most_file_bytes(claimed: Claimed) -> int:
    """The same before they are loaded: as stored, or else the most that there may be, because other
    programs may have stored anything."""
    if claimed.channel != Channel.EMAIL or not isinstance(claimed.attachments, list):
        return 0  # on other channels the provider fetches them; anything but a list is refused
    sizes = [each.get("size") if isinstance(each, dict) else None for each in claimed.attachments]
    known = [size for size in sizes if isinstance(size, int) and size >= 0]
    if len(known) < len(sizes):
        return email.ATTACHMENT_BYTES
    return min(sum(known), email.ATTACHMENT_BYTES)
