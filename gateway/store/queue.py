"""The queue of messages that wait to be sent, or whose provider is to be asked about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.frozen import frozen
from gateway.store import reports
from gateway.store.database import Connection, Database
from gateway.store.sql import queries
from gateway.store.values import as_json, columns

_SQL = queries("queue")


@frozen
class Claimed:
    """A due entry that this worker has leased, with everything that is needed to send it.

    `begun_at`: when a request was about to leave, only for providers that cannot be asked.
    `suppressed`: why its recipient must not be written to, if so. `has_more`: more entries of its
    organization may be due. `is_hidden`: some due entries were not claimed because others have them
    locked. `is_too_large`: it comes without its texts.

    `was_leased`: another worker held it and is gone; its request may have reached the provider.
    `claims`: how often it was claimed, so that late news of an earlier claim (after an outage of
    the database) changes nothing of a later one. `attempts`: requests begun; `refusals`: answers
    "not now"; `asked`: questions since an answer was lost. Deleted accounts and senders are None.

    Ages and `expires_in` are in seconds by the database's clock, because those of workers differ.
    As it may be set while a request is under way, `open_for` sums up what workers have waited since
    the request. `identified_age`: that of the last change to credentials of another account at the
    provider, if there was one.
    """

    organization_id: UUID
    message_id: UUID
    sender_id: UUID | None
    phase: str
    claims: int
    attempts: int
    refusals: int
    asked: int
    open_for: float
    begun_at: datetime | None
    attempt_age: float | None
    is_test: bool
    was_leased: bool
    channel: str
    from_address: str
    to_address: str
    subject: str | None
    body: str
    html_body: str | None
    attachments: list[dict[str, Any]] | None
    parts: dict[str, Any] | None
    suppressed: str | None
    is_expired: bool
    expires_in: float | None
    external_id: str | None
    status: str
    created_at: datetime
    is_too_large: bool
    account_id: UUID | None
    rate: float | None
    is_active: bool | None
    provider: str | None
    credentials: bytes | None
    identified_age: float | None
    settings: dict[str, Any] | None
    has_more: bool
    is_hidden: bool


async def claim(
    db: Connection,
    limit: int,
    lease_id: UUID,
    seconds: float,
    without: Sequence[UUID] = (),
    *,
    senders: Sequence[UUID] = (),
    reach: int = 1,
) -> list[Claimed]:
    """Lease up to `limit` due entries for `seconds`, fairly between organizations.

    Organizations in `without` are left out, and so are `senders`. Of each organization's entries up
    to `reach` times its share is looked at, to find some behind locked ones and those of `senders`.
    """
    rows = await db.fetch(
        _SQL["claim"], limit, lease_id, seconds, list(without), reach, list(senders)
    )
    return [Claimed(**row) for row in rows]


async def waiting_organizations(db: Connection) -> list[UUID]:
    """The organizations that have anything in the queue."""
    return [row["organization_id"] for row in await db.fetch(_SQL["waiting_organizations"])]


async def take_turns(
    db: Connection, organization_id: UUID, sender_id: UUID, count: int, rate: float
) -> tuple[float, int]:
    """Seconds until the first of `count` turns, and how many fit into the next second."""
    await db.execute(_SQL["open_pace"], organization_id, sender_id)
    row = await db.fetchrow(_SQL["take_turns"], organization_id, sender_id, count, rate)
    assert row is not None  # noqa: S101 - the row was just made sure of
    return row["wait"], row["turns"]


async def hold_back(
    db: Connection,
    organization_id: UUID,
    sender_id: UUID,
    *,
    among: int,
    wait: float,
    rate: float,
    latest: float,
) -> bool:
    """Put back the other due entries of a sender that has no turns left, searching `among` so many
    of each priority; returns whether there may be more. The first is due again in `wait` seconds,
    all of them in `latest`.
    """
    has_more: bool = await db.fetchval(
        _SQL["hold_back"], organization_id, sender_id, among, wait, rate, latest
    )
    return has_more


async def give_back(
    db: Connection, entries: Sequence[tuple[Claimed, float]], lease_id: UUID
) -> None:
    """Return entries that were claimed and not begun, each due again in so many seconds.

    Even after the lease has ended, if what others are asking about is the request of this claim.
    """
    rows = [
        (entry.organization_id, entry.message_id, entry.claims, entry.attempts, seconds)
        for entry, seconds in entries
    ]
    if rows:
        organizations, ids, claims, attempts, seconds = columns(rows)
        await db.execute(_SQL["give_back"], organizations, ids, lease_id, claims, attempts, seconds)


async def postpone(
    db: Connection,
    claimed: Claimed,
    lease_id: UUID,
    *,
    seconds: float,
    phase: str,
    refusals: int,
    asked: int = 0,
    open_for: float = 0.0,
) -> bool:
    """Put an entry back for some seconds; False if the lease was lost meanwhile.

    In phase `send` also without the lease, as long as the result of this attempt is open.
    """
    said = (seconds, phase, refusals, asked, open_for, claimed.attempts)
    kept = await db.fetchval(_SQL["postpone"], *_claim(claimed, lease_id), *said)
    return kept is not None


async def extend(
    db: Connection, claimed: Claimed, lease_id: UUID, seconds: float, *, is_begun: bool = False
) -> bool:
    """Extend a lease and restart the age of its attempt; False if the lease was lost meanwhile."""
    kept = await db.fetchval(_SQL["extend"], *_claim(claimed, lease_id), seconds, is_begun)
    return kept is not None


async def say_instead(
    db: Connection, claimed: Claimed, lease_id: UUID, body: str, parts: dict[str, Any] | None
) -> bool:
    """Replace the text of a message that is about to be sent, and remove its files.

    False, with nothing changed, if the lease was lost, or the message was sent after all.
    """
    now = (body, as_json(parts) if parts is not None else None)
    changed = await db.fetchval(_SQL["say_instead"], *_claim(claimed, lease_id), *now)
    return changed is not None


async def drop(db: Connection, claimed: Claimed, lease_id: UUID) -> bool:
    """Remove an entry: its message needs no worker any more; False if the lease was lost."""
    return await db.fetchval(_SQL["drop"], *_claim(claimed, lease_id)) is not None


def _claim(claimed: Claimed, lease_id: UUID) -> tuple[UUID, UUID, UUID, int]:
    return claimed.organization_id, claimed.message_id, lease_id, claimed.claims


async def may_adopt(db: Connection, claimed: Claimed, external_id: str) -> bool:
    """Whether a message is still asked about, and no other one has the provider's id; locks both
    until the transaction ends.

    No message of any organization, because some share an account at the provider.
    """
    await reports.take_turns(db, [external_id])
    own = (claimed.organization_id, claimed.message_id)
    if await db.fetchval(_SQL["hold_asked"], *own, claimed.attempts) is None:
        return False
    return not await reports.is_anothers(db, *own, external_id)


@dataclass(frozen=True, slots=True)
class Twin:
    """A message to the same person with an open outcome, attempted `age` seconds ago, and `asked`
    about so often.

    `is_others`: of another organization. `has_other_parts`: its files, template or call options are
    other ones. `has_sender`: its sender was not deleted, so that its provider can be asked.
    """

    message_id: UUID
    body: str
    is_others: bool
    has_other_parts: bool
    is_in_flight: bool
    age: float
    asked: int
    has_sender: bool


async def twins(
    db: Connection, organization_id: UUID, message_id: UUID, *, from_any: bool
) -> list[Twin]:
    """The messages to the same person whose outcome is open, including this one, in the order of
    their attempts; SMS from any of our numbers (`from_any`), or only from the same one."""
    rows = await db.fetch(_SQL["twins"], organization_id, message_id, from_any)
    return [Twin(**row) for row in rows]


async def known_external_ids(db: Connection, external_ids: Sequence[str]) -> frozenset[str]:
    """Which of a provider's ids belong to messages of ours, of whichever organization."""
    rows = await db.fetch(_SQL["known_external_ids"], list(external_ids))
    return frozenset(row["external_id"] for row in rows)


