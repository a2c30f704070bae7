"""What happens to a claimed entry, as values: events, consent, and what log lines call it."""

from __future__ import annotations

from typing import Any

from channels.errors import OptedOut
from channels.model import Channel, Status
from gateway import addresses
from gateway.ids import derived_id
from gateway.store.queue import Claimed
from gateway.store.reports import Event, event_id
from gateway.store.suppressions import Statement


def event_of(
    claimed: Claimed,
    key: str,
    kind: str,
    status: Status | None,
    *,
    external_id: str | None = None,
    error_code: str | None = None,
    error_message: str | None = None,
    detail: dict[str, Any] | None = None,
    provider: dict[str, Any] | None = None,
) -> Event:
    """An event of ours about an entry; the same `key` is the same event."""
    return Event(
        organization_id=claimed.organization_id,
        message_id=claimed.message_id,
        id=event_id(claimed.message_id, key),
        type=kind,
        status=status,
        source="worker",
        external_id=external_id,
        error_code=error_code,
        error_message=error_message,
        detail=detail,
        provider=provider,
    )


def opted_out(claimed: Claimed, error: OptedOut) -> Statement:
    """What a provider says of a recipient who wants no more: the same refusal says it once."""
    channel = Channel(claimed.channel)
    return Statement(
        id=derived_id(claimed.message_id, "opted_out", str(error.code)),
        channel=channel,
        address=addresses.key(channel, claimed.to_address),
        reason="stop",
        is_lifted=False,
        source=claimed.provider or "worker",
        detail={
            "message_id": str(claimed.message_id),
            "code": error.code,
            "message": error.message,
        },
    )


def ids(claimed: Claimed) -> dict[str, str]:
    """What a log line says about an entry: never an address, never a text."""
    return {
        "message_id": str(claimed.message_id),
        "organization_id": str(claimed.organization_id),
    }
