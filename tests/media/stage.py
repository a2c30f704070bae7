"""An organization with a message that has files, in a real database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from channels.model import Account
from gateway.ids import new_id
from gateway.manage import setup
from gateway.media.links import MediaLinks
from gateway.receive.errands import Errands, Patience
from gateway.registry import PROVIDERS, Provider
from gateway.store import media
from gateway.store.database import Database
from gateway.store.media import Media, NewErrand, NewMedia
from gateway.store.values import as_json
from gateway.vault import Vault
from webhooks.model import WebhookRequest

BASE = "https://msg.example.org/gw"
API = "http://api.example.com"
CDN = "http://cdn.example.com"
JPEG = b"\xff\xd8\xff\xe0 a picture"
SECRET = {"Authorization": "Basic c2VjcmV0"}
VAULT = Vault([b"k" * 32])
LINKS = MediaLinks(VAULT, BASE)
# Without waits between attempts, so that a test can make them all.
HURRIED = Patience(waits=(0,) * 7)

MakeErrands = Callable[..., Errands]


async def run_due(errands: Errands, limit: int = 100) -> int:
    """Do up to `limit` errands that are due, four at a time; returns how many there were."""
    begun = 0

    async def lane() -> None:
        nonlocal begun
        while begun < limit:
            begun += 1
            if not await errands.run_next():
                begun -= 1
                return

    ended = await asyncio.gather(*(lane() for _ in range(min(4, limit))), return_exceptions=True)
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    return begun


def authorize(account: Account, url: str) -> Mapping[str, str]:
    """As a provider would: with the secret for its own host, or the account's `api_url`."""
    own = ("http://api.example.com/", "https://graph.facebook.com/", "http://graph.facebook.com/")
    if account.api_url and url.startswith(account.api_url + "/"):
        return SECRET
    return SECRET if url.startswith(own) else {}


PROVIDER: Mapping[str, Provider] = {
    "twilio": replace(
        PROVIDERS["twilio"],
        authorize=authorize,
        file_url=PROVIDERS["meta"].file_url,
        may_pass=PROVIDERS["meta"].may_pass,
    )
}


@dataclass
class Stage:
    """One organization, its account and its message."""

    database: Database
    organization_id: UUID
    account_id: UUID
    message_id: UUID
    key: str
    owner: UUID
    received: list[tuple[Account, WebhookRequest]] = field(default_factory=list)

    async def run(self, sql: str, *args: object) -> Any:
        """The one value of a statement."""
        async with self.database.as_service() as db:
            return await db.fetchval(sql, *args)

    async def add(self, *urls: str, content_type: str | None = None) -> list[UUID]:
        """Add files to the message that are still to be fetched."""
        new = [
            NewMedia(
                organization_id=self.organization_id,
                id=new_id(),
                message_id=self.message_id,
                position=position,
                source_url=url,
                content_type=content_type,
                account_id=self.account_id,
            )
            for position, url in enumerate(urls)
        ]
        shown = [{"url": url, "filename": None, "cid": n} for n, url in enumerate(urls)]
        async with self.database.as_service() as db:
            await db.execute(
                "UPDATE messages SET attachments = $2::jsonb WHERE id = $1",
                self.message_id,
                as_json(shown),
            )
            await media.insert(db, new)
        return [one.id for one in new]

    async def send(self, kind: str, url: str, after: float = 0) -> UUID:
        """Add an errand without a file."""
        one = NewErrand(
            organization_id=self.organization_id,
            id=new_id(),
            account_id=self.account_id,
            kind=kind,
            url=url,
            after=after,
        )
        async with self.database.as_service() as db:
            await media.add_errands(db, [one, one])
        return one.id

    async def rows(self) -> Sequence[Media]:
        """The message's files."""
        async with self.database.as_service() as db:
            return await media.by_message(db, self.organization_id, self.message_id)

    async def states(self) -> list[tuple[str, str | None]]:
        """State and reason of each of the message's files."""
        return [(one.state, one.reason) for one in await self.rows()]

    async def shown(self) -> Any:
        """The files as the message shows them."""
        return await self.run("SELECT attachments FROM messages WHERE id = $1", self.message_id)

    async def open_errands(self) -> int:
        """How many errands are left."""
        count: int = await self.run("SELECT count(*) FROM gateway.errands")
        return count


async def make_stage(database: Database, name: str) -> Stage:
    """An organization with an account and an inbound message."""
    organization_id = await setup.create_organization(database, name)
    key = await setup.create_key(database, organization_id, "live", is_test=False)
    _, owner = await setup.create_staff(
        database, organization_id, f"owner@{name.lower()}.example.com", "owner"
    )
    credentials = {"account_sid": "AC" + "a" * 32, "auth_token": "0" * 32}
    account_id = await setup.add_account(database, VAULT, organization_id, "twilio", credentials)
    message_id = new_id()
    async with database.as_service() as db:
        await db.execute(
            "INSERT INTO messages (id, organization_id, channel, direction, from_address,"
            " to_address, body, status) VALUES ($1, $2, 'sms', 'inbound', '+15551230009',"
            " '+15551230001', 'Hi', 'received')",
            message_id,
            organization_id,
        )
    return Stage(
        database=database,
        organization_id=organization_id,
        account_id=account_id,
        message_id=message_id,
        key=key.key,
        owner=owner,
    )
