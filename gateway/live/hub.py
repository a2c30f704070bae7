"""All streams of this process: who may have one, what wakes them, and when they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

from channels.lines import Places
from gateway.live.events import Render
from gateway.live.feed import Feed, Read, ReadAgain
from gateway.live.watcher import Missed, Watcher
from gateway.observability.logs import logger
from gateway.problems import Problem, not_now
from gateway.store import live
from gateway.store.callers import still_known
from gateway.store.database import ApiKey, Caller, Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.listener import Listener
from gateway.store.live import Stretch
from gateway.store.positions import Position, Snapshot

_log = logger(__name__)

# How many streams a process may have, and one organization of these.
_STREAMS = 5000
_STREAMS_OF_ONE = 2000
# How much is read at once: events, and bytes of text (or a single event that has more).
_AT_ONCE = 100
_BYTES = 2**20
# How many feeds read at the same time: new events, and missed ones, for which many streams ask at
# once after a restart. Two limits, so that new events never wait for missed ones.
_READERS, _READERS_AGAIN = 3, 2

# Seconds between two checks of all callers: whoever may not read any more is cut off within five
# seconds, even if no connection hears of changed keys.
_CHECK = 3.0
# Seconds after each check, so that keys that are revoked together are checked together.
_PAUSE = 0.1
# Seconds between a feed's own looks: without LISTEN, and with it, where only a lost NOTIFY matters.
_DEAF, _LISTENING = 1.0, 5.0


class Live:
    """Watchers of this process; `run` serves them until it is cancelled.

    There are at most `streams`, `streams_of_one` of one organization; each waits `patience` seconds
    for the database. What the `listener` hears wakes them.
    """

    def __init__(
        self,
        database: Database,
        listener: Listener,
        render: Render,
        *,
        streams: int = _STREAMS,
        streams_of_one: int = _STREAMS_OF_ONE,
        patience: float = 10,
    ) -> None:
        self._database = database
        self._streams = streams
        self._streams_of_one = streams_of_one
        self._patience = patience
        self._listener = listener
        self._doubt = asyncio.Event()
        listener.on("gateway_live", self._heard, self._wake_all)
        listener.on("gateway_keys", lambda _: self._doubt.set(), self._doubt.set)
        self._render = render
        self._feeds: dict[UUID, Feed] = {}
        self._count = 0
        self._stopping = False
        self._readers = asyncio.Semaphore(_READERS)
        self._readers_again = Places(_READERS_AGAIN, room=streams)

    @asynccontextmanager
    async def watch(
        self,
        caller: Caller,
        after: Position | None = None,
        *,
        expires_at: float | None = None,
        is_brief: bool = False,
    ) -> AsyncIterator[Watcher]:
        """Events of the caller's organization, from now on or after a place.

        `expires_at` (seconds since 1970) ends it. `is_brief`: rows of missed events have only ids,
        and their `data` is empty. Raises `Problem` 503 if there are too many streams, or the
        process is about to stop, and `DatabaseAwayError`.
        """
        feed = self._admit(caller.organization_id)
        watcher: Watcher | None = None
        try:
            # Read first: otherwise `after`, from another process, might be ahead of this feed.
            here = await feed.here()

            async def missed(place: Position) -> Missed:
                return await feed.missed(place, here.snapshot, is_brief=is_brief)

            watcher = Watcher(
                caller,
                after or here,
                expires_at=expires_at,
                missed=missed if after else None,
                places=None if is_brief else feed.places,
            )
            feed.watchers.add(watcher)
            yield watcher
        finally:
            self._leave(caller.organization_id, feed, watcher)

    def stop(self) -> None:
        """End every stream and admit none."""
        self._stopping = True
        for feed in self._feeds.values():
            for watcher in feed.watchers:
                watcher.end("the server is about to stop")

    async def run(self) -> None:
        """Wake the feeds, and check the callers."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._look())
            group.create_task(self._check())

    def _admit(self, organization_id: UUID) -> Feed:
        feed = self._feeds.get(organization_id)
        if feed is not None and feed.is_over:
            feed = None  # its streams have ended, but not all of them have left yet
        if self._stopping:
            raise _busy("The server is about to stop: connect again.")
        if self._count >= self._streams:
            raise _busy(f"This server has {self._streams} event streams, as many as it may.")
        if feed is not None and feed.users >= self._streams_of_one:
            raise _busy(
                f"Your organization has {feed.users} event streams here, as many as it may."
            )
        if feed is None:
            feed = self._feeds[organization_id] = Feed(
                *self._reading(organization_id), self._render, self._patience
            )
        self._count += 1
        feed.users += 1
        return feed

    def _leave(self, organization_id: UUID, feed: Feed, watcher: Watcher | None) -> None:
        self._count -= 1
        feed.users -= 1
        if watcher is not None:
            feed.watchers.discard(watcher)
            watcher.let_go()
        if not feed.users:
            feed.close()
            if self._feeds.get(organization_id) is feed:  # it was not replaced
                del self._feeds[organization_id]

    def _reading(self, organization_id: UUID) -> tuple[Read, ReadAgain]:
        # As an API key of the organization would read: all of its streams may see the same.
        caller = ApiKey(id=organization_id, organization_id=organization_id, is_test=False)

        async def read(place: Position | None) -> Stretch:
            async with self._readers, self._database.as_caller(caller) as db:
                if place is None:
                    return Stretch(events=[], position=await live.here(db), is_more=False)
                return await live.since(db, organization_id, place, _AT_ONCE, most_bytes=_BYTES)

        async def read_again(place: Position, until: Snapshot, is_brief: bool) -> Stretch:  # noqa: FBT001
            # Without a time limit: a stream that was ended would only ask for the same again.
            await self._readers_again.take(organization_id, None)
            try:
                async with self._database.as_caller(caller) as db:
                    return await live.since(
                        db,
                        organization_id,
                        place,
                        _AT_ONCE,
                        most_bytes=_BYTES,
                        until=until,
                        is_brief=is_brief,
                    )
            finally:
                self._readers_again.give(organization_id)

        return read, read_again

    def _heard(self, organization: str) -> None:
        with suppress(ValueError, KeyError):  # anybody may notify, of anything
            self._feeds[UUID(organization)].wake()

    async def _look(self) -> None:
        while True:
            waited = 0.0
            while waited < (_LISTENING if self._listener.hears else _DEAF):
                await asyncio.sleep(_DEAF)
                waited += _DEAF
            self._wake_all()

    async def _check(self) -> None:
        is_away = False
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CHECK):
                    await self._doubt.wait()
            self._doubt.clear()
            try:
                await self.check()
                is_away = False
            except DatabaseAwayError as error:
                if not is_away:  # once for each outage
                    _log.warning("callers cannot be checked", error=str(error))
                is_away = True
            await asyncio.sleep(_PAUSE)

    async def check(self) -> None:
        """End the streams of callers who may not read any more."""
        streams = [each for feed in self._feeds.values() for each in feed.watchers]
        callers = {each.caller for each in streams}
        if not callers:
            return
        async with self._database.as_service() as db:
            known = await still_known(db, callers)
        for each in streams:
            if each.caller not in known:
                each.end("its key is revoked, or its reader is no active staff")

    def _wake_all(self) -> None:
        for feed in self._feeds.values():
            feed.wake()


def _busy(detail: str) -> Problem:
    return not_now(detail, 5)
