"""Receive: signed request → event → row. A 2xx means that everything in it is stored.

One transaction keeps the raw request, appends the events, and moves the rows by the one status
statement; what is about a message that we do not know yet is kept and applied when we do. Files
that came with it are kept before; what it only points at is fetched later, by a worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ParamSpec, TypeVar
from uuid import UUID

from channels import email, phone
from channels.model import Account, Attachment, Channel
from gateway import incoming, links, placing, reporting
from gateway.attachments import as_rows
from gateway.ids import derived_id
from gateway.incoming import Row
from gateway.logs import logger
from gateway.media.files import Files
from gateway.metrics import Metrics
from gateway.raw_requests import raw_request
from gateway.registry import PROVIDERS
from gateway.reporting import Received, Reporting, Told
from gateway.store import contacts, conversations, media, messages, reports, suppressions
from gateway.store.conversations import Placed
from gateway.store.database import Connection, Database
from gateway.store.media import NewErrand, NewMedia
from gateway.store.reports import Advance
from gateway.store.suppressions import Answered
from gateway.vault import Vault
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    NeedsCertificate,
    Reply,
    StatusReport,
    Unknown,
    WebhookEvent,
    WebhookRequest,
)

_log = logger(__name__)

_KNOWN_CERTIFICATES = 100
_LARGE = 32 * 2**10

E = TypeVar("E", bound=WebhookEvent)
T = TypeVar("T")
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of one message: as it shows them, and as they are kept or to be fetched."""

    shown: list[Attachment] = field(default_factory=list)
    media: list[NewMedia] = field(default_factory=list)


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
        self._vault = vault
        self._metrics = metrics
        self._files = files
        self._certificates: dict[str, bytes] = {}
        self._reporting = Reporting(database, metrics)

    async def receive(self, account: Account, request: WebhookRequest) -> Reply:
        """Verify, read and store one request; the answer that its provider expects.

        Raises `InvalidSignature` or `Unreadable`, with nothing stored.
        """
        row = PROVIDERS[account.provider]
        half = row.webhook
        if row.sender_credential:
            request = replace(request, sender_id=account.credentials.get(row.sender_credential))
        try:
            half.verify(request, account)
        except NeedsCertificate as needed:
            certificates = {needed.url: await self._certificate(needed.url)}
            half.verify(replace(request, certificates=certificates), account)
        events = await _aside(request, half.parse, request)
        await self._store(account, request, events)
        return half.reply(request, events, account)

    async def fetched(self, account: Account, request: WebhookRequest) -> None:
        """Store what a worker fetched from the provider itself; raises `Unreadable`."""
        parse = PROVIDERS[account.provider].webhook.parse
        events = await _aside(request, parse, request)
        await self._store(account, request, events)

    async def _store(
        self, account: Account, request: WebhookRequest, events: Sequence[WebhookEvent]
    ) -> None:
        told = [event for event in events if isinstance(event, StatusReport)]
        received = Received(account, raw_request(account, request), told)
        if len(told) + len(_of(events, Unknown)) == len(events):
            await self._reporting.store(received)
            return
        additions = _of(events, Addition)
        # A digest of every file is in it: in a thread where they are large.
        inbound = await _aside(request, incoming.by_id, account, _of(events, Inbound))
        files = [
            await self._keep(account, about, "", message.attachments)
            for about, message in inbound.items()
        ]
        async with self._database.as_service() as db:
            await reports.keep_requests(db, [received.request])
            new: list[Row] = []
            placed: list[Placed] = []
            if inbound:
                new, placed = await self._store_inbound(db, account, inbound, files)
            advanced = await reporting.record(db, [received])
            for addition in additions:
                advances = await self._add(db, account, addition)
                advanced += [Told(account.provider, advance) for advance in advances]
            await self._store_consent(db, account, _of(events, ConsentChange))
            await media.add_errands(db, [_errand(account, f) for f in _of(events, Fetch)])
        await placing.join(self._database, account.organization_id, placed)
        self._reporting.count(advanced)
        self._count(account, new)

    def _count(self, account: Account, new: Sequence[Row]) -> None:
        """Numbers and log lines for what is stored: a transaction that failed comes again."""
        for row in new:
            self._metrics.received(Channel(row["channel"]), account.provider)
            _log.info(
                "received",
                message_id=str(row["id"]),
                organization_id=str(account.organization_id),
                provider=account.provider,
            )

    async def _store_inbound(
        self,
        db: Connection,
        account: Account,
        by_id: Mapping[UUID, Inbound],
        files: Sequence[_Files],
    ) -> tuple[list[Row], list[Placed]]:
        inbound = list(by_id.values())
        senders = {message.from_address for message in inbound}
        known = await contacts.by_address(
            db,
            account.organization_id,
            [tail for address in senders if "@" not in address and (tail := phone.tail(address))],
            [email.key(address) for address in senders if "@" in address],
        )
        answered = await self._answered(db, account, inbound)
        rows = [
            incoming.inbound_row(account, own_id, message, each.shown, known, answered.get(n))
            for n, ((own_id, message), each) in enumerate(zip(by_id.items(), files, strict=True))
        ]
        placed = await conversations.place(
            db,
            account.organization_id,
            [incoming.place(own_id, message, known) for own_id, message in by_id.items()],
        )
        for row, where in zip(rows, placed, strict=True):
            row["conversation_id"] = where.conversation_id
        new = await messages.receive(db, account.organization_id, rows)
        fresh = {row["id"] for row in new}
        are_new = [row["id"] in fresh for row in rows]
        kept = [each for each, is_new in zip(files, are_new, strict=True) if is_new]
        await media.insert(db, [one for each in kept for one in each.media])
        wrote = [
            told
            for n, (message, is_new) in enumerate(zip(inbound, are_new, strict=True))
            if is_new and (told := incoming.written(message, answered.get(n)))
        ]
        await suppressions.wrote(db, account.organization_id, wrote)
        for message, row, is_new in zip(inbound, rows, are_new, strict=True):
            if is_new and message.channel is Channel.CALL:
                await self._take_additions(db, account, message.external_id, row["id"])
        return new, placed

    async def _take_additions(
        self, db: Connection, account: Account, external_id: str, about: UUID
    ) -> None:
        """What was told about a call before the call itself."""
        key = (account.organization_id, account.id, external_id, about)
        for event in await reports.take_unmatched(db, [key]):
            addition = incoming.read_addition(external_id, event)
            if addition is not None:
                await self._add(db, account, addition)

    async def _answered(
        self, db: Connection, account: Account, inbound: Sequence[Inbound]
    ) -> dict[int, Answered]:
        """The message of ours that each answers: by our token, or by reference and sender."""
        wanted: dict[int, tuple[list[UUID], list[str]]] = {}
        tokens: dict[int, UUID] = {}
        for n, message in enumerate(inbound):
            ids, external = incoming.candidates(message)
            for address in (message.to_address, *message.recipients):
                token = links.read_reply(self._vault, account.organization_id, address)
                if token is not None:
                    tokens[n] = token
                    ids.insert(0, token)
            if ids or external:
                wanted[n] = (ids, external)
        found = await suppressions.answered(db, account.organization_id, wanted)
        return {
            n: known
            for n, candidates in found.items()
            for known in reversed(candidates)
            if known.id == tokens.get(n) or incoming.is_theirs(inbound[n], known)
        }

    async def _add(self, db: Connection, account: Account, addition: Addition) -> list[Advance]:
        """More of a message: files and text are added by whoever brings the event first."""
        known = await reports.resolve_any(db, account.organization_id, [addition.external_id])
        about = known.get(addition.external_id)
        if about is None:
            # It overtook its message: whoever stores that takes it from here.
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

    async def _store_consent(
        self, db: Connection, account: Account, changes: Sequence[ConsentChange]
    ) -> None:
        if not changes:
            return
        unnamed = [change for change in changes if change.address is None]
        meant: dict[int, UUID] = {}
        reached: dict[UUID, str] = {}
        if unnamed:
            meant = await reports.resolve(
                db, [(account.organization_id, c.message_id, c.external_id) for c in unnamed]
            )
            reached = await reports.addressees(db, account.organization_id, list(meant.values()))
        theirs = {id(unnamed[n]): reached[about] for n, about in meant.items() if about in reached}
        said = [
            incoming.statement(account, change, address)
            for change in changes
            if (address := change.address or theirs.get(id(change)))
        ]
        await suppressions.change(db, account.organization_id, said)

    async def _keep(
        self, account: Account, about: UUID, part: str, given: Sequence[Attachment]
    ) -> _Files:
        """Keep the files that came along; those that are pointed at are fetched by a worker."""
        files = _Files()
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
    """What a request needs done; in a thread where it is large, so that nobody waits for it."""
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
