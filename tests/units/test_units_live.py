"""gateway/live and gateway/store/positions.py: places that skip nothing, and bounds that hold."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.live import feed, hub
from gateway.live.events import LiveEvent, event_name
from gateway.live.hub import Live
from gateway.live.watcher import EndedError, Watcher
from gateway.problems import Problem
from gateway.store.database import ApiKey, Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.listener import Listener
from gateway.store.listening import hear
from gateway.store.live import Stretch
from gateway.store.positions import Position, Snapshot
from tests.cli.shell import free_port

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
L = TypeVar("L", bound=Live)
CALLER = ApiKey(id=UUID(int=1), organization_id=UUID(int=2), is_test=False)


@pytest.fixture(autouse=True)
def nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who reads here is somebody whom the database does not know."""
    monkeypatch.setattr(hub, "_CHECK", 600.0)


def snapshot(done: set[int], running: set[int]) -> Snapshot:
    """What PostgreSQL would say while these transactions run and those have ended."""
    xmax = max({*done, 0}) + 1
    inner = tuple(sorted(x for x in running if x < xmax))
    return Snapshot(min([*running, xmax]), max(xmax, 1), inner)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int]]:
    """Transactions that begin in order and end in any, with reads between."""
    steps: list[tuple[str, int]] = []
    running: list[int] = []
    after = draw(st.integers(1, 5))
    for _ in range(draw(st.integers(1, 40))):
        kind = draw(st.sampled_from(("begin", "begin", "end", "end", "read")))
        if kind == "begin":
            after += draw(st.integers(1, 3))  # others are of another organization
            running.append(after)
            steps.append(("begin", after))
        elif kind == "end" and running:
            steps.append(("end", running.pop(draw(st.integers(0, len(running) - 1)))))
        else:
            steps.append(("read", draw(st.integers(1, 4))))
    return steps


@given(histories(), st.randoms(use_true_random=False))
def test_every_event_once(steps: list[tuple[str, int]], chance: random.Random) -> None:
    """However transactions overlap, and wherever it reads on from, a reader is told each event of
    each transaction that has ended exactly once."""
    counts: dict[int, int] = {}
    running: set[int] = set()
    done: set[int] = set()
    place = Position(AT, Snapshot(1, 1, ()))
    told: list[tuple[int, int]] = []

    def read(limit: int) -> None:
        nonlocal place
        now = snapshot(done, running)
        new = sorted(
            (x, e)
            for x in done
            for e in range(counts[x])
            if not place.snapshot.sees(x)
            and not any(x == part and e <= last.int for part, last in place.within)
        )[:limit]
        if len(new) < limit:
            place = Position(AT, now)
            told.extend(new)
            return
        for n, (x, e) in enumerate(new):
            told.append((x, e))
            behind = place.behind(x, UUID(int=e), now)
            assert len(str(behind)) < 4000
            if n == len(new) - 1 or chance.random() < 0.3:  # cut off here
                place = Position.read(str(behind))
                return

    for kind, number in steps:
        if kind == "begin":
            counts[number] = chance.randint(0, 4)
            running.add(number)
        elif kind == "end":
            running.discard(number)
            done.add(number)
        else:
            read(number)
    while len(told) < sum(counts[x] for x in done):
        before = len(told)
        read(3)
        assert len(told) > before
    read(3)

    assert sorted((x, e) for x in done for e in range(counts[x])) == sorted(told)


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 - made aware below
    st.integers(1, 2**50),
    st.sets(st.integers(0, 500)),
    st.lists(st.tuples(st.integers(1, 2**50), st.uuids()), max_size=3),
)
def test_a_place_as_text(
    at: datetime, xmin: int, running: set[int], within: list[tuple[int, UUID]]
) -> None:
    """A place is the same after it was sent and came back, and can stand in a header."""
    inner = tuple(sorted(xmin + x for x in running))
    xmax = max([xmin, *(x + 1 for x in inner)])
    place = Position(at.replace(tzinfo=UTC), Snapshot(xmin, xmax, inner), tuple(within))

    assert place == Position.read(str(place))
    assert str(place).isascii()
    assert str(place).isprintable()


def test_a_place_amid_many_transactions() -> None:
    """A place that was given while as many transactions run as PostgreSQL may have is taken."""
    running = tuple(range(1_000_000_000, 1_000_002_000))
    place = Position(AT, Snapshot(running[0], running[-1] + 1, running), ((5, UUID(int=1)),))
    assert place == Position.read(str(place))


