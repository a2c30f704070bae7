"""From what a provider told to what is stored of it: rows, events and statements, as values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from channels import email, whatsapp
from channels.model import Account, Attachment, Channel, Direction
from gateway import addresses
from gateway.ids import derived_id
from gateway.media.files import as_rows
from gateway.store.conversations import Place
from gateway.store.reports import Event, event_id, report_id
from gateway.store.suppressions import Answered, Written
from webhooks.model import Addition, Inbound, StatusReport

Row = dict[str, Any]

_ADDITION = "addition"
# What WhatsApp tells of a person, or of an earlier message: it opens no window.
_NOT_WRITTEN = ("system", "unsupported", "edit", "revoke")


def by_id(account: Account, inbound: Sequence[Inbound]) -> dict[UUID, Inbound]:
    """The messages of a request by their ids; of those with one id the first, which is stored."""
    known: dict[UUID, Inbound] = {}
    for message in inbound:
        known.setdefault(message_id(account, message), message)
    return known


def message_id(account: Account, message: Inbound) -> UUID:
    """The same message again has the same id: the primary key refuses the second.

    By the provider's id; a Message-ID is anybody's word, so what an e-mail says counts, too.
    """
    if message.channel is not Channel.EMAIL:
        return derived_id(account.id, "inbound", message.external_id)
    said = hashlib.sha256()
    texts = (message.from_address, message.subject or "", message.body, message.html_body or "")
    for text in texts:
        said.update(text.encode(errors="replace") + b"\0")
    for file in message.attachments:
        said.update(f"{file.filename}\0{file.url}\0".encode(errors="replace"))
        said.update(hashlib.sha256(file.content or b"").digest())
    return derived_id(account.id, "inbound", message.external_id, said.hexdigest())


def report_event(account: Account, report: StatusReport, about: UUID) -> Event:
    """A report as an event of its message."""
    return Event(
        organization_id=account.organization_id,
        message_id=about,
        id=event_id(about, _name(report)),
        type=report.word,
        status=report.status,
        source=account.provider,
        occurred_at=_not_later(report.occurred_at),
        external_id=report.external_id,
        error_code=report.error_code,
        error_message=report.error_message,
        detail=dict(report.detail),
        provider=dict(report.provider) or None,
    )


def _name(report: StatusReport) -> str:
    """What makes it the same report: its key, and all that moves the row.

    A provider may tell of one thing with two times, or of two things in one second: were the second
    dropped as a repetition, the row would depend on which of them came first.
    """
    at = report.occurred_at.timestamp() if report.occurred_at else ""
    name = f"{report.key}\x1f{report.status}\x1f{at}"
    if report.error_code is not None or report.error_message is not None:
        name += f"\x1f{report.error_code}\x1f{report.error_message}"
    if report.provider:
        name += f"\x1f{sorted(report.provider.items())}"
    return name


def addition_event(account: Account, addition: Addition, about: UUID) -> Event:
    """More of a message as an event of it."""
    return Event(
        organization_id=account.organization_id,
        message_id=about,
        id=event_id(about, addition.key),
        type=addition.word,
        status=None,
        source=account.provider,
        occurred_at=_not_later(addition.occurred_at),
        detail=dict(addition.detail),
        provider=dict(addition.provider) or None,
    )


def _not_later(told: datetime | None) -> datetime | None:
    """What happened is not in the future, whatever the clock of whoever tells it."""
    return None if told is None else min(told, datetime.now(UTC))


def unmatched(account: Account, report: StatusReport) -> Row:
    """A report whose message is not known yet, as it is kept."""
    return {
        "organization_id": account.organization_id,
        "account_id": account.id,
        "external_id": report.external_id,
        "id": report_id(_name(report)),
        "type": report.word,
        "status": report.status,
        "occurred_at": _not_later(report.occurred_at) or datetime.now(UTC),
        "error_code": report.error_code,
        "error_message": report.error_message,
        "source": account.provider,
        "detail": dict(report.detail),
        "provider": dict(report.provider) or None,
    }


def kept_addition(account: Account, addition: Addition) -> Row:
    """More of a message that is not known yet, as it is kept beside reports."""
    return {
        "organization_id": account.organization_id,
        "account_id": account.id,
        "external_id": addition.external_id,
        "id": report_id(addition.key),
        "type": addition.word,
        "status": None,
        "occurred_at": _not_later(addition.occurred_at) or datetime.now(UTC),
        "source": account.provider,
        "detail": {
            **addition.detail,
            _ADDITION: {
                "key": addition.key,
                "text": addition.text,
                "attachments": as_rows(addition.attachments),
            },
        },
        "provider": dict(addition.provider) or None,
    }


def read_addition(external_id: str, event: Event) -> Addition | None:
    """An addition that was kept; None for a report."""
    detail = dict(event.detail or {})
    kept = detail.pop(_ADDITION, None)
    if kept is None:
        return None
    return Addition(
        external_id=external_id,
        word=event.type,
        key=kept["key"],
        text=kept["text"],
        attachments=tuple(Attachment(**file) for file in kept["attachments"]),
        occurred_at=event.occurred_at,
        detail=detail,
        provider=dict(event.provider or {}),
    )


def inbound_row(
    account: Account,
    own_id: UUID,
    message: Inbound,
    files: Sequence[Attachment],
    known: Sequence[Mapping[str, Any]],
    answered: Answered | None,
) -> Row:
    """An inbound message as it is stored under its id, with the contact who wrote it.

    `known` are leads and clients that may have its address, the newest first; without one of them
    the message that it answers tells who it was.
    """
    contact = _owners(message, known)
    if answered is not None and not any(contact.values()):
        contact = {"lead": answered.lead_id, "client": answered.client_id}
    metadata: Row = {"provider": dict(message.detail)}
    # What the HTML calls its pictures, by their place among the attachments.
    named = {file.content_id: n for n, file in enumerate(files) if file.content_id}
    if named:
        metadata["provider"]["content_ids"] = named
    if answered is not None:
        metadata["reply_to"] = str(answered.id)
    return {
        "id": own_id,
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
        "occurred_at": _not_later(message.occurred_at),
        "event_id": event_id(own_id, "received"),
        "source": account.provider,
    }


def place(own_id: UUID, message: Inbound, known: Sequence[Mapping[str, Any]]) -> Place:
    """What tells the conversation of an inbound message: who wrote it, not what it answers.

    Anybody may answer a mail that was sent on to them: that does not make them the same person.
    """
    contact = _owners(message, known)
    return Place(
        seed=own_id,
        addresses=_own_addresses(message),
        lead_id=contact["lead"],
        client_id=contact["client"],
        name=_text(message.detail.get("ProfileName")) or _text(message.detail.get("from_name")),
    )


def _own_addresses(message: Inbound) -> list[str]:
    """All addresses that the one who wrote is known by: WhatsApp has user ids beside numbers, and
    tells of new ones."""
    user_id, new = (_text(message.detail.get(name)) for name in ("user_id", "new_address"))
    known_as = [user_id] if whatsapp.is_user_id(user_id) else []
    if message.channel is Channel.WHATSAPP and new:
        known_as.append(new)
    return list(dict.fromkeys([message.from_address, *known_as]))


def _text(told: object) -> str:
    return told if isinstance(told, str) else ""


def _owners(message: Inbound, known: Sequence[Mapping[str, Any]]) -> dict[str, UUID | None]:
    """The lead and the client, of each the newest, whose own address the sender's is."""
    contact: dict[str, UUID | None] = {"lead": None, "client": None}
    for row in reversed(known):
        if addresses.is_contact(row, message.from_address, row["country"]):
            contact[row["kind"]] = row["id"]
    return contact


