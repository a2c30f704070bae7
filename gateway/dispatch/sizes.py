"""How large a request may be at most, and so how much longer it may take to leave."""

from __future__ import annotations

from channels import email
from channels.leaving import seconds_more
from channels.model import Channel, Outbound
from gateway.store.queue import Claimed

# Bytes on the line for each byte of a file and each character of a text, at most: files are in
# base64 (twice at Amazon); a character has up to four bytes, each escaped with three.
_FILES, _TEXTS = 2, 12


def slow_seconds(outbound: Outbound) -> float:
    """How many more seconds this message may take than a small one."""
    said = outbound.content
    files = sum(len(each.content or b"") for each in said.attachments)
    return seconds_more(_FILES * files + _TEXTS * (len(said.body) + len(said.html_body or "")))


def slowest_seconds(claimed: Claimed) -> float:
    """The same for an earlier request with this message, whose files are not at hand."""
    if claimed.channel != Channel.EMAIL:
        return 0.0
    texts = len(claimed.body) + len(claimed.html_body or "")
    return seconds_more(_FILES * _file_bytes(claimed) + _TEXTS * texts)


def _file_bytes(claimed: Claimed) -> int:
    """The sizes as stored, or the limit where one is missing: other programs write there, too."""
    files = claimed.attachments or []
    sizes = [each.get("size") if isinstance(each, dict) else None for each in files]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes):
        return email.ATTACHMENT_BYTES
    return min(sum(known), email.ATTACHMENT_BYTES)
