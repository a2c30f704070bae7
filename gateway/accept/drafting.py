"""Drafting: a request to send is read in its context: recipient, sender, text, and what is wrong.

Everything that a batch refers to is read in one round trip, as the caller. For e-mail and WhatsApp
a second one reads the standing of the recipients: suppressions, window, threads. All problems of a
request are reported, not only the first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from uuid import UUID

from channels.lines import Places
from channels.model import Channel
from channels.rendering.renderer import Renderer
from gateway import addresses, quoting, registry
from gateway.accept import contents, judging, recipients, steps, well_formed
from gateway.accept.allowance import MOST_BYTES, Allowance, large_places
from gateway.accept.draft import Draft
from gateway.accept.known import Known
from gateway.accept.lookups import Lookups
from gateway.accept.pausing import Pauses
from gateway.parts import Parts, Thread, mail_id, of_content
from gateway.problems import FieldError
from gateway.shapes.messages import SendRequest
from gateway.store.database import Caller, Database

# Seconds for all templates of one call of `read` that need a child process.
RENDERING_SECONDS = 60.0


class Drafting:
    """Makes drafts; stores nothing."""

    def __init__(
        self,
        database: Database,
        renderer: Renderer,
        *,
        files_at: str | None = None,
        rendering: float = RENDERING_SECONDS,
        most_bytes: int = MOST_BYTES,
        places: Places | None = None,
    ) -> None:
        self._lookups = Lookups(database, files_at)
        self._renderer = renderer
        self._rendering = rendering
        self._most_bytes = most_bytes
        self._places = places or large_places()

    async def read(
        self, caller: Caller, requests: Sequence[SendRequest], *, repeats: Parts | None = None
    ) -> list[Draft]:
        """A draft of each request, in order; a retry repeats the `Parts` of the failed message.

        Raises `Problem` 503 if they are large, and other large requests take too long.
        """
        if not requests:
            return []
        allowance = Allowance(self._most_bytes, self._places, caller.organization_id)
        try:
            return await self._read_all(caller, requests, repeats, allowance)
        finally:
            allowance.end()

    async def _read_all(
        self,
        caller: Caller,
        requests: Sequence[SendRequest],
        repeats: Parts | None,
        allowance: Allowance,
    ) -> list[Draft]:
        known = await self._lookups.known(caller, await _sought(requests))
        now = datetime.now(UTC)
        pauses = Pauses()
        renderer, since = self._renderer.within(self._rendering, allowance.owner), time.monotonic()
        read: list[SendRequest] = []  # each request, and behind it its steps
        drafts: list[Draft] = []
        for request in requests:
            if allowance.needs_place:
                used = time.monotonic() - since
                await allowance.take_place()
                renderer = self._renderer.within(self._rendering, allowance.owner, used=used)
            draft = await self._read(request, known, now, renderer, allowance)
            if repeats is not None:
                draft = _repeating(draft, repeats)
            read.append(request)
            drafts.append(draft)
            if pauses.are_due:
                await pauses.take()
            for step in request.fallback or ():
                read.append(steps.request_of(step, request, draft, known))
                drafts.append(await self._read(read[-1], known, now, renderer, allowance))
                if pauses.are_due:
                    await pauses.take()
        standings = await self._lookups.standings(caller, read, drafts, known)
        judged = (
            judging.judge(each, draft, how, now)
            for each, draft, how in zip(read, drafts, standings, strict=True)
        )
        return await _joined(requests, judged)

    async def _read(
        self,
        request: SendRequest,
        known: Known,
        now: datetime,
        renderer: Renderer,
        allowance: Allowance,
    ) -> Draft:
        errors = well_formed.errors(request, now)
        to_address, contact_errors = recipients.recipient(request, known)
        sender, sender_errors = recipients.sender(request, known)
        provider = sender["provider"] if sender else None
        limit = registry.limit(provider, request.channel)
        composed = allowance.refused(request)
        if composed is None:
            composed = await contents.compose(renderer, request, known, limit)
            allowance.add(composed.content)
        lead_id, client_id = recipients.links(request, to_address, known)
        kept = composed.outside or composed.content
        named = kept.template if kept else None
        errors += [FieldError(*each) for each in registry.unnamed(provider, named)]
        parts, answer_errors = _answering(request, composed, known, provider)
        if request.priority != "normal":
            parts = replace(parts, priority=request.priority)
        return Draft(
            errors=(*errors, *contact_errors, *sender_errors, *composed.errors, *answer_errors),
            from_address=sender["address"] if sender else None,
            to_address=to_address,
            content=composed.content,
            parts=parts,
            lead_id=lead_id,
            client_id=client_id,
            owners=recipients.owners(request, to_address, known),
            template_id=composed.template_id,
            sender_id=sender["id"] if sender else None,
            provider=provider,
        )


async def _sought(requests: Sequence[SendRequest]) -> list[SendRequest]:
    """The requests with the steps of their fallbacks, to find everything that they refer to."""
    sought: list[SendRequest] = []
    pauses = Pauses()
    for request in requests:
        if not request.fallback:
            sought.append(request)
            continue
        sought += steps.sought(request)
        if pauses.are_due:
            await pauses.take()
    return sought


def _repeating(draft: Draft, repeats: Parts) -> Draft:
    """The draft of a retry: it quotes, and says outside WhatsApp's window, what the failed one did.

    No request can say that, so it is not read from one.
    """
    parts = replace(
        draft.parts,
        quotes=repeats.quotes,
        outside=repeats.outside,
        outside_text=repeats.outside_text,
    )
    return replace(draft, parts=parts)


async def _joined(requests: Sequence[SendRequest], judged: Iterator[Draft]) -> list[Draft]:
    """One draft of each request, from the judged ones of the request and of its steps behind it."""
    pauses = Pauses()
    joined: list[Draft] = []
    for request in requests:
        first, behind = next(judged), list(islice(judged, len(request.fallback or ())))
        joined.append(steps.joined(request, first, behind))
        if pauses.are_due:
            await pauses.take()
    return joined


def _answering(
    request: SendRequest, composed: contents.Composed, known: Known, provider: str | None
) -> tuple[Parts, list[FieldError]]:
    """The parts of a message, including the message that it answers."""
    errors: list[FieldError] = []
    parts = of_content(composed.content, composed.outside) if composed.content else Parts()
    if request.channel is Channel.EMAIL:
        wanted = composed.options.get("reply_to")
        reply_to = addresses.read(Channel.EMAIL, wanted, None) if wanted is not None else None
        if wanted is not None and reply_to is None:
            text = addresses.invalid(Channel.EMAIL, None)
            errors.append(FieldError("options.reply_to", text))
        has_unsubscribe = composed.options.get("unsubscribe", True)
        parts = replace(parts, thread=Thread(reply_to=reply_to, has_unsubscribe=has_unsubscribe))
    if request.in_reply_to is None:
        return parts, errors
    row = known.answered(request.in_reply_to)
    if row is None or row["channel"] != request.channel:
        text = f"there is no message with that id on {request.channel} in your organization"
        return parts, [*errors, FieldError("in_reply_to", text)]
    if request.channel is Channel.EMAIL and parts.thread is not None:
        own = mail_id(UUID(row["id"]), row["from_address"])
        theirs = row["external_id"] if row["direction"] == "inbound" else None
        thread = replace(parts.thread, references=(theirs or own,))
        return replace(parts, thread=thread), errors
    if problem := quoting.problem(provider, request.channel, row["external_id"]):
        return parts, [*errors, FieldError("in_reply_to", problem)]
    return replace(parts, quotes=row["external_id"]), errors
