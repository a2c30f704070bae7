"""Rows: made of drafts without errors, whose files are stored first."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

from channels.model import Attachment
from gateway.accept import steps
from gateway.accept.draft import Draft, common_columns
from gateway.accept.keeping import Result
from gateway.accept.malformed import Malformed
from gateway.accept.pausing import Pauses
from gateway.accept.row import new_row
from gateway.ids import derived_id, new_id
from gateway.media.files import Files, as_rows
from gateway.problems import Problem, invalid
from gateway.shapes.messages import SendRequest
from gateway.store.database import Caller
from gateway.store.media import NewMedia
from gateway.store.values import Row

_PRIORITIES = {"high": 0, "normal": 1, "bulk": 2}
# How many files may wait to be removed, and for how many seconds when the process ends: a file that
# stays does no harm.
_MOST, _AT_END = 10_000, 2.0


class Rows:
    """Makes the rows that are to be stored, and removes the files of those that are not."""

    def __init__(self, files: Files) -> None:
        self._kept = files
        self._unwanted: deque[NewMedia] = deque(maxlen=_MOST)
        self._removing: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Remove the files that are still waiting for that, within seconds."""
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
        """For each request, in order, its row or its problem; stores inline files of all or none.

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
        files, media = await self._files(caller, message_id, given) if given else ([], [])
        return new_row(
            message_id,
            common_columns(request.channel, draft),
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
        """Remove the files of rows that are not stored: nothing else ever would.

        In the background: while the media store is away it may take a minute for each.
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