def written(message: Inbound, answered: Answered | None) -> list[Written]:
    """That they wrote: what WhatsApp's window and the threads of e-mails are known from.

    An e-mail belongs to the thread of the one that it answers: it may have come to our reply
    address, and from another one of theirs. On WhatsApp the window opens for all their addresses.
    """
    is_kept = message.channel in (Channel.EMAIL, Channel.WHATSAPP)
    if not is_kept or message.detail.get("type") in _NOT_WRITTEN:
        return []
    is_mail = message.channel is Channel.EMAIL
    theirs, ours = _own_addresses(message), message.to_address
    if is_mail and answered is not None and answered.direction == Direction.OUTBOUND:
        theirs, ours = [answered.to_address], answered.from_address
    return [
        Written(
            channel=message.channel,
            their_address=addresses.key(message.channel, address),
            our_address=addresses.key(message.channel, ours),
            topic=email.topic(message.subject or "") if is_mail else "",
            inbound_at=min(message.occurred_at or datetime.now(UTC), datetime.now(UTC)),
            mail_id=message.external_id if is_mail else None,
        )
        for address in theirs
    ]


def candidates(message: Inbound) -> tuple[list[UUID], list[str]]:
    """What an inbound message says that it answers: our ids, and a provider's, the nearest first.

    Our Message-IDs have our id before the @; a provider that gives its own has its id there.
    """
    ids: list[UUID] = []
    external: list[str] = [message.quotes] if message.quotes else []
    for reference in message.references:
        local = reference.partition("@")[0]
        external += [reference, local]
        try:
            ids.append(UUID(local))
        except ValueError:
            continue
    return ids, external


def is_theirs(message: Inbound, answered: Answered) -> bool:
    """Whether the one who answers is the one who was written to: anybody can name a message."""
    other = (
        answered.to_address if answered.direction == Direction.OUTBOUND else answered.from_address
    )
    return addresses.key(message.channel, other) == addresses.key(
        message.channel, message.from_address
    )
