"""From events of webhooks to what is stored of them: rows and events of messages, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from channels.model import Account, Attachment, Channel
from gateway.consent import early
from gateway.ids import derived_id
from gateway.media.files import as_rows
from gateway.receive import authors
from gateway.reported import believed, report_name
from gateway.store.media import NewMedia
from gateway.store.reports import Event, event_id, report_id
from gateway.store.suppressions import Answered
from gateway.store.values import Row
from webhooks.model import Addition, ConsentChange, Inbound, StatusReport

_ADDITION = "addition"


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """The files of one message: as it shows them, and as rows of files kept or to be fetched."""

    shown: list[Attachment] = field(default_factory=list)
    media: list[NewMedia] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Arrived:
    """An inbound message with its account and the id that it is stored under.

    `at` is when it came, if that is long ago.
    """

    account: Account
    id: UUID
    message: Inbound
    files: KeptFiles
    at: datetime | None = None


def by_id(account: Account, inbound: Sequence[Inbound]) -> dict[UUID, Inbound]:
    """The messages of a request by their ids; of several with the same id the first."""
    known: dict[UUID, Inbound] = {}
    for message in inbound:
        known.setdefault(message_id(account, message), message)
    return known


def message_id(account: Account, message: Inbound) -> UUID:
    """The same id for the same message, so that the primary key refuses a second copy.

    It is derived from the provider's id. Of an e-mail that is the Message-ID, which anybody can
    forge, and one mail may go to several of our mailboxes: so addresses and content count, too.
    """
    if message.channel is not Channel.EMAIL:
        return derived_id(account.id, "inbound", message.external_id)
    digest = hashlib.sha256()
    letter = (message.subject or "", message.body, message.html_body or "")
    texts = (message.from_address, message.to_address, *letter)
    for text in texts:
        digest.update(text.encode(errors="replace") + b"\0")
    for file in message.attachments:
        digest.update(f"{file.filename}\0{file.url}\0".encode(errors="replace"))
        digest.update(hashlib.sha256(file.content or b"").digest())
    return derived_id(account.id, "inbound", message.external_id, digest.hexdigest())


def addition_event(account: Account, addition: Addition, about: UUID) -> Event:
    """An addition as an event of its message."""
    return Event(
        organization_id=account.organization_id,
        message_id=about,
        id=event_id(about, addition.key),
        type=addition.word,
        status=None,
        source=account.provider,
        occurred_at=believed(addition.occurred_at),
        detail=dict(addition.detail),
        provider=dict(addition.provider) or None,
    )


def unmatched(
    account: Account,
    report: StatusReport,
    at: datetime | None = None,
    consent: Sequence[ConsentChange] = (),
) -> Row:
    """A report whose message is not known yet, as it is kept, with the consent changes about it.

    `at` is when it came, if not now.
    """
    came = at or datetime.now(UTC)
    occurred_at = believed(report.occurred_at, at)
    return {
        "organization_id": account.organization_id,
        "account_id": account.id,
        "external_id": report.external_id,
        "id": report_id(report_name(report)),
        "type": report.word,
        "status": report.status,
        "occurred_at": occurred_at or came,
        "error_code": report.error_code,
        "error_message": report.error_message,
        "source": account.provider,
        "detail": {**report.detail, **early.as_kept(account, consent, occurred_at, came)},
        "provider": dict(report.provider) or None,
    }


def kept_addition(account: Account, addition: Addition) -> Row:
    """An addition to a message that is not known yet, kept in the form of a report."""
    return {
        "organization_id": account.organization_id,
        "account_id": account.id,
        "external_id": addition.external_id,
        "id": report_id(addition.key),
        "type": addition.word,
        "status": None,
        "occurred_at": believed(addition.occurred_at) or datetime.now(UTC),
        "source": account.provider,
        "detail": {
            **addition.detail,
            **early.as_kept(account, (), None, datetime.now(UTC)),
            _ADDITION: {
                "key": addition.key,
                "text": addition.text,
                "attachments": as_rows(addition.attachments),
            },
        },
        "provider": dict(addition.provider) or None,
    }


def read_addition(event: Event) -> Addition | None:
    """An addition that was kept; None for a report."""
    detail = dict(event.detail or {})
    kept = detail.pop(_ADDITION, None)
    if kept is None or event.external_id is None:
        return None
    return Addition(
        external_id=event.external_id,
        word=event.type,
        key=kept["key"],
        text=kept["text"],
        attachments=tuple(Attachment(**file) for file in kept["attachments"]),
        occurred_at=event.occurred_at,
        detail=detail,
        provider=dict(event.provider or {}),
    )


def inbound_row(arrived: Arrived, known: authors.Owners, answered: Answered | None) -> Row:
    """The row of an inbound message, with the contact who wrote it.

    `known` are leads and clients by their addresses. If none of them has the sender's, the contact
    is that of the message `answered`.
    """
    message, files = arrived.message, arrived.files.shown
    contact = authors.owner(message, known)
    if answered is not None and not any(contact.values()):
        contact = {"lead": answered.lead_id, "client": answered.client_id}
    metadata: Row = {"provider": dict(message.detail)}
    # The names by which the HTML refers to its pictures, with their places among the attachments.
    named = {file.content_id: n for n, file in enumerate(files) if file.content_id}
    if named:
        metadata["provider"]["content_ids"] = named
    if answered is not None:
        metadata["reply_to"] = str(answered.id)
    return {
        "id": arrived.id,
        "channel": message.channel,
        "from_address": message.from_address,
        "to_address": message.to_address,
        "lead_id": contact["lead"],
        "client_id": contact["client"],
        "subject": message.subject,
        "body": message.body,
        "html_body": message.html_body,
        "attachments": as_rows(files),
        "external_id": message.external_id,
        "metadata": metadata,
        "occurred_at": _by_now(message.occurred_at),
        "event_id": event_id(arrived.id, "received"),
        "source": arrived.account.provider,
        "arrived_at": arrived.at,
    }


def _by_now(at: datetime | None) -> datetime | None:
    """When they wrote, but not later than now, so that WhatsApp's window does not last longer."""
    return None if at is None else min(at, datetime.now(UTC))
