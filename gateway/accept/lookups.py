"""What requests refer to, and the standing of their recipients, read for many requests at once.

Concurrent requests of one caller share a round trip, as that caller, under Row Level Security.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice
from typing import TypeVar
from uuid import UUID

from channels import email, phone
from channels.model import Channel
from gateway import addresses
from gateway.accept import judging
from gateway.accept.draft import Draft
from gateway.accept.known import Known, as_uuid
from gateway.accept.pausing import Pauses
from gateway.batching import Batching
from gateway.media.links import media_id_of
from gateway.shapes import options
from gateway.shapes.messages import SendRequest
from gateway.store import contacts, media, suppressions
from gateway.store.database import Caller, Database
from gateway.store.suppressions import Pair, Standing
from gateway.store.values import Row

T = TypeVar("T")
R = TypeVar("R")

_MOST = 1000


class Lookups:
    """Reads what drafts need; stores nothing. URLs of our own files start with `files_at`."""

    def __init__(self, database: Database, files_at: str | None = None) -> None:
        self._database = database
        self._files_at = files_at
        self._known = Batching(self._read_known, owner=_organization, most=_MOST)
        self._stands = Batching(self._read_standings, owner=_organization, most=_MOST)

    async def known(self, caller: Caller, requests: Sequence[SendRequest]) -> Known:
        """Everything that these requests refer to, and concurrent ones of the same caller."""
        return await self._known((caller, requests), size=len(requests))

    async def standings(
        self,
        caller: Caller,
        requests: Sequence[SendRequest],
        drafts: Sequence[Draft],
        known: Known,
    ) -> list[Standing]:
        """The standing of each draft's recipient; for most SMS `known` has it already."""
        pairs: dict[int, Pair] = {}
        standings = []
        pauses = Pauses()
        for n, (request, draft) in enumerate(zip(requests, drafts, strict=True)):
            if pauses.are_due:
                await pauses.take()
            to = draft.to_address
            forms = addresses.forms(request.channel, to) if to is not None else ()
            standings.append(judging.known_standing(request.channel, forms, known))
            if not forms or draft.from_address is None:
                continue
            is_asked = forms[0] in known.asked
            if not is_asked or request.channel in (Channel.EMAIL, Channel.WHATSAPP):
                pairs[n] = Pair(
                    channel=request.channel,
                    addresses=forms,
                    our_address=addresses.key(request.channel, draft.from_address),
                    topic=judging.topic(draft),
                )
        if pairs:
            found = await self._stands((caller, list(pairs.values())), size=len(pairs))
            for n, how in zip(pairs, found, strict=True):
                standings[n] = how
        return standings

    async def _read_known(
        self, wishes: Sequence[tuple[Caller, Sequence[SendRequest]]]
    ) -> list[Known]:
        """What concurrent requests refer to, in one round trip for each caller."""

        async def read(caller: Caller, requests: Sequence[SendRequest]) -> Known:
            wanted = _wanted(requests)
            async with self._database.as_caller(caller, is_brief=True) as db:
                context = await contacts.context(db, caller.organization_id, wanted)
                files = self._own_files(requests, context.templates)
                there = await media.by_ids(
                    db, caller.organization_id, [*filter(None, files.values())]
                )
            ours = {url: there.get(id_) if id_ else None for url, id_ in files.items()}
            return Known(context, wanted.addresses, ours)

        known = await _by_caller(wishes, read)
        return [known[caller] for caller, _ in wishes]

    def _own_files(
        self, requests: Sequence[SendRequest], templates: Sequence[Row]
    ) -> dict[str, UUID | None]:
        """Those of the files' URLs that are ours, each with the id of the file, if it has one."""
        start = self._files_at
        if not start:
            return {}
        urls = [one.url for request in requests for one in request.attachments or ()]
        urls += [options.played(each.options) for each in requests]
        urls += [options.played(each["options"]) for each in templates]
        return {url: media_id_of(url) for url in urls if url and url.startswith(start)}

    async def _read_standings(
        self, wishes: Sequence[tuple[Caller, list[Pair]]]
    ) -> list[list[Standing]]:
        """The standing of the recipients of concurrent requests, one round trip per caller."""

        async def read(caller: Caller, pairs: Sequence[Pair]) -> Iterator[Standing]:
            async with self._database.as_caller(caller, is_brief=True) as db:
                return iter(await suppressions.standing(db, caller.organization_id, pairs))

        rest = await _by_caller(wishes, read)
        return [list(islice(rest[caller], len(pairs))) for caller, pairs in wishes]


async def _by_caller(
    wishes: Sequence[tuple[Caller, Sequence[T]]],
    read: Callable[[Caller, Sequence[T]], Awaitable[R]],
) -> dict[Caller, R]:
    """What `read` returns for each caller, of all wishes of that caller together."""
    wanted: dict[Caller, list[T]] = defaultdict(list)
    for caller, some in wishes:
        wanted[caller] += some
    found = await asyncio.gather(*(read(*each) for each in wanted.items()))
    return dict(zip(wanted, found, strict=True))


def _organization(wish: tuple[Caller, object]) -> UUID:
    return wish[0].organization_id


def _wanted(requests: Sequence[SendRequest]) -> contacts.Wanted:
    ids = {r.template: as_uuid(r.template) for r in requests if r.template is not None}
    tos = {r.to for r in requests if r.to is not None}
    froms = {r.from_ for r in requests if r.from_ is not None}
    numbers = [to for to in tos if "@" not in to]
    read = {
        (r.channel, address)
        for r in requests
        if r.to and (address := addresses.read(r.channel, r.to, None))
    }
    return contacts.Wanted(
        lead_ids=list({r.lead_id for r in requests if r.lead_id}),
        client_ids=list({r.client_id for r in requests if r.client_id}),
        template_ids=[found for found in ids.values() if found],
        template_names=list(ids),
        channels=[str(channel) for channel in {r.channel for r in requests}],
        senders=[*froms, *(text.lower() for text in froms)],
        sender_tails=list({tail for text in froms if (tail := phone.tail(text))}),
        tails=list({tail for to in numbers if (tail := phone.tail(to))}),
        emails=list({each for to in tos if "@" in to for each in email.spellings(to)}),
        addresses=list({form for each in read for form in addresses.forms(*each)}),
        answered=list({r.in_reply_to for r in requests if r.in_reply_to}),
    )
