"""Recipients: reports of WhatsApp name a person by number and user id, and both may write to us."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from gateway import placing
from gateway.batching import Batching
from gateway.consent import inheriting
from gateway.held import ANSWER_SECONDS
from gateway.observability.logs import logger
from gateway.placing import Addresses
from gateway.store.conversations import Placed
from gateway.store.database import Database
from gateway.store.errors import OF_ITS_ROWS, UNDONE
from gateway.store.suppressions import Person
from webhooks.model import StatusReport

_log = logger(__name__)

# Seconds to wait for a conversation that another transaction has locked.
_PATIENCE = 1
_MOST = 100
# How many people are remembered, so that each is looked up once.
_KNOWN = 50_000
# How many people may wait to be learned, and how many conversations are joined for one request: the
# next report names whoever is left out.
_WAITING = 1000
_JOINS = 10
# Seconds to finish when the process ends.
_AT_END = 2.0

# An organization, and some of its recipients.
_Learned = tuple[UUID, frozenset[Addresses]]


class Recipients:
    """Learns which addresses belong to the same recipient."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[tuple[UUID, Addresses]] = set()
        self._waiting: set[tuple[UUID, Addresses]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Slow: one at a time, so that it takes one connection at most.
        self._joining = asyncio.Lock()
        self._learning = Batching(
            self._learn,
            undone=UNDONE,
            held=OF_ITS_ROWS,
            owner=lambda learned: learned[0],
            most=_MOST,
        )

    def learn(self, organization_id: UUID, reports: Sequence[StatusReport]) -> None:
        """Put all addresses of a recipient into one conversation, and let what was said about
        consent under one of them hold for all.

        In the background: the reports are stored, so their provider gets its answer. If this fails,
        or there is too much of it, the next report tries it again.
        """
        wanted = {(organization_id, each.recipient) for each in reports if each.recipient}
        news = sorted(wanted - self._known - self._waiting)[: _WAITING - len(self._waiting)]
        if not news:
            return
        self._waiting |= set(news)
        people = [each for _, each in news]
        task = asyncio.create_task(self._learn_or_drop(organization_id, people))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Finish what is under way, within seconds, because the process ends."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=_AT_END)
            for each in late:
                each.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _learn_or_drop(self, organization_id: UUID, people: Sequence[Addresses]) -> None:
        try:
            await self._learn_now(organization_id, people)
        except Exception as error:  # noqa: BLE001 - nobody waits for it; the next report tries again
            about = {"organization_id": str(organization_id), "error": repr(error)}
            _log.warning("recipients were not linked", **about)
        finally:
            self._waiting -= {(organization_id, each) for each in people}

    async def _learn_now(self, organization_id: UUID, people: Sequence[Addresses]) -> None:
        placed = await self._learning((organization_id, frozenset(people)), size=len(people))
        joins = [each for each in placed.values() if each.joins is not None]
        if joins:
            async with self._joining:
                await placing.join(self._database, organization_id, joins[:_JOINS])
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known |= {
            (organization_id, each) for each, where in placed.items() if where.joins is None
        }

    async def _learn(self, batch: Sequence[_Learned]) -> list[dict[Addresses, Placed]]:
        wanted: dict[UUID, set[Addresses]] = defaultdict(set)
        for organization_id, people in batch:
            wanted[organization_id] |= people
        found: dict[UUID, dict[Addresses, Placed]] = {}
        async with self._database.as_service(patience=_PATIENCE, seconds=ANSWER_SECONDS) as db:
            for organization_id in sorted(wanted):  # the same order everywhere: no deadlocks
                people_of = sorted(wanted[organization_id])
                found[organization_id] = await placing.known_by(db, organization_id, people_of)
            for organization_id, placed in found.items():
                news = [Person(each) for each, where in placed.items() if where.is_news]
                await inheriting.inherit(db, organization_id, news)
        return [
            {each: where for each, where in found[organization_id].items() if each in people}
            for organization_id, people in batch
        ]
