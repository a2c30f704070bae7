"""Suppressions and consent, and the standing of recipients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID
from zlib import crc32

from channels.frozen import frozen
from gateway.store.database import Connection
from gateway.store.paging import Cursor, Page, after, page
from gateway.store.sql import fetch_row, fetch_rows, queries
from gateway.store.values import Row, as_json, as_stored, storable

_SQL = queries("suppressions")


# PostgreSQL's index rows hold 2,704 bytes.
_KEY_BYTES = 2000
# How many locks all addresses of an organization share. PostgreSQL's lock table has room for 64 per
# connection: a transaction with more takes room from the others.
_LOCKS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """A statement that an address must not, or may again, be written to; stored once for each `id`.

    `occurred_at` None means now. A lift with `of_source` lifts only statements of that source; with
    `source:group` only those with that `of_group` in their detail, and with `source:` only those
    with none.
    """

    id: UUID
    channel: str
    address: str
    reason: str
    is_lifted: bool
    source: str
    occurred_at: datetime | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    of_source: str | None = None


@dataclass(frozen=True, slots=True)
class Person:
    """All addresses of a person on WhatsApp; `before`: when that was reported, if long ago."""

    addresses: Sequence[str]
    before: datetime | None = None


@frozen
class Pair:
    """Recipient and sender of a message; `addresses` are the forms of the recipient's address."""

    channel: str
    addresses: tuple[str, ...]
    our_address: str
    topic: str = ""


@frozen
class Standing:
    """The standing of a recipient: the reasons not to write, when they last wrote, and the ids of
    the mails on the topic, oldest first."""

    reasons: tuple[str, ...] = ()
    last_inbound_at: datetime | None = None
    mail_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A record that they wrote to us (`inbound_at`), or we to them; `mail_id` is without <>."""

    channel: str
    their_address: str
    our_address: str
    topic: str = ""
    inbound_at: datetime | None = None
    mail_id: str | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A message that an inbound one answers."""

    id: UUID
    direction: str
    from_address: str
    to_address: str
    lead_id: UUID | None
    client_id: UUID | None


async def change(
    db: Connection,
    organization_id: UUID,
    statements: Sequence[Statement],
    *,
    auth_id: UUID | None = None,
) -> int:
    """Store statements as evidence, and add or remove suppressions as all statements together say.

    `auth_id`: the member of staff whom the audit trail names. Returns how many were new.
    """
    if not statements:
        return 0
    if auth_id is not None:
        await db.execute(_SQL["on_behalf"], auth_id)
    locks = {f"{organization_id}:{_lock_of(each)}" for each in statements}
    await db.execute(_SQL["lock"], sorted(locks))
    fresh: int = await db.fetchval(_SQL["change"], as_stored(list(statements)), organization_id)
    return fresh


async def known(db: Connection, organization_id: UUID, ids: Sequence[UUID]) -> set[UUID]:
    """Which of these statements were stored before."""
    return {row["id"] for row in await db.fetch(_SQL["known"], organization_id, list(ids))}


def _lock_of(statement: Statement) -> int:
    """The lock key of an address, the same in every process."""
    return crc32(f"{statement.channel}:{statement.address}".encode(errors="replace")) % _LOCKS


async def also_known_as(
    db: Connection, organization_id: UUID, said_of: Sequence[str]
) -> list[tuple[str, str]]:
    """(address, another address of the same person) on WhatsApp, according to conversations."""
    rows = await db.fetch(_SQL["also_known_as"], organization_id, list(said_of))
    return [(row["said_of"], row["address"]) for row in rows]


async def said_of(
    db: Connection, organization_id: UUID, addresses: Sequence[str]
) -> list[tuple[str, str]]:
    """(address, another address) on WhatsApp that were suppressed by the same statement."""
    rows = await db.fetch(_SQL["said_of"], organization_id, list(addresses))
    return [(row["said_of"], row["address"]) for row in rows]


async def said_elsewhere(
    db: Connection, organization_id: UUID, people: Sequence[Person]
) -> list[Row]:
    """The valid statements of people about one of their addresses, for each of their other
    addresses (`also`) that has none."""
    wanted = [{"n": n, **asdict(each)} for n, each in enumerate(people)]
    return await fetch_rows(db, _SQL["said_elsewhere"], organization_id, as_stored(wanted))


