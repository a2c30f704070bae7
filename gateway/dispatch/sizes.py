"""How many bytes a request may have at most, from which follows how long it may take to leave."""

from __future__ import annotations

from channels import email
from channels.leaving import seconds_more
from channels.model import Channel, Outbound
from gateway.store.queue import Claimed

# Files are in base64, with Amazon twice; a letter of a text takes up to four bytes, each of which
# is written with three.
_FILES, _TEXTS = 2, 12


def slow_seconds(outbound: Outbound) -> float:
    """How many seconds more than a small message this one may take."""
    said = outbound.content
    return seconds_more(
        _FILES * file_bytes(outbound) + _TEXTS * (len(said.body) + len(said.html_body or ""))
    )


def slowest_seconds(claimed: Claimed) -> float:
    """The same of an earlier request with this message, whose files are not at hand."""
    if claimed.channel != Channel.EMAIL:
        return 0.0
    texts = len(claimed.body) + len(claimed.html_body or "")
    return seconds_more(_FILES * most_file_bytes(claimed) + _TEXTS * texts)


def file_bytes(outbound: Outbound) -> int:
    """How many bytes of files a message brings along."""
    return sum(len(each.content or b"") for each in outbound.content.attachments)


def most_file_bytes(claimed: Claimed) -> int:
    """As many as are known, or else as there may be: other programs write anything there."""
    if claimed.channel != Channel.EMAIL or not isinstance(claimed.attachments, list):
        return 0  # the other providers fetch them; what is no list is refused
    sizes = [each.get("size") if isinstance(each, dict) else None for each in claimed.attachments]
    known = [size for size in sizes if isinstance(size, int) and size >= 0]
    if len(known) < len(sizes):
        return email.ATTACHMENT_BYTES
    return min(sum(known), email.ATTACHMENT_BYTES)
