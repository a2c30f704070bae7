"""Applying: everything in one request is stored in one transaction, now or in a replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from channels.model import Account, Attachment, Channel
from gateway import placing
from gateway.consent import recording
from gateway.ids import derived_id
from gateway.media.files import Files
from gateway.receive import additions, incoming, reporting
from gateway.receive.arriving import Arriving
from gateway.receive.incoming import Arrived, KeptFiles
from gateway.receive.reporting import Advanced, Received
from gateway.store import kept_reports, media, reports
from gateway.store.conversations import Placed
from gateway.store.database import Connection
from gateway.store.media import NewErrand
from gateway.store.reports import Advance
from webhooks.model import Addition, ConsentChange, Fetch, Inbound, Renamed, WebhookEvent

E = TypeVar("E", bound=WebhookEvent)


@dataclass(frozen=True, slots=True)
class Applied:
    """What a request has changed: the messages that are new, how others advanced, and how many of
    its other events were new. `placed` are conversations that may have to be joined."""

    arrived: Sequence[Arrived]
    advanced: Sequence[Advanced]
    others: int
    placed: Sequence[Placed]

    @property
    def new(self) -> int:
        """How many events were not stored before."""
        fresh = sum(len(each.advance.fresh) for each in self.advanced)
        return len(self.arrived) + fresh + self.others


class Applying:
    """Applies requests of one account each."""

    def __init__(self, files: Files, arriving: Arriving) -> None:
        self._files = files
        self._arriving = arriving

    async def apply(
        self,
        db: Connection,
        received: Received,
        events: Sequence[WebhookEvent],
        arrived: Sequence[Arrived],
        *,
        waits: bool,
    ) -> Applied:
        """Store the reports and messages of a request, and its other events; each once.

        `arrived` are its messages with their files. `waits` as in `reporting.record`.
        """
        account = received.account
        kept = await self._arriving.keep(db, account.organization_id, arrived)
        renamed = events_of(events, Renamed)
        placed = [
            *kept.placed.values(),
            *await placing.renamed(db, account.organization_id, renamed),
        ]
        for each in kept.new:
            if each.message.channel is Channel.CALL:
                await self._take_additions(db, account, each.message.external_id, each.id)
        changes = events_of(events, ConsentChange)
        advanced = await reporting.record(db, [received], waits=waits, consent=changes)
        for addition in events_of(events, Addition):
            advances = await self._add(db, account, addition, received.at)
            advanced += [Advanced(account.provider, advance) for advance in advances]
        changed = await recording.store(db, account, changes, renamed, kept.people, at=received.at)
        errands = [_errand(account, fetch) for fetch in events_of(events, Fetch)]
        others = changed + await media.add_errands(db, errands)
        return Applied(kept.new, advanced, others, placed)

    async def _take_additions(
        self, db: Connection, account: Account, external_id: str, about: UUID
    ) -> None:
        """Apply what was reported about an inbound call before the call itself."""
        key = (account.organization_id, account.id, external_id, about)
        kept = await kept_reports.take_unmatched(db, [key])
        await additions.apply_kept(db, [*map(kept_reports.of_inbound, kept)])

    async def _add(
        self, db: Connection, account: Account, addition: Addition, at: datetime | None = None
    ) -> list[Advance]:
        """Add files and text to a message, or keep them until it is known.

        `at` is when they came, if that is long ago.
        """
        named = [addition.external_id]
        known = await reports.resolve_any(db, account.organization_id, named, at)
        about = known.get(addition.external_id)
        if about is None:
            # It came before its message: whoever stores that will find it.
            await kept_reports.keep_unmatched(db, [incoming.kept_addition(account, addition)])
            return []
        return await additions.add(db, account, addition, about, self.keep)

    async def arrived(
        self, account: Account, inbound: Mapping[UUID, Inbound], at: datetime | None = None
    ) -> list[Arrived]:
        """The messages, given by the ids that they will have, with their files, which are stored.

        `at` is when they came, if that is long ago.
        """
        arrived = []
        for own_id, message in inbound.items():
            files = await self.keep(account, own_id, "", message.attachments)
            arrived.append(Arrived(account, own_id, message, files, at))
        return arrived

    async def keep(
        self, account: Account, about: UUID, part: str, given: Sequence[Attachment]
    ) -> KeptFiles:
        """Store the files that came with a message; a worker fetches those that are only linked."""
        files = additions.linked(account, about, part, given)
        for position, file in enumerate(given):
            if file.content is not None:
                one = await self._files.keep(files.media[position], file.content)
                files.media[position] = one
                files.shown[position] = replace(
                    file, url=self._files.url(one.id), size=len(file.content)
                )
        return files


def events_of(events: Sequence[WebhookEvent], kind: type[E]) -> list[E]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def _errand(account: Account, fetch: Fetch) -> NewErrand:
    return NewErrand(
        organization_id=account.organization_id,
        id=derived_id(account.id, "fetch", fetch.key),
        account_id=account.id,
        kind="visit" if fetch.is_visit else "parse",
        url=fetch.url,
        after=fetch.after,
    )