@given(st.text() | st.from_regex(r"\d{1,9}/\d{1,5}:\d{1,5}:(\d{1,3},){0,4}\d{1,3}", fullmatch=True))
def test_any_text_is_a_place_or_none(text: str) -> None:
    """What is no place is a ValueError; what is one, PostgreSQL takes for a snapshot."""
    try:
        place = Position.read(text)
    except ValueError as error:
        place, reason = None, str(error)
    if place is None:
        assert "is not an id of this stream" == reason
        return
    running = place.snapshot.running
    assert 0 < place.snapshot.xmin <= place.snapshot.xmax
    assert list(running) == sorted(set(running))
    assert all(place.snapshot.xmin <= x < place.snapshot.xmax for x in running)


@pytest.mark.parametrize(
    ("status", "kind", "name"),
    [
        ("pending", "accepted", "message.accepted"),
        ("failed", "bounce", "message.failed"),
        (None, "click", "message.click"),
        (None, "unknown: Ünsub\nscribe", "message.unknown_nsub_scribe"),
        (None, "x" * 999, "message." + "x" * 50),
    ],
)
def test_names_of_events(status: str | None, kind: str, name: str) -> None:
    """An event is named by its status, else by its type, in letters that need no care."""
    assert name == event_name("message", kind, status)


def event(n: int, size: int = 10) -> LiveEvent:
    """An event at the place of transaction `n`."""
    place = Position(AT, Snapshot(n, n, ()))
    return LiveEvent(
        type="message.sent", about=CALLER.id, position=place, row={"n": n}, data=b"x" * size
    )


def place(n: int) -> Position:
    """The place behind transaction `n - 1`."""
    return Position(AT, Snapshot(n, n, ()))


async def test_a_watcher_gives_what_was_pushed() -> None:
    """What was pushed comes in order, then nothing; the place follows also where nothing comes."""
    watcher = Watcher(CALLER, place(1))
    assert [] == await watcher.next(0.01)
    assert place(1) == watcher.position
    watcher.push([event(2), event(3)], place(3))
    watcher.push([], place(9))
    assert [event(2), event(3)] == await watcher.next(1)
    assert place(9) == watcher.position
    watcher.end("over")
    watcher.end("twice")
    watcher.push([event(4)], place(10))
    with pytest.raises(EndedError, match="over"):
        await watcher.next(1)


@pytest.mark.parametrize(("count", "size"), [(1001, 1), (17, 2**20)])
async def test_a_slow_reader_is_cut(count: int, size: int) -> None:
    """Who is a thousand events or 16 MiB behind is cut at the place that it has reached."""
    watcher = Watcher(CALLER, place(1))
    watcher.push([event(2, size)], place(2))
    await watcher.next(1)
    for n in range(3, 3 + count):
        watcher.push([event(n, size)], place(n))
    with pytest.raises(EndedError, match="it reads too slowly"):
        await watcher.next(1)
    assert place(2) == watcher.position


async def test_what_was_missed_comes_first() -> None:
    """Parts of what was missed come one by one, empty ones unseen, and then what was pushed."""
    parts = [([event(2)], place(2), True), ([], place(3), True), ([event(4)], place(5), False)]

    async def missed(_: Position) -> Any:
        return parts.pop(0)

    watcher = Watcher(CALLER, place(1), missed=missed)
    watcher.push([event(6)], place(6))
    assert ([event(2)], place(2)) == (await watcher.next(1), watcher.position)
    assert ([event(4)], place(5)) == (await watcher.next(1), watcher.position)
    assert ([event(6)], place(6)) == (await watcher.next(1), watcher.position)


async def test_nothing_comes_once_the_time_is_over() -> None:
    """What is read, pushed or waited for when a token expires does not come any more."""

    async def missed(_: Position) -> Any:
        await asyncio.sleep(0.2)
        return [event(2)], place(2), False

    def brief(**given: Any) -> Watcher:
        return Watcher(CALLER, place(1), expires_at=time.time() + 0.1, **given)

    with pytest.raises(EndedError, match="its token has expired"):
        await brief(missed=missed).next(60)
    waiting, pushed = brief(missed=missed, places=asyncio.Semaphore(0)), brief()
    pushed.push([event(2)], place(2))
    assert [] == await waiting.next(60)
    await asyncio.sleep(0.05)  # tokens go by another clock than waiting
    for watcher in (waiting, pushed):
        with pytest.raises(EndedError, match="its token has expired"):
            await watcher.next(60)


