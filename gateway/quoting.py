"""Quoting: whether a provider lets one message quote another."""

from __future__ import annotations

from channels.model import Channel
from gateway.registry import PROVIDERS


def problem(provider: str | None, channel: Channel, external_id: str | None) -> str | None:
    """Why a message cannot quote the one with this id; None if it can, or if that is not known.

    A provider knows only the ids of messages that it has carried itself.
    """
    row = PROVIDERS.get(provider or "")
    if row is None:
        return None
    if row.can_quote is None:
        return f"is not used: {row.title} quotes no messages on {channel}"
    if external_id is None or not row.can_quote(external_id):
        return f"names a message that {row.title} does not have: it did not carry it, or not yet"
    return None


def possible(provider: str, external_id: str | None) -> str | None:
    """The id to quote, if the sender's provider, which may be new since accept, can do that."""
    row = PROVIDERS[provider]
    is_known = external_id is not None and row.can_quote is not None and row.can_quote(external_id)
    return external_id if is_known else None
