"""Receive: signed request → event → row. A 2xx means that everything in it is stored.

One transaction keeps the raw request, appends the events, and advances the rows by the one status
statement; a report about a message that we do not know yet is kept, and applied once we do. Files
that come with a request are stored before that; what it only links to a worker fetches later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import ParamSpec, TypeVar
from uuid import UUID

from channels.model import Account, Attachment, Channel
from gateway import placing
from gateway.batching import once_more
from gateway.held import Around, Wait
from gateway.ids import derived_id
from gateway.logs import logger
from gateway.media.files import Files, as_rows
from gateway.metrics import Metrics
from gateway.receive import consenting, incoming, reporting
from gateway.receive.arriving import Arrived, Arriving, KeptFiles
from gateway.receive.raw_requests import raw_request
from gateway.receive.reporting import Received, Reporting, Told
from gateway.registry import PROVIDERS
from gateway.store import media, messages, reports
from gateway.store.database import Connection, Database
from gateway.store.errors import UNDONE
from gateway.store.media import NewErrand, NewMedia
from gateway.store.reports import Advance
from gateway.vault import Vault
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    InvalidSignature,
    NeedsCertificate,
    Renamed,
    Reply,
    StatusReport,
    Unknown,
    WebhookEvent,
    WebhookRequest,
)

_log = logger(__name__)

# Certificates that are cached.
_KNOWN_CERTIFICATES = 100
# Bytes of a request that takes longer to read than to hand to a thread.
_LARGE = 32 * 2**10
_NOTHING = "The provider brought none of it that can be read."

E = TypeVar("E", bound=WebhookEvent)
T = TypeVar("T")
P = ParamSpec("P")
Siblings = Callable[[Account], Awaitable[Sequence[Account]]]


class Receiving:
    """The coordinator of receive."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        metrics: Metrics,
        files: Files,
    ) -> None:
        self._database = database
        self._files = files
        self._certificates: dict[str, bytes] = {}
        self._around = Around()
        self._reporting = Reporting(database, metrics)
        self._arriving = Arriving(database, vault, self._reporting, metrics)

    async def receive(
        self, account: Account, request: WebhookRequest, siblings: Siblings | None = None
    ) -> Reply:
        """Verify, parse and store one request; returns the answer that its provider expects.

        Events about the sender of one of the account's `siblings` are stored for that account.
        Raises `InvalidSignature` or `Unreadable`, with nothing stored.
        """
        row = PROVIDERS[account.provider]
        half = row.webhook
        if row.sender_credential:
            request = replace(request, sender_id=account.credentials.get(row.sender_credential))
        try:
            await _aside(request, half.verify, request, account)
        except NeedsCertificate as needed:
            certificates = {needed.url: await self._certificate(needed.url)}
            half.verify(replace(request, certificates=certificates), account)
        events = await _aside(request, half.parse, request)
        await self._store(account, request, events)
        if siblings and (others := {each.sender_id for each in _of(events, Unknown)} - {None}):
            for sibling in await siblings(account):
                named = sibling.credentials.get(row.sender_credential or "")
                if named in others:
                    others.remove(named)
                    await self._store_as(sibling, replace(request, sender_id=named))
        return half.reply(request, events, account)

    async def _store_as(self, account: Account, request: WebhookRequest) -> None:
        """Store the events about this account's sender, if the request verifies for it, too."""
        half = PROVIDERS[account.provider].webhook
        try:
            await _aside(request, half.verify, request, account)
        except InvalidSignature:
            return  # another app's request, whatever it says
        await self._store(account, request, await _aside(request, half.parse, request))

    async def fetched(self, account: Account, request: WebhookRequest) -> None:
        """Store what a worker fetched from the provider itself; raises `Unreadable`."""
        parse = PROVIDERS[account.provider].webhook.parse
        events = await _aside(request, parse, request)
        await self._store(account, request, events)

    async def _store(
        self, account: Account, request: WebhookRequest, events: Sequence[WebhookEvent]
    ) -> None:
        told = _of(events, StatusReport)
        received = Received(account, raw_request(account, request), told)
        rest = len(events) - len(told) - len(_of(events, Unknown))
        if not rest:
            await self._reporting.store(received)
            return
        # The ids are digests of the files, too: computed in a thread where these are large.
        inbound = await _aside(request, incoming.by_id, account, _of(events, Inbound))
        arrived = [
            Arrived(
                account, about, message, await self._keep(account, about, "", message.attachments)
            )
            for about, message in inbound.items()
        ]
        has_call = any(message.channel is Channel.CALL for message in inbound.values())
        if rest == len(_of(events, Inbound)) and not has_call and len(request.body) < _LARGE:
            await self._arriving.store(received, arrived)
            return
        await once_more(
            lambda: self._around(lambda wait: self._store_apart(received, events, arrived, wait)),
            UNDONE,
        )

    async def _store_apart(
        self,
        received: Received,
        events: Sequence[WebhookEvent],
        arrived: Sequence[Arrived],
        wait: Wait,
    ) -> None:
        """Store a request with other events than messages and reports, in its own transaction: it
        locks more rows than theirs do."""
        account = received.account
        async with self._database.as_service(
            share_of=account.organization_id, patience=wait.seconds
        ) as db:
            await reports.keep_requests(db, [received.request])
            kept = await self._arriving.keep(db, account.organization_id, arrived)
            placed = [
                *kept.placed.values(),
                *await placing.renamed(db, account.organization_id, _of(events, Renamed)),
            ]
            for each in kept.new:
                if each.message.channel is Channel.CALL:
                    await self._take_additions(db, account, each.message.external_id, each.id)
            advanced = await reporting.record(db, [received], waits=wait.for_rows)
            for addition in _of(events, Addition):
                advances = await self._add(db, account, addition)
                advanced += [Told(account.provider, advance) for advance in advances]
            await consenting.store(db, account, _of(events, ConsentChange), _of(events, Renamed))
            await media.add_errands(db, [_errand(account, f) for f in _of(events, Fetch)])
        await placing.join(self._database, account.organization_id, placed)
        self._reporting.count(advanced)
        self._arriving.count(kept.new)

    async def _take_additions(
        self, db: Connection, account: Account, external_id: str, about: UUID
    ) -> None:
        """Apply what was told about an inbound call before the call itself.

        A status that did not say which direction the call has was taken for a report about one of
        ours: here it changes no status, but is still recorded as an event.
        """
        key = (account.organization_id, account.id, external_id, about)
        happened = []
        for event in await reports.take_unmatched(db, [key]):
            addition = incoming.read_addition(external_id, event)
            if addition is None:
                happened.append(replace(event, status=None))
            else:
                await self._add(db, account, addition)
        await reports.record(db, happened)

    async def _add(self, db: Connection, account: Account, addition: Addition) -> list[Advance]:
        """Add files and text to a message, the first time that this event comes."""
        known = await reports.resolve_any(db, account.organization_id, [addition.external_id])
        about = known.get(addition.external_id)
        if about is None:
            # It overtook its message: whoever stores the message will find it here.
            await reports.keep_unmatched(db, [incoming.kept_addition(account, addition)])
            return []
        event = incoming.addition_event(account, addition, about)
        advances = await reports.record(db, [event])
        if any(event.id in advance.fresh for advance in advances):
            files = await self._keep(account, about, addition.key, addition.attachments)
            if files.shown or addition.text:
                position = await messages.add_to(
                    db,
                    account.organization_id,
                    about,
                    as_rows(files.shown),
                    addition.text,
                )
                first = position - len(files.shown)
                await media.insert(
                    db, [replace(m, position=first + n) for n, m in enumerate(files.media)]
                )
        return advances

    async def _keep(
        self, account: Account, about: UUID, part: str, given: Sequence[Attachment]
    ) -> KeptFiles:
        """Store the files that came with a message; a worker fetches those that are only linked."""
        files = KeptFiles()
        for position, file in enumerate(given):
            media_id = derived_id(about, "media", part, str(position))
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
            if file.content is not None:
                one = await self._files.keep(one, file.content)
            elif not file.url:
                one = replace(one, state="failed", reason=_NOTHING)
            files.media.append(one)
            files.shown.append(
                file
                if file.content is None
                else replace(file, url=self._files.url(media_id), size=len(file.content))
            )
        return files

    async def _certificate(self, url: str) -> bytes:
        known = self._certificates.get(url)
        if known is None:
            known = await self._files.certificate(url)
            if len(self._certificates) >= _KNOWN_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = known
        return known


async def _aside(request: WebhookRequest, do: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    """Call `do`; in a thread where the request is large, so that it does not block the others."""
    if len(request.body) < _LARGE:
        return do(*args, **more)
    return await asyncio.to_thread(do, *args, **more)


def _of(events: Sequence[WebhookEvent], kind: type[E]) -> list[E]:
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
