"""Additions: more of a message, which is stored already, or kept until the message comes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import cast
from uuid import UUID

from channels.model import Account, Attachment
from gateway.consent import early
from gateway.ids import derived_id
from gateway.media.files import as_rows
from gateway.receive import incoming
from gateway.receive.incoming import KeptFiles
from gateway.receive.reporting import Advanced
from gateway.store import media, messages, reports
from gateway.store.database import PLANNED_AS_EVER, Connection
from gateway.store.media import NewMedia
from gateway.store.reports import Advance, Event
from webhooks.model import Addition

_NOTHING = "The provider brought none of it that can be read."

# Stores the files of a part of a message: (account, message, part, files).
Keep = Callable[[Account, UUID, str, Sequence[Attachment]], Awaitable[KeptFiles]]


async def add(
    db: Connection, account: Account, addition: Addition, about: UUID, keep: Keep
) -> list[Advance]:
    """Add files and text to a message, the first time that this event comes.

    If it comes again, those of its files that were given up are fetched again: the first event may
    have come before the file was there.
    """
    event = incoming.addition_event(account, addition, about)
    advances = await reports.record(db, [event])
    given = addition.attachments
    if any(event.id in advance.fresh for advance in advances):
        files = await keep(account, about, addition.key, given)
        if files.shown or addition.text:
            position = await messages.add_to(
                db, account.organization_id, about, as_rows(files.shown), addition.text
            )
            first = position - len(files.shown)
            await media.insert(
                db, [replace(m, position=first + n) for n, m in enumerate(files.media)]
            )
    elif given:
        ids = file_ids(about, addition.key, given)
        await media.fetch_again(db, account.organization_id, account.id, ids)
    return advances


async def apply_kept(db: Connection, kept: Sequence[Event]) -> list[Advanced]:
    """Apply kept reports and additions to their messages, which are known now, and store what they
    say about consent; returns how the messages advanced."""
    reported = []
    added = []
    for event in kept:
        addition = incoming.read_addition(event)
        if addition is None:
            reported.append(event)
        else:
            added.append((event, addition))
    providers = {event.message_id: event.source for event in kept}
    advances = await reports.record(db, reported)
    await early.store(db, early.read(reported))
    if added:
        await db.execute(PLANNED_AS_EVER)
    for event, addition in added:
        account = Account(
            id=cast("UUID", event.account_id),
            organization_id=event.organization_id,
            provider=event.source,
            credentials={},
        )
        advances += await add(db, account, addition, event.message_id, _keep_links)
    return [Advanced(providers[advance.message_id], advance) for advance in advances]


async def _keep_links(
    account: Account, about: UUID, part: str, given: Sequence[Attachment]
) -> KeptFiles:
    return linked(account, about, part, given)


def linked(account: Account, about: UUID, part: str, given: Sequence[Attachment]) -> KeptFiles:
    """The files of a message, as they are to be kept; a worker fetches those only linked to."""
    files = KeptFiles()
    ids = file_ids(about, part, given)
    for position, (media_id, file) in enumerate(zip(ids, given, strict=True)):
        one = NewMedia(
            organization_id=account.organization_id,
            id=media_id,
            message_id=about,
            position=position,
            filename=file.filename,
            content_type=file.content_type,
            size=file.size,
            source_url=file.url or None,
            account_id=account.id,
        )
        if file.content is None and not file.url:
            one = replace(one, state="failed", reason=_NOTHING)
        files.media.append(one)
        files.shown.append(file)
    return files


def file_ids(about: UUID, part: str, given: Sequence[Attachment]) -> list[UUID]:
    """The ids of the files of a message, or of a part of it that came later."""
    return [derived_id(about, "media", part, str(position)) for position in range(len(given))]