@asynccontextmanager
async def running(dsn: str, **bounds: Any) -> AsyncIterator[Live]:
    """Streams of a process, over a database."""
    async with running_as(Live, dsn, **bounds) as live:
        yield live


@asynccontextmanager
async def running_as(kind: type[L], dsn: str, **bounds: Any) -> AsyncIterator[L]:
    """The same, of a kind of their own."""
    database = await Database.connect(dsn)
    listener = Listener(database, dsn)
    live = kind(database, listener, lambda *_: b"{}", **bounds)
    tasks = [asyncio.create_task(each.run()) for each in (listener, live)]
    try:
        yield live
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await database.close()


async def test_bounds_of_a_process(database: str) -> None:
    """A process and an organization have so many streams and no more; one that ends makes room."""
    other = ApiKey(id=UUID(int=3), organization_id=UUID(int=4), is_test=False)
    async with running(database, streams=3, streams_of_one=2) as live, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(live.watch(CALLER))
        with pytest.raises(Problem, match="Your organization has 2 event streams here"):
            await stack.enter_async_context(live.watch(CALLER))
        async with live.watch(other):
            with pytest.raises(Problem, match="This server has 3 event streams"):
                await stack.enter_async_context(live.watch(other))
        await stack.enter_async_context(live.watch(other))


async def test_what_was_missed_in_brief(database: str) -> None:
    """Where ids are enough, what was missed is told by them, without a text of it; a conversation
    that was merged is the other one."""
    organization, message, other = CALLER.organization_id, UUID(int=5), UUID(int=6)
    connection = await asyncpg.connect(database)
    async with running(database) as live:
        async with live.watch(CALLER) as watcher:
            place = watcher.position
        await connection.execute(
            "INSERT INTO organizations (id, name) VALUES ($1, 'Clinic')", organization
        )
        conversation = await connection.fetchval(
            "INSERT INTO messages (organization_id, id, channel, direction, from_address,"
            " to_address, body) VALUES ($1, $2, 'sms', 'outbound', '+1', '+2', repeat('x', 100000))"
            " RETURNING conversation_id",
            organization, message,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO gateway.message_events"
            " (organization_id, message_id, id, type, status, occurred_at, source)"
            " VALUES ($1, $2, $2, 'sent', 'sent', now(), 'worker')",
            organization, message,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO gateway.conversations (organization_id, id) VALUES ($1, $2)",
            organization, other,
        )  # fmt: skip
        await connection.execute(
            "UPDATE gateway.conversations SET merged_into = $3, status = 'closed'"
            " WHERE organization_id = $1 AND id = $2",
            organization, conversation, other,
        )  # fmt: skip
        told: list[LiveEvent] = []
        async with live.watch(CALLER, place, is_brief=True) as watcher:
            while "conversation.updated" not in {each.type for each in told}:
                told += await watcher.next(5)
    await connection.close()

    assert {b""} == {each.data for each in told}
    assert {"kind", "about", "id", "conversation_id"} == {key for each in told for key in each.row}
    rows = {each.type: each.row for each in told}
    assert message == rows["message.sent"]["id"]
    assert conversation == rows["message.sent"]["conversation_id"]
    assert other == rows["conversation.updated"]["id"]


async def test_no_database() -> None:
    """Without a database there is no stream, and nothing is left of the try."""
    dsn = f"postgresql://nobody@127.0.0.1:{free_port()}/x"
    async with running(dsn, streams=1, patience=0.2) as live:
        for _ in range(2):
            with pytest.raises(DatabaseAwayError):
                await AsyncExitStack().enter_async_context(live.watch(CALLER))


class Checking(Live):
    """Counts how often it looks at who may read, which it can where the database `is_there`."""

    def __init__(self, *given: Any, **bounds: Any) -> None:
        super().__init__(*given, **bounds)
        self.checks, self.is_there, self.checked = 0, True, asyncio.Event()

    async def check(self) -> None:
        """Look at nobody."""
        self.checks += 1
        self.checked.set()
        if not self.is_there:
            raise DatabaseAwayError("it is away")