async def held_against(
    db: Connection,
    organization_id: UUID,
    channel: str,
    addresses: Sequence[str],
    before: datetime | None,
) -> list[str]:
    """Why these must not be written to, except for reasons that concern the address itself.

    `before`: only statements from before then.
    """
    rows = await db.fetch(_SQL["held_against"], organization_id, channel, list(addresses), before)
    return [row["reason"] for row in rows]


async def search(
    db: Connection,
    organization_id: UUID,
    *,
    channel: str | None,
    addresses: Sequence[str] | None,
    reason: str | None,
    cursor: Cursor | None,
    limit: int,
) -> Page:
    """One page of suppressions, newest first."""
    rows = await db.fetch(
        _SQL["list"],
        organization_id,
        channel,
        list(addresses) if addresses is not None else None,
        reason,
        *after(cursor),
        limit + 1,
    )
    return page(rows, limit)


async def get(db: Connection, organization_id: UUID, suppression_id: UUID) -> Row | None:
    """One suppression."""
    return await fetch_row(db, _SQL["get"], organization_id, suppression_id)


async def find(
    db: Connection, organization_id: UUID, channel: str, address: str, reason: str
) -> Row | None:
    """The suppression of an address for a reason."""
    return await fetch_row(db, _SQL["find"], organization_id, channel, address, reason)


async def standing(db: Connection, organization_id: UUID, pairs: Sequence[Pair]) -> list[Standing]:
    """The standing of each recipient, in order."""
    if not pairs:
        return []
    wanted = [{"n": n, **asdict(pair)} for n, pair in enumerate(pairs)]
    found = [Standing()] * len(pairs)
    for row in await db.fetch(_SQL["standing"], organization_id, as_json(wanted)):
        found[row["n"]] = Standing(
            reasons=tuple(row["reasons"]),
            last_inbound_at=row["last_inbound_at"],
            mail_ids=tuple(row["mail_ids"] or ()),
        )
    return found


async def wrote(
    db: Connection, organization_id: UUID, written: Sequence[Written], *, is_late: bool = False
) -> None:
    """Store records that they wrote to us, or we to them; `is_late`: long ago.

    Without those whose addresses and topic are too long for the index: nobody has such addresses.
    """
    rows = [{"n": n, **asdict(each)} for n, each in enumerate(written) if _fits(each)]
    if rows:
        await db.execute(_SQL["wrote"], as_stored(rows), organization_id, is_late)


def _fits(written: Written) -> bool:
    key = written.their_address + written.our_address + written.topic
    return len(key.encode(errors="replace")) <= _KEY_BYTES


async def known_as(db: Connection, renamed: Iterable[tuple[UUID, Written, str]]) -> None:
    """Replace the recorded Message-IDs of mails that their providers sent under other ones."""
    # In the order in which `wrote` locks these rows, so that the two never deadlock.
    for organization_id, written, mail_id in sorted(renamed, key=_place):
        await db.execute(
            _SQL["known_as"],
            organization_id,
            written.channel,
            written.their_address,
            written.our_address,
            written.topic,
            written.mail_id,
            storable(mail_id),
        )


def _place(renamed: tuple[UUID, Written, str]) -> tuple[UUID | str, ...]:
    organization_id, written, _ = renamed
    row = (written.channel, written.their_address, written.our_address, written.topic)
    return (organization_id, *row)


async def answered(
    db: Connection,
    organization_id: UUID,
    wanted: Mapping[int, tuple[Sequence[UUID], Sequence[str]]],
) -> dict[int, list[Answered]]:
    """For each number, the messages with one of (our ids, external ids), the nearest first."""
    if not wanted:
        return {}
    rows = await db.fetch(
        _SQL["answered"],
        as_json(
            storable(
                [
                    {"n": n, "ids": list(ids), "external_ids": list(external)}
                    for n, (ids, external) in wanted.items()
                ]
            )
        ),
        organization_id,
    )
    found: dict[int, list[Answered]] = {}
    for row in rows:
        found.setdefault(row["n"], []).append(
            Answered(
                row["id"],
                row["direction"],
                row["from_address"],
                row["to_address"],
                row["lead_id"],
                row["client_id"],
            )
        )
    return found
