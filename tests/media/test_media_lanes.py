"""Errands run side by side: accounts take turns, a slow one stops nobody, a worker can end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web

from gateway.manage import setup
from gateway.receive.errands import Errands
from gateway.store import media
from gateway.store.database import Database
from tests.media.conftest import FileServer, Names
from tests.media.stage import API, CDN, JPEG, VAULT, MakeErrands, Stage, make_stage, run_due


@pytest.fixture(autouse=True)
def _names(names: Names, files: FileServer) -> None:
    """All names lead to the one server."""
    for name in ("api.example.com", "cdn.example.com"):
        names.to(name, files)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something, for some thirty seconds at most."""
    for _ in range(3000):
        if await is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def has_open(stage: Stage, count: int) -> bool:
    """Whether there are that many errands."""
    return await stage.open_errands() == count


class Endless:
    """Answers nothing for a minute; `reached` are the paths that were asked for."""

    def __init__(self) -> None:
        self.reached: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Take a request."""
        self.reached.append(request.path)
        await asyncio.sleep(60)
        return web.Response()


async def another_is_served(
    stage: Stage, errands: Errands, files: FileServer, *, beside: Endless, slow: int, left: int
) -> None:
    """Run errands until so many are slow, and on until another organization's alone is done."""

    async def are_slow() -> bool:
        return len(beside.reached) == slow

    files.has("/b", JPEG)
    running = asyncio.create_task(errands.run())
    await until(are_slow)
    other = await make_stage(stage.database, "Beta")
    await other.send("visit", f"{CDN}/b")
    await until(lambda: has_open(stage, left))
    running.cancel()
    await asyncio.wait({running})


async def test_accounts_take_turns(stage: Stage) -> None:
    """A hundred files of one account do not hold up the one of another."""
    other = await make_stage(stage.database, "Beta")
    await stage.add(*(f"{CDN}/{n}" for n in range(100)))
    await other.add(f"{CDN}/x")
    async with stage.database.as_service() as db:
        first = await media.claim_errand(db, 60)
        assert first is not None
        second = await media.claim_errand(db, 60, [first.holder])
        assert second is not None

    assert [stage.organization_id, other.organization_id] == [
        first.organization_id,
        second.organization_id,
    ]


async def test_turns_one_by_one(stage: Stage) -> None:
    """Whoever claims one at a time takes from all accounts alike, and leaves out who has enough."""
    other = await make_stage(stage.database, "Beta")
    mine, theirs = stage.account_id, other.account_id
    await stage.add(*(f"{CDN}/{n}" for n in range(5)))
    await other.add(*(f"{CDN}/{n}" for n in range(2)))
    held: list[media.Holder] = []
    for _ in range(7):
        async with stage.database.as_service() as db:
            due = await media.claim_errand(db, 60, held, of_account=3)
        held += [due.holder] if due else []

    assert [mine, theirs, mine, theirs, mine] == [account_id for _, account_id in held]


async def test_slow_ones_leave_a_lane(stage: Stage, errands: Errands, files: FileServer) -> None:
    """However much one account waits for, what another one needs is done beside it."""
    endless = Endless()
    for n in range(20):
        files.answers[f"/{n}"] = endless
        await stage.send("visit", f"{CDN}/{n}")
    await another_is_served(stage, errands, files, beside=endless, slow=3, left=20)

    assert ([*endless.reached, "/b"], 3) == (files.paths(), len(endless.reached))
    assert 20 == await stage.run("SELECT count(*) FROM gateway.errands WHERE run_at <= now()")


async def test_slow_accounts_leave_a_lane_to_other_organizations(
    stage: Stage, errands: Errands, files: FileServer
) -> None:
    """However many accounts of one organization are slow, what another one needs is done beside."""
    endless = Endless()
    for number in range(2):
        credentials = {"account_sid": "AC" + "b" * 32, "auth_token": "t" * 32}
        account_id = await setup.add_account(
            stage.database, VAULT, stage.organization_id, "twilio", credentials
        )
        for n in range(8):
            path = f"/{number}-{n}"
            files.answers[path] = endless
            await replace(stage, account_id=account_id).send("visit", f"{CDN}{path}")
    await another_is_served(stage, errands, files, beside=endless, slow=4, left=16)

    assert [["0-0", "0-1"], ["1-0", "1-1"]] == [
        [path[1:] for path in sorted(endless.reached) if path[1] == number] for number in "01"
    ]