async def test_many_revocations_at_once(database: str) -> None:
    """However many keys are revoked one after another, who may read is looked at for many at a
    time, and for the first at once."""
    connection = await asyncpg.connect(database)
    async with running_as(Checking, database) as live:
        await connection.execute("SELECT pg_sleep(0.5)")  # it listens now
        before, began = live.checks, time.monotonic()
        for _ in range(300):
            await connection.execute("SELECT pg_notify('gateway_keys', 'x')")
        await asyncio.sleep(0.3)
        took, checks = time.monotonic() - began, live.checks - before
    await connection.close()
    assert 1 <= checks <= 1 + took / 0.1


async def test_an_outage_is_told_once(
    database: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That nobody can be looked at is logged once, until somebody could and it is so again."""
    monkeypatch.setattr(hub, "_CHECK", 0.01)
    monkeypatch.setattr(hub, "_PAUSE", 0.01)
    async with running_as(Checking, database) as live:
        for live.is_there in (False, True, False):
            for _ in range(5):
                live.checked.clear()
                async with asyncio.timeout(10):
                    await live.checked.wait()
        told = capsys.readouterr().out.count("callers cannot be checked")
    assert 2 == told


async def test_a_feed_tells_an_outage_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That events cannot be read is logged once, until they could be and it is so again."""
    monkeypatch.setattr(feed, "_AWAY", 0.0)
    is_there = [True, False, False, False, True, False, False, True]

    async def read(_: Position | None) -> Stretch:
        if not is_there.pop(0):
            raise DatabaseAwayError("it is away")
        return Stretch(events=[], position=Position(AT, Snapshot(1, 1, ())), is_more=False)

    async def never(*_: object) -> Stretch:
        raise AssertionError

    reading = feed.Feed(read, never, lambda *_: b"", patience=10)
    for _ in range(3):
        await reading.here()
    reading.close()
    assert [] == is_there
    assert 2 == capsys.readouterr().out.count("events cannot be read")


async def test_anybody_may_notify(database: str) -> None:
    """Words on the channel that are no organization's, or nobody's here, wake nobody and harm
    nothing; those of an organization wake it."""
    async with running(database) as live, live.watch(CALLER) as watcher:
        connection = await asyncpg.connect(database)
        for words in ("", "x", "00000000-0000-0000-0000-00000000000", str(UUID(int=9))):
            await connection.execute("SELECT pg_notify('gateway_live', $1)", words)
        before = watcher.position
        await connection.execute("CREATE TEMP TABLE one AS SELECT 1")  # a transaction ends
        await connection.execute(
            "SELECT pg_notify('gateway_live', $1)", str(CALLER.organization_id)
        )
        async with asyncio.timeout(15):
            while before.snapshot.xmax >= watcher.position.snapshot.xmax:
                assert [] == await watcher.next(0.3)
        await connection.close()


@asynccontextmanager
async def deaf(database: str) -> AsyncIterator[str]:
    """A way to the database that passes on everything but notifications, as a pooler does."""
    serving: set[asyncio.Task[None]] = set()
    where = parse_qs(urlsplit(database).query)
    path = f"{where['host'][0]}/.s.PGSQL.{where.get('port', ['5432'])[0]}"

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(5)
                body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
                if head[:1] != b"A":  # NotificationResponse
                    writer.write(head + body)
        writer.close()
        await writer.wait_closed()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())  # type: ignore[arg-type]
        there_reader, there_writer = await asyncio.open_unix_connection(path)
        answering = asyncio.create_task(answers(there_reader, writer))
        with suppress(ConnectionError):
            while some := await reader.read(65536):
                there_writer.write(some)
        there_writer.close()
        await answering
        await there_writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        name = urlsplit(database).path
        yield f"postgresql://postgres@127.0.0.1:{port}{name}?sslmode=disable"
        await asyncio.gather(*serving)


async def test_a_pooler_that_passes_nothing_on(database: str) -> None:
    """A connection on which no notification arrives is known for it, and never taken for one."""
    store, hearing = await Database.connect(database), asyncio.Event()

    async def notify(channel: str) -> None:
        await store.at_once(f"NOTIFY {channel}")

    async with deaf(database) as dsn:
        with pytest.raises(DatabaseAwayError, match="it passes on no notifications"):
            await hear(dsn, hearing, {}, notify, patience=0.3)
    assert not hearing.is_set()
    await store.close()
