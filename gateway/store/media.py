"""Files of messages, and errands to fetch something from providers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

from gateway.store.database import Connection
from gateway.store.sql import queries
from gateway.store.values import as_stored, storable

_SQL = queries("media")

# The organization and the account that an errand is for.
Holder = tuple[UUID, UUID]


@dataclass(frozen=True, kw_only=True, slots=True)
class NewMedia:
    """A new file of a message: its bytes are stored already, or to be fetched.

    A file that is to be fetched has a `source_url` and the account whose credentials may be sent
    there; one that cannot be had (`failed`) has the `reason`.
    """

    organization_id: UUID
    id: UUID
    message_id: UUID
    position: int
    filename: str | None = None
    content_type: str | None = None
    size: int | None = None
    storage_key: str | None = None
    state: str = "waiting"
    reason: str | None = None
    source_url: str | None = None
    account_id: UUID | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """A file of a message as callers may see it; `reason` says why it could not be fetched."""

    id: UUID
    position: int
    filename: str | None
    content_type: str | None
    size: int | None
    storage_key: str | None
    state: str
    reason: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NewErrand:
    """Something to be fetched `after` some seconds; `kind` is `parse` or `visit`."""

    organization_id: UUID
    id: UUID
    account_id: UUID
    kind: str
    url: str
    after: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Errand:
    """A due errand that this worker has leased, with its account, whose credentials are sealed.

    `attempts` counts this one, too. `state` and `content_type` are those of the file to be fetched,
    and None if there is none (any more).
    """

    organization_id: UUID
    id: UUID
    account_id: UUID
    kind: str
    url: str = field(repr=False)
    attempts: int
    provider: str
    credentials: bytes = field(repr=False)
    state: str | None
    content_type: str | None

    @property
    def holder(self) -> Holder:
        """Whose it is."""
        return self.organization_id, self.account_id


async def insert(db: Connection, files: Sequence[NewMedia]) -> None:
    """Store files of messages that are stored, with errands for those that are to be fetched."""
    if files:
        await db.execute(_SQL["insert"], as_stored(list(files)))


async def by_message(db: Connection, organization_id: UUID, message_id: UUID) -> list[Media]:
    """The files of one message, in their order."""
    return [Media(**row) for row in await db.fetch(_SQL["by_message"], organization_id, message_id)]


async def by_ids(db: Connection, organization_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Media]:
    """Files by their ids; those that the caller cannot see are left out."""
    rows = await db.fetch(_SQL["by_ids"], organization_id, list(ids)) if ids else []
    return {row["id"]: Media(**row) for row in rows}


async def get(db: Connection, organization_id: UUID, media_id: UUID) -> Media | None:
    """One file, or None where the caller can see none."""
    return (await by_ids(db, organization_id, [media_id])).get(media_id)


async def set_stored(
    db: Connection,
    errand: Errand,
    *,
    filename: str | None,
    content_type: str,
    size: int,
    storage_key: str,
    url: str,
) -> bool:
    """Record in the file's row and in its message where the bytes are; this ends the errand.

    False if another worker has done that before, or if the message was deleted.
    """
    message_id = await db.fetchval(
        _SQL["set_stored"],
        errand.organization_id,
        errand.id,
        storable(filename),
        content_type,
        size,
        storage_key,
        url,
    )
    return message_id is not None


async def set_failed(db: Connection, errand: Errand, reason: str) -> None:
    """Give up an errand, and the file that it was for."""
    await db.execute(_SQL["set_failed"], errand.organization_id, errand.id, storable(reason))


async def fetch_again(
    db: Connection, organization_id: UUID, account_id: UUID, ids: Sequence[UUID]
) -> None:
    """Let an account fetch again those of its files that were given up, if they have a URL."""
    if ids:
        await db.execute(_SQL["fetch_again"], organization_id, account_id, list(ids))


async def add_errands(db: Connection, errands: Sequence[NewErrand]) -> int:
    """Add errands; the same id is the same errand, stored once. Returns how many are new."""
    return len(await db.fetch(_SQL["add_errands"], as_stored(list(errands)))) if errands else 0


async def claim_errand(
    db: Connection,
    seconds: float,
    held: Sequence[Holder] = (),
    *,
    of_account: int = 1000,
    of_organization: int = 1000,
) -> Errand | None:
    """Lease a due errand for `seconds`.

    `held`: the holders of the errands that the caller has under way, one entry for each. Errands of
    other holders come first, and an account with `of_account`, or an organization with
    `of_organization`, gets none.
    """
    organizations = [organization_id for organization_id, _ in held]
    accounts = [account_id for _, account_id in held]
    row = await db.fetchrow(
        _SQL["claim_errand"], seconds, accounts, of_account, organizations, of_organization
    )
    return Errand(**row) if row else None


async def finish_errand(db: Connection, errand: Errand) -> None:
    """Remove an errand that is done."""
    await db.execute(_SQL["finish_errand"], errand.organization_id, errand.id)


async def postpone_errand(db: Connection, errand: Errand, seconds: float) -> None:
    """Try an errand again in some seconds, unless another worker has leased it by now."""
    await db.execute(
        _SQL["postpone_errand"], errand.organization_id, errand.id, errand.attempts, seconds
    )


async def give_back_errand(db: Connection, errand: Errand) -> None:
    """Make an unfinished errand due at once, unless another worker has leased it by now."""
    await db.execute(_SQL["give_back_errand"], errand.organization_id, errand.id, errand.attempts)
