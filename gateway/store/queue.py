"""The queue of messages that wait to be sent, or to be asked about."""

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
from gateway.store.values import as_json

_SQL = queries("queue")


@frozen
class Claimed:
    """A due entry that this worker holds a lease on, with all that sending it needs.

    `begun_at` is when a request was about to leave, for providers that cannot be asked.
    `suppressed` is the reason why its recipient must not be written to, if there is one now.
    `has_more`: more entries of its organization may be due. `is_hidden`: fewer were claimed than
    are due, because others have them locked. One that `is_too_large` is here without its texts.

    `was_leased`: another worker held it and is gone; its request may have reached the provider.
    `claims` counts how often it was claimed: what is said late of an earlier claim, after the
    database was away, changes nothing of a later one. `attempts` counts requests begun, `refusals`
    answers "not now", `asked` questions since the answer was lost. Account and sender are None when
    they were deleted meanwhile. Ages, and what is left until its `expires_at`, are in seconds, by
    the database's clock: workers' may differ. It may be set while a request is under way, so
    `open_for` adds up what workers have waited since then. `identified_age` is that of the change
    that made the credentials those of another account at the provider; None: there was none.
    """

    organization_id: UUID
    message_id: UUID
    sender_id: UUID | None
    priority: int
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
    run_at: datetime
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
    """Take up to `limit` due entries for `seconds`, fairly between organizations.

    Organizations in `without` are left out, and so are `senders`. To get around their entries, and
    locked ones, up to `reach` times its share of each organization is looked at.
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
    """Put back what else is due of a sender whose turns are taken, searching `among` so many
    entries of each priority; whether there may be more. The first is due again in `wait` seconds,
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

    Also those whose lease ended meanwhile, while it is open whether these claims' requests left.
    """
    rows = [
        (entry.organization_id, entry.message_id, entry.claims, entry.attempts, seconds)
        for entry, seconds in entries
    ]
    if rows:
        organizations, ids, claims, attempts, seconds = map(list, zip(*rows, strict=True))
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
    """Put an entry back for some seconds; False when the lease was lost meanwhile.

    Back to be sent it goes also without the lease, while it is open what came of this attempt.
    """
    said = (seconds, phase, refusals, asked, open_for, claimed.attempts)
    kept = await db.fetchval(_SQL["postpone"], *_claim(claimed, lease_id), *said)
    return kept is not None


async def extend(
    db: Connection, claimed: Claimed, lease_id: UUID, seconds: float, *, is_begun: bool = False
) -> bool:
    """Extend a lease and restart its attempt's clock; False when the lease was lost meanwhile."""
    kept = await db.fetchval(_SQL["extend"], *_claim(claimed, lease_id), seconds, is_begun)
    return kept is not None


async def say_instead(
    db: Connection, claimed: Claimed, lease_id: UUID, body: str, parts: dict[str, Any] | None
) -> bool:
    """Let a message that is about to leave say something else, without its files.

    False, with nothing changed, when the lease was lost, or what it said was sent after all.
    """
    now = (body, as_json(parts) if parts is not None else None)
    changed = await db.fetchval(_SQL["say_instead"], *_claim(claimed, lease_id), *now)
    return changed is not None


async def drop(db: Connection, claimed: Claimed, lease_id: UUID) -> bool:
    """Remove an entry: its message needs no worker any more; False when the lease was lost."""
    return await db.fetchval(_SQL["drop"], *_claim(claimed, lease_id)) is not None


def _claim(claimed: Claimed, lease_id: UUID) -> tuple[UUID, UUID, UUID, int]:
    return claimed.organization_id, claimed.message_id, lease_id, claimed.claims


async def may_adopt(db: Connection, claimed: Claimed, external_id: str) -> bool:
    """Whether a message is still asked about, and a provider's id belongs to no other one; locks
    both until the transaction ends.

    No message of any organization: organizations may share an account at the provider.
    """
    await reports.take_turns(db, [external_id])
    own = (claimed.organization_id, claimed.message_id)
    if await db.fetchval(_SQL["hold_asked"], *own, claimed.attempts) is None:
        return False
    return not await reports.is_anothers(db, *own, external_id)


@dataclass(frozen=True, slots=True)
class Twin:
    """A message to the same person with an open fate, attempted `age` seconds ago, and `asked`
    about so often.

    `is_others`: of another organization. `has_other_parts`: files, a template or a way to call that
    this one has not. `has_sender`: else it was deleted meanwhile, and nobody can be asked about it.
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
    """The messages to the same person that are as uncertain as this one, in the order of their
    attempts, and this one among them; an SMS `from_any` number, or only from the same one."""
    rows = await db.fetch(_SQL["twins"], organization_id, message_id, from_any)
    return [Twin(**row) for row in rows]


async def known_external_ids(db: Connection, external_ids: Sequence[str]) -> frozenset[str]:
    """Which of a provider's ids belong to messages of ours, of whichever organization."""
    rows = await db.fetch(_SQL["known_external_ids"], list(external_ids))
    return frozenset(row["external_id"] for row in rows)


async def lost_since(db: Connection, organization_id: UUID, message_id: UUID) -> datetime | None:
    """When an answer about a message was first lost; None where none was."""
    found: datetime | None = await db.fetchval(_SQL["lost_since"], organization_id, message_id)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class AsItIs:
    """What may have changed about a claimed entry; its fields are those of `Claimed`.

    `status` is None where the message was deleted. `is_followed`: something else was sent instead.
    """

    status: str | None
    external_id: str | None
    is_followed: bool
    suppressed: str | None
    is_active: bool


async def as_it_is(db: Connection, claimed: Claimed) -> AsItIs:
    """How things stand now with an entry that was claimed a while ago."""
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
    """Tokens of the leases whose workers are alive."""
    return frozenset(row["token"] for row in await db.fetch(_SQL["live_leases"]))


async def end_dead_leases(db: Connection, own: UUID, spared: Iterable[int] = ()) -> int:
    """End the leases of workers that are not alive, but for `spared` tokens; how many entries that
    were."""
    return len(await db.fetch(_SQL["end_dead_leases"], own, list(spared)))


async def depth(db: Connection) -> list[tuple[str, int, float]]:
    """(channel, entries, age of the oldest due one in seconds)."""
    rows = await db.fetch(_SQL["depth"])
    return [(row["channel"], row["depth"], float(row["oldest_seconds"] or 0)) for row in rows]
