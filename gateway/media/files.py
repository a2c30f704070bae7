"""Files of messages: inbound and uploaded ones are stored, those of outbound messages loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote
from uuid import UUID

from channels.errors import Refused, RefusedForNow
from channels.http import Limits
from channels.model import Attachment
from gateway.media import kinds
from gateway.media.links import MediaLinks, media_id_of
from gateway.media.store import MediaStore, MediaStoreError, MissingFileError, storage_key
from gateway.outside.download import Downloader, DownloadLater, DownloadRefused
from gateway.store import media
from gateway.store.database import Database
from gateway.store.media import Media, NewMedia

MAX_BYTES = 32 * 2**20
LIMITS = Limits(connect=5.0, total=60.0)
# Short, because a webhook, and so the provider, waits for it.
_CERTIFICATE_LIMITS = Limits(connect=2.0, total=5.0)
_CERTIFICATE_BYTES = 2**16


class Files:
    """Stores files before any row refers to them, and loads them."""

    def __init__(
        self, database: Database, store: MediaStore, links: MediaLinks, downloader: Downloader
    ) -> None:
        self._database = database
        self._store = store
        self._links = links
        self._downloader = downloader

    def url(self, media_id: UUID) -> str:
        """The URL of a file for callers."""
        return self._links.shown(media_id)

    async def keep(self, new: NewMedia, content: bytes) -> NewMedia:
        """Store the content of a file; returns the row that refers to it, to be stored after this.

        Raises `MediaStoreError`. The same id is the same file, stored once.
        """
        key = storage_key(new.organization_id, new.id)
        content_type = new.content_type or kinds.type_of(content, None)
        await self._store.put(key, content, kinds.plain_type(content_type))
        return replace(
            new,
            filename=kinds.clean_name(new.filename),
            content_type=content_type,
            size=len(content),
            storage_key=key,
            state="stored",
        )

    async def discard(self, kept: NewMedia) -> None:
        """Remove a file whose row is not stored after all.

        If the media store fails, the file stays there, which does no harm.
        """
        if kept.storage_key is not None:
            with suppress(MediaStoreError):
                await self._store.delete(kept.storage_key)

    async def load(
        self, organization_id: UUID, stored: Sequence[Attachment], *, max_bytes: int = MAX_BYTES
    ) -> tuple[Attachment, ...]:
        """Attachments with their content: our own from the media store, others by their URLs.

        `max_bytes` is for all together. Raises `Refused` or `RefusedForNow`, naming the file.
        """
        own = await self._own(organization_id, stored)
        loaded: list[Attachment] = []
        left = max_bytes
        for number, attachment in enumerate(stored, 1):
            name = attachment.filename or f"Attachment {number}"
            try:
                one = await self._with_content(attachment, own, left)
            except MissingFileError as error:
                raise Refused(f"{name}: the gateway has lost it.", code="attachment") from error
            except MediaStoreError as error:
                text = f"{name}: the gateway cannot read it now."
                raise RefusedForNow(text, code="attachment") from error
            except DownloadLater as error:
                raise RefusedForNow(
                    f"{name}: {error.message}", code="attachment", retry_after=error.retry_after
                ) from error
            except DownloadRefused as error:
                raise Refused(f"{name}: {error.message}", code="attachment") from error
            left -= len(one.content or b"")
            if left < 0:
                size = f"{max_bytes // 2**20} MiB"
                raise Refused(f"All files together are larger than {size}.", code="attachment")
            loaded.append(one)
        return tuple(loaded)

    async def linked(
        self, organization_id: UUID, stored: Sequence[Attachment]
    ) -> tuple[Attachment, ...]:
        """Attachments with URLs that a provider can fetch; URLs of other servers are unchanged.

        Raises `Refused`.
        """
        own = await self._own(organization_id, stored)
        return tuple(
            replace(
                _described(one, found),
                url=self._links.public(organization_id, found.id),
            )
            if (found := _of(one, own))
            else one
            for one in stored
        )

    async def certificate(self, url: str) -> bytes:
        """A certificate that a provider publishes; raises a `DownloadError`."""
        file = await self._downloader.get(
            url, max_bytes=_CERTIFICATE_BYTES, limits=_CERTIFICATE_LIMITS
        )
        return file.content

    async def _own(
        self, organization_id: UUID, stored: Sequence[Attachment]
    ) -> Mapping[UUID, Media]:
        """Those of the files that are ours; raises `Refused` if one of them was deleted."""
        ids = [found for one in stored if (found := media_id_of(one.url))]
        if not ids:
            return {}
        async with self._database.as_service() as db:
            own = await media.by_ids(db, organization_id, ids)
        for one in stored:
            if one.url.startswith(self._links.start) and _of(one, own) is None:
                name = one.filename or "A file"
                raise Refused(f"{name}: it was deleted from the gateway.", code="attachment")
        return own

    async def _with_content(
        self, attachment: Attachment, own: Mapping[UUID, Media], left: int
    ) -> Attachment:
        if attachment.content is not None:
            return attachment
        kept = _of(attachment, own)
        if kept is not None:
            if kept.storage_key is None:
                raise MissingFileError("a file was never stored")
            content = await self._store.get(kept.storage_key)
            return replace(_described(attachment, kept), content=content)
        # It is on another server, and fetched without credentials.
        file = await self._downloader.get(attachment.url, max_bytes=max(left, 1), limits=LIMITS)
        named = attachment.filename or file.filename or _last_of(file.url)
        content_type = attachment.content_type or file.content_type
        return replace(
            attachment,
            content=file.content,
            size=len(file.content),
            filename=kinds.clean_name(named),
            content_type=content_type or kinds.type_of(file.content, None),
        )


def _last_of(url: str) -> str:
    """The last part of a URL's path, unquoted."""
    path = url.partition("?")[0].partition("#")[0]
    return unquote(path.rpartition("/")[2])


def _of(attachment: Attachment, own: Mapping[UUID, Media]) -> Media | None:
    found = media_id_of(attachment.url)
    return None if found is None else own.get(found)


def as_rows(files: Sequence[Attachment]) -> list[dict[str, object]]:
    """Files in the form of `messages.attachments`."""
    return [
        {"url": f.url, "filename": f.filename, "content_type": f.content_type, "size": f.size}
        for f in files
    ]


def _described(attachment: Attachment, kept: Media) -> Attachment:
    """The attachment, with the name and type of its file if it has none of its own."""
    return replace(
        attachment,
        filename=attachment.filename or kept.filename,
        content_type=attachment.content_type or kept.content_type,
    )
