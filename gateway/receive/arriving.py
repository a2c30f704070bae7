"""Arriving: inbound messages are stored, those of concurrent requests together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from channels import email, phone
from gateway import links, placing
from gateway.batching import Batching
from gateway.consent import inheriting
from gateway.held import ANSWER_SECONDS, Around, Wait
from gateway.observability.logs import info_each, logger
from gateway.observability.metrics import Metrics
from gateway.receive import authors, incoming, reporting
from gateway.receive.incoming import Arrived
from gateway.receive.reporting import Received
from gateway.store import contacts, conversations, media, messages, requests, suppressions
from gateway.store.conversations import Placed
from gateway.store.database import Connection, Database
from gateway.store.errors import OF_ITS_ROWS, UNDONE
from gateway.store.suppressions import Answered, Person
from gateway.vault import Vault

_log = logger(__name__)

_MOST = 100


@dataclass(frozen=True, slots=True)
class Kept:
    """The new messages; the conversation of every message, by its id; and people who turned out to
    have several addresses, whose consent is inherited last, when nothing else is to be locked."""

    new: list[Arrived]
    placed: dict[UUID, Placed]
    people: list[Person] = field(default_factory=list)


class Arriving:
    """Stores inbound messages and the requests that they came in."""

    def __init__(self, database: Database, vault: Vault, metrics: Metrics) -> None:
        self._database = database
        self._vault = vault
        self._metrics = metrics
        self._around = Around()
        self._batching = Batching(
            self._store,
            undone=UNDONE,
            held=OF_ITS_ROWS,
            owner=lambda brought: brought[0].account.organization_id,
            most=_MOST,
            lanes=2,
        )

    async def store(self, received: Received, arrived: Sequence[Arrived]) -> None:
        """Store a request that contains messages, perhaps reports, and nothing else.

        Raises `DatabaseAwayError`, or `FullError` if too much waits.
        """
        size = len(arrived) + len(received.reports)
        placed = await self._batching((received, arrived), size=size)
        await placing.join(self._database, received.account.organization_id, placed)

    async def _store(
        self, batch: Sequence[tuple[Received, Sequence[Arrived]]]
    ) -> list[list[Placed]]:
        return await self._around(lambda wait: self._store_now(batch, wait))

    async def _store_now(
        self, batch: Sequence[tuple[Received, Sequence[Arrived]]], wait: Wait
    ) -> list[list[Placed]]:
        # A message that comes twice at once is stored once, as it would be one after the other.
        by_organization: dict[UUID, dict[UUID, Arrived]] = defaultdict(dict)
        for received, arrived in batch:
            for each in arrived:
                by_organization[received.account.organization_id].setdefault(each.id, each)
        new: list[Arrived] = []
        placed: dict[UUID, Placed] = {}
        people: dict[UUID, list[Person]] = {}
        async with self._database.as_service(patience=wait.seconds, seconds=ANSWER_SECONDS) as db:
            await requests.keep(db, [received.request for received, _ in batch])
            for organization_id in sorted(by_organization):  # one order: no deadlocks
                kept = await self.keep(
                    db, organization_id, list(by_organization[organization_id].values())
                )
                new += kept.new
                placed |= kept.placed
                people[organization_id] = kept.people
            advanced = await reporting.record(
                db, [received for received, _ in batch], waits=wait.for_rows
            )
            for organization_id, theirs in people.items():
                await inheriting.inherit(db, organization_id, theirs)
        reporting.count_and_log(self._metrics, advanced)
        self.count_and_log(new)
        return [[placed[each.id] for each in arrived] for _, arrived in batch]

    def count_and_log(self, new: Sequence[Arrived]) -> None:
        """Count and log stored messages; called after the commit, because a failed transaction is
        tried again."""
        for each in new:
            self._metrics.received(each.message.channel, each.account.provider)
        info_each(_log, "received", map(_line, new))

    async def keep(self, db: Connection, organization_id: UUID, arrived: Sequence[Arrived]) -> Kept:
        """Store messages of one organization, each id once, in their order."""
        if not arrived:
            return Kept([], {})
        known = await _owners(db, organization_id, arrived)
        answered = await self._answered(db, organization_id, arrived)
        places = [
            authors.place(each.id, each.message, known, answered.get(n))
            for n, each in enumerate(arrived)
        ]
        where = await conversations.place(
            db,
            organization_id,
            [
                place if each.at is None else replace(place, name=None)
                for place, each in zip(places, arrived, strict=True)
            ],
        )
        rows = [
            incoming.inbound_row(each, known, answered.get(n))
            | {"conversation_id": where[n].conversation_id}
            for n, each in enumerate(arrived)
        ]
        fresh = await messages.receive(db, organization_id, rows)
        new = {n: each for n, each in enumerate(arrived) if each.id in fresh}
        for n, each in new.items():
            if each.at is not None:
                own_id = where[n].conversation_id
                await conversations.set_name(db, organization_id, own_id, places[n].name, each.at)
        await media.insert(db, [one for each in new.values() for one in each.files.media])
        wrote = [
            one for n, each in new.items() for one in authors.written(each.message, answered.get(n))
        ]
        is_late = any(each.at is not None for each in new.values())
        await suppressions.wrote(db, organization_id, wrote, is_late=is_late)
        placed = {each.id: where[n] for n, each in enumerate(arrived)}
        people = [
            one
            for n, each in enumerate(arrived)
            if where[n].is_news
            for one in authors.person(each.message, answered.get(n), each.at)
        ]
        return Kept(list(new.values()), placed, people)

    async def _answered(
        self, db: Connection, organization_id: UUID, arrived: Sequence[Arrived]
    ) -> dict[int, Answered]:
        """The message of ours that each one answers: by our token, or by reference and sender."""
        wanted: dict[int, tuple[list[UUID], list[str]]] = {}
        tokens: dict[int, UUID] = {}
        for n, each in enumerate(arrived):
            ids, external = authors.candidates(each.message)
            for address in (each.message.to_address, *each.message.recipients):
                token = links.read_reply(self._vault, organization_id, address)
                if token is not None:
                    tokens[n] = token
                    ids.insert(0, token)
            if ids or external:
                wanted[n] = (ids, external)
        found = await suppressions.answered(db, organization_id, wanted)
        return {
            n: known
            for n, candidates in found.items()
            for known in reversed(candidates)
            if known.id == tokens.get(n) or authors.is_theirs(arrived[n].message, known)
        }


async def _owners(
    db: Connection, organization_id: UUID, arrived: Sequence[Arrived]
) -> authors.Owners:
    senders = {each.message.from_address for each in arrived}
    found = await contacts.by_address(
        db,
        organization_id,
        [tail for address in senders if "@" not in address and (tail := phone.tail(address))],
        [each for address in senders if "@" in address for each in email.spellings(address)],
    )
    return authors.owners(found)


def _line(arrived: Arrived) -> dict[str, str]:
    return {
        "message_id": str(arrived.id),
        "organization_id": str(arrived.account.organization_id),
        "provider": arrived.account.provider,
    }
