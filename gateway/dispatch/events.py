"""Values made from a claimed entry: events, statements about its address, Message-IDs, log ids."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from channels.errors import OptedOut, Refused, Unreachable, Unwritten
from channels.model import Channel, Sent, Status
from gateway import addresses
from gateway.consent import standing
from gateway.dispatch.entry import SETTLED
from gateway.ids import derived_id
from gateway.observability.logs import logger
from gateway.store.queue import Claimed
from gateway.store.reports import Event, event_id
from gateway.store.suppressions import Statement, Written

_log = logger(__name__)


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
    """An event of ours about an entry; the same `key` is the same event.

    Its detail names the provider, because the sender may belong to another one later.
    """
    if claimed.provider is not None and not claimed.is_test:
        detail = {**(detail or {}), "provider": claimed.provider}
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


def attempt(claimed: Claimed) -> Event:
    """An entry is about to be sent."""
    number = claimed.attempts
    return event_of(
        claimed, f"attempt:{number}", "attempt", Status.SENDING, detail={"attempt": number}
    )


def taken(claimed: Claimed, sent: Sent, kind: str) -> Event:
    """The provider took the message, as its answer or its list says."""
    return event_of(
        claimed,
        f"taken:{sent.external_id}",
        kind,
        Status.SENT,
        external_id=sent.external_id,
        provider=dict(sent.detail),
    )


def reported(claimed: Claimed) -> list[Event]:
    """That the provider took it, if reports told only its id and no status, such as a delay."""
    if claimed.external_id is None or claimed.status in SETTLED:
        return []
    known_as = claimed.external_id
    return [event_of(claimed, "reported", "sent", Status.SENT, external_id=known_as)]


def failed(claimed: Claimed, error: Refused) -> Event:
    """It will never be sent."""
    return event_of(
        claimed,
        "failed",
        "failed",
        Status.FAILED,
        error_code=error.code,
        error_message=error.message,
    )


def not_to_be_written_to(claimed: Claimed, error: OptedOut | Unreachable) -> Statement:
    """A provider's refusal as a statement about the address; the same one if it is repeated."""
    channel = Channel(claimed.channel)
    # By the same group as in the provider's reports, which may lift it.
    stream = error.stream if isinstance(error, Unreachable) else None
    group = standing.group(claimed.account_id, stream) if stream and claimed.account_id else None
    return Statement(
        id=derived_id(claimed.message_id, "opted_out", str(error.code)),
        channel=channel,
        address=addresses.key(channel, claimed.to_address),
        reason=error.reason,
        is_lifted=False,
        source=claimed.provider or "worker",
        detail={
            "message_id": str(claimed.message_id),
            "code": error.code,
            "message": error.message,
            **({"of_group": group} if group else {}),
        },
    )


def renamed(batch: Iterable[tuple[Claimed, Sent]]) -> Iterator[tuple[UUID, Written, str]]:
    """Mails whose Message-ID the provider replaced: organization, our record of it, the new id."""
    for claimed, sent in batch:
        known_as = sent.detail.get("message_id")
        if claimed.channel == Channel.EMAIL and isinstance(known_as, str):
            ours = standing.written(
                claimed.message_id, claimed.from_address, claimed.to_address, claimed.subject
            )
            yield claimed.organization_id, ours, known_as


def ids(claimed: Claimed) -> dict[str, str]:
    """What log lines say about an entry: never an address, never a text."""
    return {
        "message_id": str(claimed.message_id),
        "organization_id": str(claimed.organization_id),
    }


def log_defect(claimed: Claimed, error: Exception) -> None:
    """Log, with its traceback, that a defect of ours kept a message from being written."""
    if isinstance(error, Unwritten):
        _log.error("a message could not be written", exc_info=error, **ids(claimed))
