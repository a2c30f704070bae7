"""Rows: what is stored for drafts without errors, and their files before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.model import Attachment, Channel
from gateway.accept import steps
from gateway.accept.draft import Draft, Links, said
from gateway.accept.keeping import Result
from gateway.accept.malformed import Malformed
from gateway.accept.pausing import Pauses
from gateway.accept.repeating import OF_A_TEST
from gateway.consent import standing
from gateway.ids import derived_id, new_id
from gateway.media.files import Files, as_rows
from gateway.problems import Problem, invalid
from gateway.shapes.messages import SendRequest
from gateway.store.conversations import Place
from gateway.store.database import Caller
from gateway.store.media import NewMedia
from gateway.store.reports import event_id_of, report_id
from gateway.store.values import Row

_ACCEPTED = report_id("accepted")
_PRIORITIES = {"high": 0, "normal": 1, "bulk": 2}
# So many files may wait to be removed, and so many seconds at the end: one that stays harms nobody.
_MOST, _AT_END = 10_000, 2.0


class Rows:
    """Makes the rows that are to be stored, and removes the files of those that are not."""

    def __init__(self, files: Files) -> None:
        self._kept = files
        self._unwanted: deque[NewMedia] = deque(maxlen=_MOST)
        self._removing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Remove what is still to be removed, if that is quick."""
        if self._removing is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_AT_END):
                    await self._removing

    async def all(
        self,
        caller: Caller,
        requests: Sequence[SendRequest | Malformed[SendRequest]],
        drafts: Sequence[Draft],
        conversation_id: UUID | None,
    ) -> list[Result]:
        """For each request, in order, its row or its problem; keeps inline files, of all or none.

        Raises `MediaStoreError`.
        """
        results: list[Result] = []
        pauses = Pauses()
        try:
            for request, draft in zip(requests, drafts, strict=True):
                results.append(
                    invalid(draft.errors)
                    if draft.errors or isinstance(request, Malformed)
                    else await self.one(caller, request, draft, conversation_id)
                )
                if pauses.are_due:
                    await pauses.take()
        except BaseException:
            self.discard([each for each in results if not isinstance(each, Problem)])
            raise
        return results

    async def one(
        self,
        caller: Caller,
        request: SendRequest,
        draft: Draft,
        conversation_id: UUID | None = None,
    ) -> Row:
        """The row to store for a draft without errors; stores its inline files."""
        message_id, priority = new_id(), _PRIORITIES[request.priority]
        given = draft.content.attachments if draft.content else ()
        files, media = await self._files(caller, message_id, given)
        return new_row(
            message_id,
            said(request.channel, draft),
            draft.owners,
            source="api",
            priority=priority,
            is_test=caller.is_test,
            metadata=request.metadata,
            reference=request.reference,
            expires_at=request.expires_at,
            steps=steps.rows(request, draft, priority),
            send_at=request.send_at,
            attachments=files,
            media=media,
            conversation_id=conversation_id,
        )

    async def _files(
        self, caller: Caller, message_id: UUID, given: Sequence[Attachment]
    ) -> tuple[list[dict[str, Any]], list[NewMedia]]:
        media: list[NewMedia] = []
        shown: list[Attachment] = []
        try:
            for position, file in enumerate(given):
                if file.content is None:
                    shown.append(file)
                    continue
                media_id = derived_id(message_id, "media", str(position))
                new = NewMedia(
                    organization_id=caller.organization_id,
                    id=media_id,
                    message_id=message_id,
                    position=position,
                    filename=file.filename,
                    content_type=file.content_type,
                )
                media.append(await self._kept.keep(new, file.content))
                shown.append(replace(file, url=self._kept.url(media_id)))
        except BaseException:
            self._discard(media)
            raise
        return as_rows(shown), media

    def discard(self, rows: Sequence[Row]) -> None:
        """Remove the files of rows that are not stored: nobody else would ever find them.

        Behind the answer: while the media store is away it may take a minute for each.
        """
        self._discard([file for row in rows for file in row["media"]])

    def _discard(self, files: Sequence[NewMedia]) -> None:
        self._unwanted.extend(files)
        if self._unwanted and self._removing is None:
            self._removing = asyncio.create_task(self._remove())

    async def _remove(self) -> None:
        try:
            while self._unwanted:
                await self._kept.discard(self._unwanted.popleft())
        finally:
            self._removing = None


def new_row(
    message_id: UUID,
    says: Row,
    owners: Links,
    *,
    source: str,
    priority: int,
    is_test: bool,
    metadata: Mapping[str, Any],
    reference: str | None,
    expires_at: datetime | None,
    steps: Sequence[Row],
    send_at: datetime | None = None,
    attachments: Sequence[Row] = (),
    media: Sequence[NewMedia] = (),
    conversation_id: UUID | None = None,
) -> Row:
    """The row of a message that `says` this (as `said` has it) to the `owners` of its address."""
    lead_id, client_id = owners
    from_address, to_address = says["from_address"], says["to_address"]
    return {
        **says,
        "id": message_id,
        "attachments": attachments,
        "metadata": {**metadata, **OF_A_TEST} if is_test else metadata,
        "reference": reference,
        "send_at": send_at,
        "expires_at": expires_at,
        "retry_of": None,
        "priority": priority,
        "is_test": is_test,
        "event_id": event_id_of(message_id, _ACCEPTED),
        "source": source,
        "place": Place(
            seed=message_id,
            addresses=[to_address],
            lead_id=lead_id,
            client_id=client_id,
            conversation_id=conversation_id,
        ),
        "media": media,
        "written": standing.written(message_id, from_address, to_address, says["subject"])
        if says["channel"] == Channel.EMAIL
        else None,
        "steps": steps,
    }
