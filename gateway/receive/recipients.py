"""Recipients: reports on WhatsApp name people by number and user id, who may write under either."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from channels.lines import FullError
from gateway import linking, placing
from gateway.batching import Batching
from gateway.held import ANSWER_SECONDS
from gateway.logs import logger
from gateway.placing import Addresses
from gateway.store.conversations import Placed
from gateway.store.database import Database
from gateway.store.errors import (
    OF_ITS_ROWS,
    UNDONE,
    ConflictError,
    DatabaseAwayError,
    RefusedError,
)
from gateway.store.suppressions import Person
from webhooks.model import StatusReport

_log = logger(__name__)

# Seconds to wait for a conversation that another transaction has locked.
_PATIENCE = 1
_MOST = 100
# How many people are remembered, who are looked up once.
_KNOWN = 50_000

# An organization, and some of its recipients.
_Told = tuple[UUID, frozenset[Addresses]]


class Recipients:
    """Learns which addresses recipients have."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[tuple[UUID, Addresses]] = set()
        self._learning = Batching(
            self._learn,
            shared=(DatabaseAwayError,),
            undone=UNDONE,
            held=OF_ITS_ROWS,
            owner=lambda told: told[0],
            most=_MOST,
        )

    async def learn(self, organization_id: UUID, told: Sequence[StatusReport]) -> None:
        """Let recipients be in their conversations under all their addresses, and let what they
        said hold for all of them.

        After the reports are stored, so nothing of it reaches whoever told them, and would do so
        again: what fails here is told by the next report.
        """
        people = frozenset(
            each.recipient
            for each in told
            if each.recipient and (organization_id, each.recipient) not in self._known
        )
        if not people:
            return
        try:
            placed = await self._learning((organization_id, people), size=len(people))
        except (DatabaseAwayError, ConflictError, RefusedError, FullError) as error:
            said = {"organization_id": str(organization_id), "error": str(error)}
            _log.warning("recipients were not linked", **said)
            return
        await placing.join(self._database, organization_id, list(placed.values()))
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known |= {
            (organization_id, each) for each, where in placed.items() if where.joins is None
        }

    async def _learn(self, batch: Sequence[_Told]) -> list[dict[Addresses, Placed]]:
        wanted: dict[UUID, set[Addresses]] = defaultdict(set)
        for organization_id, people in batch:
            wanted[organization_id] |= people
        found: dict[UUID, dict[Addresses, Placed]] = {}
        async with self._database.as_service(patience=_PATIENCE, seconds=ANSWER_SECONDS) as db:
            for organization_id in sorted(wanted):  # one order for everybody
                people_of = sorted(wanted[organization_id])
                found[organization_id] = await placing.known_by(db, organization_id, people_of)
            for organization_id, placed in found.items():
                news = [Person(each) for each, where in placed.items() if where.is_news]
                await linking.link(db, organization_id, news)
        return [
            {each: where for each, where in found[organization_id].items() if each in people}
            for organization_id, people in batch
        ]
