"""Rows to be stored: their files are there before them, and without them not for long."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import pytest

from channels.model import Attachment, Content
from gateway.accept.draft import Draft
from gateway.accept.rows import Rows
from gateway.ids import new_id
from gateway.media.files import Files
from gateway.media.folder import FolderStore
from gateway.media.links import MediaLinks
from gateway.media.store import MediaStoreError
from gateway.outside.download import Downloader
from gateway.shapes.messages import SendRequest
from gateway.store.database import ApiKey, Database
from gateway.vault import Vault

LINKS = MediaLinks(Vault([b"k" * 32]), "https://msg.example.org")
CALLER = ApiKey(id=new_id(), organization_id=new_id(), is_test=False)
MAIL = {"channel": "email", "to": "ada@customer.example", "subject": "Bill", "body": "Here"}
REQUEST = SendRequest.model_validate(MAIL, strict=False)


class SmallStore(FolderStore):
    """A store with room for three files, that answers nothing else while it is not `here`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._room = 3
        self.here = asyncio.Event()

    async def put(self, key: str, content: bytes, content_type: str) -> None:
        """Store it, or fail."""
        self._room -= 1
        if self._room < 0:
            raise MediaStoreError("the disk is full")
        await super().put(key, content, content_type)

    async def delete(self, key: str) -> None:
        """Remove it in the end."""
        await self.here.wait()
        await super().delete(key)


@pytest.fixture
def store(tmp_path: Path) -> SmallStore:
    """A new one."""
    return SmallStore(tmp_path)


@pytest.fixture
def rows(store: SmallStore) -> Rows:
    """Rows with files in that store."""
    return Rows(Files(cast("Database", None), store, LINKS, Downloader()))


def draft(files: int) -> Draft:
    """A mail with so many files."""
    attachments = tuple(Attachment(filename="a.txt", content=b"a") for _ in range(files))
    content = Content(body="Here", subject="Bill", attachments=attachments)
    return Draft(errors=(), from_address="a@b.example", to_address="c@d.example", content=content)


def kept(folder: Path) -> int:
    """How many files there are."""
    return sum(path.is_file() for path in folder.rglob("*"))


async def test_a_store_that_is_full_in_the_middle(
    rows: Rows, store: SmallStore, tmp_path: Path
) -> None:
    """Where a file cannot be kept, those of its message before it are removed, and those of the
    messages before that."""
    store.here.set()
    with pytest.raises(MediaStoreError):
        await rows.all(CALLER, [REQUEST] * 2, [draft(2), draft(2)], None)
    await rows.close()
    assert 0 == kept(tmp_path)


async def test_a_store_that_does_not_answer(rows: Rows, store: SmallStore, tmp_path: Path) -> None:
    """Nobody waits for files to be removed; at the end for those that are left."""
    rows.discard([await rows.one(CALLER, REQUEST, draft(2))])
    await asyncio.sleep(0)
    rows.discard([await rows.one(CALLER, REQUEST, draft(1))])
    assert 3 == kept(tmp_path)
    store.here.set()
    await rows.close()
    assert 0 == kept(tmp_path)