async def test_side_by_side(stage: Stage, errands: Errands, files: FileServer) -> None:
    """Several are fetched at a time, three of one account, and no more than the limit in all."""
    under_way = most = 0
    three = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if under_way == 3:
            three.set()
        await asyncio.wait_for(three.wait(), 20)
        await asyncio.sleep(0.05)  # the time for a fourth
        under_way -= 1
        return web.Response(body=JPEG)

    for n in range(12):
        files.answers[f"/{n}"] = slow
    await stage.add(*(f"{CDN}/{n}" for n in range(12)))

    assert (10, 3) == (await run_due(errands, 10), most)
    assert 2 == await run_due(errands, 10)


async def test_a_worker_that_stops(stage: Stage, errands: Errands, files: FileServer) -> None:
    """What a stopping worker was fetching is due at once, for another one."""
    reached = asyncio.Event()

    async def endless(_: web.Request) -> web.StreamResponse:
        reached.set()
        await asyncio.sleep(60)
        return web.Response()

    files.answers["/a.jpg"] = endless
    await stage.add(f"{CDN}/a.jpg")
    running = asyncio.create_task(run_due(errands, 1))
    await reached.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    files.has("/a.jpg", JPEG)
    assert 1 == await run_due(errands, 1)
    assert 0 == await stage.run("SELECT count(*) FROM gateway.errands")


async def test_a_worker_that_stops_without_a_database(
    stage: Stage, make_errands: MakeErrands, files: FileServer
) -> None:
    """What cannot be given back waits for the end of its lease; the worker stops all the same."""
    reached = asyncio.Event()

    async def endless(*_: object) -> None:
        reached.set()
        try:
            await asyncio.sleep(60)
        finally:
            await stage.database.close()

    files.has("/a", b"x")
    await stage.send("parse", f"{API}/a")
    errands = make_errands()
    errands._fetched = endless
    running = asyncio.create_task(errands.run())
    await asyncio.wait_for(reached.wait(), 30)
    running.cancel()
    ended, _ = await asyncio.wait({running}, timeout=30)

    assert {running} == ended
    assert running.cancelled()


async def test_a_slow_one(stage: Stage, errands: Errands, files: FileServer) -> None:
    """While one is slow, what becomes due is done; what was under way at the end is given back."""

    reached = asyncio.Event()

    async def endless(_: web.Request) -> web.StreamResponse:
        reached.set()
        await asyncio.sleep(60)
        return web.Response()

    files.answers["/slow"] = endless
    files.has("/b", JPEG)
    await stage.send("visit", f"{CDN}/slow")
    running = asyncio.create_task(errands.run())
    await asyncio.wait_for(reached.wait(), 30)
    await stage.send("visit", f"{CDN}/b")
    await until(lambda: has_open(stage, 1))
    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()
    assert ["/slow", "/b"] == files.paths()
    assert 1 == await stage.run("SELECT count(*) FROM gateway.errands WHERE run_at <= now()")


@pytest.mark.parametrize("closed", [True, False])
async def test_lanes_never_end(
    stage: Stage, make_errands: MakeErrands, files: FileServer, *, closed: bool
) -> None:
    """A database that is away, or a defect, ends no lane: what is due is done afterwards."""
    files.has("/a", b"x")
    await stage.send("visit", f"{CDN}/a")
    errands = make_errands()
    good = errands._database
    away = await Database.connect("postgresql://127.0.0.1:1/none")
    errands._database = away if closed else None  # type: ignore[assignment]
    running = asyncio.create_task(errands.run())
    await asyncio.sleep(0.1)
    errands._database = good
    await until(lambda: has_open(stage, 0))
    await away.close()

    assert (["/a"], False) == (files.paths(), running.done())
    running.cancel()
    await asyncio.wait({running})