async def lost_since(db: Connection, organization_id: UUID, message_id: UUID) -> datetime | None:
    """When an answer about a message was first lost; None if none was."""
    found: datetime | None = await db.fetchval(_SQL["lost_since"], organization_id, message_id)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class AsItIs:
    """What may have changed about a claimed entry; its fields are those of `Claimed`.

    `status` is None if the message was deleted. `is_followed`: a step of its fallback was sent
    instead.
    """

    status: str | None
    external_id: str | None
    is_followed: bool
    suppressed: str | None
    is_active: bool


async def as_it_is(db: Connection, claimed: Claimed) -> AsItIs:
    """The present state of an entry that was claimed a while ago."""
    row = await db.fetchrow(
        _SQL["as_it_is"],
        claimed.organization_id,
        claimed.message_id,
        claimed.sender_id,
        claimed.channel,
        claimed.to_address,
    )
    assert row is not None  # noqa: S101 - a LEFT JOIN of one row has one
    return AsItIs(**row)


async def wake(database: Database) -> None:
    """Tell the workers that something is due."""
    await database.at_once(_SQL["wake"])


async def live_leases(db: Connection) -> frozenset[int]:
    """Tokens of the leases of live workers."""
    return frozenset(row["token"] for row in await db.fetch(_SQL["live_leases"]))


async def end_dead_leases(db: Connection, own: UUID, spared: Iterable[int] = ()) -> int:
    """End the leases of workers that are not alive, except `spared` tokens; returns how many."""
    return len(await db.fetch(_SQL["end_dead_leases"], own, list(spared)))


async def depth(db: Connection) -> list[tuple[str, int, float]]:
    """By channel: (channel, entries, age of the oldest due one in seconds)."""
    rows = await db.fetch(_SQL["depth"])
    return [(row["channel"], row["depth"], float(row["oldest_seconds"] or 0)) for row in rows]
