"""What is to be fetched is fetched once, kept before it is told of, tried again, or given up."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.media.folder import FolderStore
from gateway.media.store import MediaStoreError, storage_key
from gateway.receive.errands import Errands, Patience
from gateway.store import media
from gateway.store.errors import DatabaseAwayError, RefusedError
from gateway.vault import Vault
from tests.media.conftest import FileServer, Names
from tests.media.stage import (
    API,
    BASE,
    CDN,
    HURRIED,
    JPEG,
    MakeErrands,
    Stage,
    make_stage,
    run_due,
)
from webhooks.model import Unreadable


@pytest.fixture(autouse=True)
def _names(names: Names, files: FileServer) -> None:
    """All names lead to the one server."""
    for name in ("api.example.com", "cdn.example.com", "graph.facebook.com"):
        names.to(name, files)


def kept(path: Path) -> list[str]:
    """The keys in a folder."""
    return sorted(str(f.relative_to(path)) for f in path.rglob("*") if f.is_file())


async def test_a_file(
    stage: Stage, errands: Errands, files: FileServer, folder: FolderStore
) -> None:
    """A file is kept, its row and its message say so, and the errand is gone."""
    files.has(
        "/a",
        JPEG,
        headers={"Content-Type": "image/jpeg", "Content-Disposition": "inline; filename=x/a.jpg"},
    )
    files.has("/b", b"<html>")
    first, second = await stage.add(f"{API}/a", f"{CDN}/b", content_type="text/html")

    assert 2 == await run_due(errands, 10)
    assert 0 == await run_due(errands, 10)
    key = storage_key(stage.organization_id, first)
    assert [
        {
            "url": f"{BASE}/v1/media/{first}",
            "filename": "a.jpg",
            "content_type": "image/jpeg",
            "size": len(JPEG),
            "cid": 0,
        },
        {
            "url": f"{BASE}/v1/media/{second}",
            "filename": None,
            "content_type": "application/octet-stream",
            "size": 6,
            "cid": 1,
        },
    ] == await stage.shown()
    assert [("stored", None)] * 2 == await stage.states()
    assert JPEG == await folder.get(key)
    assert 0 == await stage.open_errands()
    assert {"/a": True, "/b": False} == {
        one.path: "Authorization" in one.headers for one in files.asked
    }


async def test_a_type_that_only_the_webhook_told(
    stage: Stage, errands: Errands, files: FileServer
) -> None:
    """What the webhook said about a file counts where its server says nothing."""
    files.has("/a", b"BEGIN:VCARD", headers={"Content-Type": "binary/octet-stream"})
    await stage.add(f"{CDN}/a", content_type="text/vcard")
    await run_due(errands)

    assert ["text/vcard"] == [one.content_type for one in await stage.rows()]


async def test_a_file_twice(
    stage: Stage, make_errands: MakeErrands, files: FileServer, folder: FolderStore
) -> None:
    """Two workers that fetch one file at once, and one that died before it told, store it once."""
    files.has("/a", JPEG)
    (media_id,) = await stage.add(f"{CDN}/a")
    key = storage_key(stage.organization_id, media_id)
    await folder.put(key, b"of a worker that died", "text/plain")
    frozen = make_errands(patience=replace(HURRIED, lease=0))
    await asyncio.gather(run_due(frozen, 2), run_due(frozen, 2))

    assert [("stored", None)] == await stage.states()
    assert [key] == kept(folder._path)
    assert JPEG == await folder.get(key)


async def test_a_lease(stage: Stage, errands: Errands, files: FileServer) -> None:
    """What one worker holds is no other's; what a dead one held is due when its lease is over."""
    files.has("/a", JPEG)
    await stage.add(f"{CDN}/a")
    async with stage.database.as_service() as db:
        held = await media.claim_errand(db, 60)
        assert None is await media.claim_errand(db, 60)
    assert 0 == await run_due(errands)
    await stage.run("UPDATE gateway.errands SET run_at = run_at - interval '60 s'")
    assert (1, 1) == (held and held.attempts, await run_due(errands))

    assert [("stored", None)] == await stage.states()


async def test_a_late_worker(stage: Stage) -> None:
    """Whoever lost its lease does not move the errand of another."""
    await stage.add(f"{CDN}/a")
    async with stage.database.as_service() as db:
        first = await media.claim_errand(db, 0)
    async with stage.database.as_service() as db:
        second = await media.claim_errand(db, 0)
        assert first is not None
        assert second is not None
        await media.postpone_errand(db, first, 3600)
    async with stage.database.as_service() as db:
        assert await media.claim_errand(db, 0) is not None
        await media.postpone_errand(db, replace(second, attempts=3), 3600)
    async with stage.database.as_service() as db:
        assert None is await media.claim_errand(db, 0)


async def test_a_server_that_is_away(stage: Stage, errands: Errands, files: FileServer) -> None:
    """A file is tried eight times, then given up, in words."""
    url = files.has("/a", status=503).replace(files.url, CDN)
    await stage.add(url)

    assert 8 == await run_due(errands, 100)
    assert [("failed", "Its server answered 503.")] == await stage.states()
    assert (0, 8) == (await stage.open_errands(), len(files.asked))
    assert [{"url": url, "filename": None, "cid": 0}] == await stage.shown()


async def test_waits(stage: Stage, make_errands: MakeErrands, files: FileServer) -> None:
    """Between attempts it waits longer each time, and as long as the server wants."""
    errands = make_errands(patience=Patience())
    files.has("/a", status=503)
    files.has("/b", status=429, headers={"Retry-After": "90"})
    waits = []
    for path in ("/a", "/b"):
        await stage.run("DELETE FROM gateway.errands")
        await stage.add(f"{CDN}{path}")
        for _ in range(7):
            await stage.run("UPDATE gateway.errands SET run_at = now()")
            await run_due(errands)
            waits.append(
                await stage.run("SELECT extract(epoch FROM run_at - now()) FROM gateway.errands")
            )

    wanted = [5, 30, 120, 600, 3600, 21600, 21600, 90, 90, 120, 600, 3600, 21600, 21600]
    # Less what passed until somebody looked.
    found = [float(wait) for wait in waits]
    assert all(0 <= a - b < 4 for a, b in zip(wanted, found, strict=True)), found


@pytest.mark.parametrize(
    ("status", "kind", "asked"),
    [
        (404, "media", 3),
        (401, "media", 8),
        (403, "media", 8),
        (410, "media", 1),
        (404, "parse", 8),
        (400, "parse", 1),
    ],
)
async def test_refusals(
    stage: Stage, errands: Errands, files: FileServer, status: int, kind: str, asked: int
) -> None:
    """An answer that may pass is asked for again, the longest where the account's credentials may
    be wrong, or where a message is behind it, whose provider may then have it in another form."""
    files.has("/a", status=status)
    if kind == "media":
        await stage.add(f"{CDN}/a")
    else:
        await stage.send(kind, f"{API}/a")
    await run_due(errands)

    assert (asked, 0) == (len(files.asked), await stage.open_errands())
    told = [(request.event, request.url, request.body) for _, request in stage.received]
    assert ([("unfetched", f"{API}/a", b"")] if kind == "parse" else []) == told


async def test_internal_addresses(stage: Stage, errands: Errands, files: FileServer) -> None:
    """A file at an internal address is not fetched, and staff are told why."""
    await stage.add(f"{files.url}/a", "http://169.254.169.254/", f"{CDN}:22/", "nonsense")
    await run_due(errands)

    assert [
        ("failed", "It is not fetched: its URL names an unusual port."),
        ("failed", "It is not fetched: its URL leads to an internal address."),
        ("failed", "It is not fetched: its URL names an unusual port."),
        ("failed", "Its URL is not valid."),
    ] == await stage.states()
    assert [] == files.asked


async def test_large_files(stage: Stage, errands: Errands, files: FileServer) -> None:
    """A file above the limit is given up at once."""

    async def large(_: web.Request) -> web.StreamResponse:
        return web.Response(headers={"Content-Length": str(2**26)})

    files.answers["/a"] = large
    await stage.add(f"{CDN}/a")
    await run_due(errands)

    assert [("failed", "It is larger than 32 MiB.")] == await stage.states()


async def test_meta(stage: Stage, errands: Errands, files: FileServer) -> None:
    """Meta is asked where the file is, then for the file, each time with what it may see."""
    where = {"url": "http://cdn.example.com/file", "mime_type": "image/jpeg"}
    headers = {"Content-Type": "application/json"}
    files.has("/v23.0/123", json.dumps(where).encode(), headers=headers)
    files.has("/v23.0/124", b'{"error": {}}', headers=headers)
    files.has("/v23.0/125", b"[]", headers=headers)
    files.has("/v23.0/126", b'{"url": 1}', headers=headers)
    files.has("/v23.0/127", b"nonsense", headers=headers)
    files.has("/file", JPEG, headers={"Content-Type": "image/jpeg"})
    await stage.add(*(f"http://graph.facebook.com/v23.0/{n}" for n in range(123, 128)))
    await run_due(errands)

    none = ("failed", "The provider's answer names no URL of the file.")
    assert [("stored", None), none, none, none, none] == await stage.states()
    assert {True} == {"Authorization" in a.headers for a in files.asked if a.path != "/file"}
    assert [False] == ["Authorization" in a.headers for a in files.asked if a.path == "/file"]


@pytest.mark.parametrize("kind", ["text/javascript; charset=UTF-8", "text/plain", "image/jpeg", ""])
async def test_what_meta_calls_its_answer(
    stage: Stage, errands: Errands, files: FileServer, kind: str
) -> None:
    """Where a file is, is never taken for the file, and JSON that somebody sent is the file."""
    headers = {"Content-Type": kind} if kind else {}
    sent = b'{"url": "http://cdn.example.com/other"}'
    files.has("/v23.0/1", b'{"url": "http://cdn.example.com/file"}', headers=headers)
    files.has("/v23.0/2", b"<html>later</html>", headers=headers)
    files.has("/file", sent, headers={"Content-Type": "application/json"})
    await stage.add(*(f"http://graph.facebook.com/v23.0/{n}" for n in (1, 2)))
    await run_due(errands)

    none = ("failed", "The provider's answer names no URL of the file.")
    assert [("stored", None), none] == await stage.states()
    assert ["/file", "/v23.0/1", "/v23.0/2"] == sorted(one.path for one in files.asked)
    assert len(sent) == (await stage.rows())[0].size


async def test_another_address(stage: Stage, make_errands: MakeErrands, files: FileServer) -> None:
    """With another base address the provider's own URLs go there, others where they lead."""
    files.has("/base/v1/a", JPEG)
    files.has("/base/v1/b", JPEG)
    files.has("/c", JPEG)
    files.has("/base/mail/1", b"{}", headers={"X-More": "yes"})
    await stage.add(f"{API}/v1/a", f"{files.url}/base/v1/b", f"{CDN}/c")
    await stage.send("parse", "https://elsewhere.example.com/mail/1?a=b")
    await stage.send("parse", "http://[")
    await run_due(make_errands(files.url + "/base"))

    assert [("stored", None)] * 3 == await stage.states()
    assert {"/base/v1/a": True, "/base/v1/b": True, "/c": False, "/base/mail/1": True} == {
        one.path: "Authorization" in one.headers for one in files.asked
    }


async def test_parse(stage: Stage, errands: Errands, files: FileServer) -> None:
    """An answer is read like a webhook of its account, under the URL that was asked for."""
    files.has("/mail/1", b'{"a": 1}', headers={"X-More": "yes"})
    await stage.send("parse", f"{API}/mail/1?a=b")
    await run_due(errands)
    ((account, request),) = stage.received

    assert (stage.account_id, stage.organization_id, "twilio", "0" * 32) == (
        account.id,
        account.organization_id,
        account.provider,
        account.credentials["auth_token"],
    )
    assert ("GET", f"{API}/mail/1?a=b", "fetched", b'{"a": 1}', "yes") == (
        request.method,
        request.url,
        request.event,
        request.body,
        request.headers["x-more"],
    )
    assert 0 == await stage.open_errands()


async def test_visit(stage: Stage, errands: Errands, files: FileServer) -> None:
    """A visit is made once it is due, and its answer is nobody's."""
    files.has("/confirm", b"thanks")
    await stage.send("visit", f"{CDN}/confirm")
    await stage.send("visit", f"{CDN}/later", after=60)
    await run_due(errands)

    assert (["/confirm"], [], 1) == (files.paths(), stage.received, await stage.open_errands())


@pytest.mark.parametrize("code", [2, 4, 80007, 130429, 131000])
async def test_an_error_of_the_api_that_may_pass(
    stage: Stage, errands: Errands, files: FileServer, code: int
) -> None:
    """A file is asked for again after an error that may pass, though it came with status 400."""
    error = json.dumps({"error": {"code": code, "message": "Later"}}).encode()
    files.has("/v25.0/123", error, status=400)
    await stage.add("http://graph.facebook.com/v25.0/123")
    await run_due(errands, 1)
    assert [("waiting", None)] == await stage.states()

    files.has("/v25.0/123", json.dumps({"url": f"{CDN}/file"}).encode())
    files.has("/file", JPEG)
    await run_due(errands, 1)
    assert [("stored", None)] == await stage.states()


@pytest.mark.parametrize(
    ("url", "body"),
    [
        # Meta's, and final.
        ("http://graph.facebook.com/v25.0/1", b'{"error": {"code": 100, "message": "No"}}'),
        ("http://graph.facebook.com/v25.0/1", b""),
        ("http://graph.facebook.com/v25.0/1", b'{"error": {"code": 4}, "x": "' + b"x" * 9000),
        # Of a host that is not the provider's.
        (f"{CDN}/v25.0/1", b'{"error": {"code": 4, "message": "Later"}}'),
    ],
)
async def test_an_error_that_does_not_pass(
    stage: Stage, errands: Errands, files: FileServer, url: str, body: bytes
) -> None:
    """Only the provider's own API says which error may pass, in a few kilobytes."""
    files.has("/v25.0/1", body, status=400)
    await stage.add(url)
    await run_due(errands)

    assert [("failed", "Its server answered 400.")] == await stage.states()
    assert 1 == len(files.asked)


@dataclass
class Moody:
    """Takes what was fetched, in the way that a test wants."""

    error: Exception
    times: int = 0

    async def __call__(self, *_: object) -> None:
        """Fail."""
        self.times += 1
        raise self.error


@pytest.mark.parametrize(
    ("error", "times", "left", "reason"),
    [
        (
            Unreadable("It is no call."),
            2,
            0,
            "The provider's answer cannot be read: It is no call.",
        ),
        (KeyError("x"), 9, 0, "The gateway made a mistake."),
    ],
)
async def test_answers_that_cannot_be_taken(
    stage: Stage,
    make_errands: MakeErrands,
    files: FileServer,
    error: Exception,
    times: int,
    left: int,
    reason: str,
) -> None:
    """What cannot be read is given up, what met a defect is tried again; each is told at last."""
    files.has("/a", b"x")
    await stage.send("parse", f"{API}/a")
    errands, moody = make_errands(), Moody(error)
    errands._fetched = moody
    with capture_logs() as lines:
        await run_due(errands)

    assert (times, left) == (moody.times, await stage.open_errands())
    reasons = [line["reason"] for line in lines if line["event"] == "an errand is given up"]
    assert [reason] == reasons


async def test_a_database_that_is_away(
    stage: Stage, make_errands: MakeErrands, files: FileServer
) -> None:
    """The worker is told, and the errand waits for the end of its lease."""
    files.has("/a", b"x")
    await stage.send("parse", f"{API}/a")
    errands = make_errands()
    errands._fetched = Moody(DatabaseAwayError("away"))
    with pytest.raises(DatabaseAwayError):
        await run_due(errands)

    assert 1 == await stage.open_errands()


async def test_a_rule_that_refuses_it(
    stage: Stage, make_errands: MakeErrands, files: FileServer
) -> None:
    """Where a rule of another program's refuses what was fetched, the log names the rule, and it
    is tried again like anything else."""
    files.has("/a", b"x")
    await stage.send("parse", f"{API}/a")
    errands = make_errands(patience=replace(HURRIED, waits=(3600,) * 7))
    rule = {"table": "messages", "column": "crm_stage", "sqlstate": "23502"}
    errands._fetched = Moody(RefusedError(rule))
    with capture_logs() as logs:
        assert 1 == await run_due(errands)

    (line,) = [line for line in logs if line["event"] == "the database refuses a row"]
    assert rule == {name: line[name] for name in rule}
    assert ("error", "parse") == (line["log_level"], line["kind"])
    assert 1 == await stage.open_errands()


class BrokenStore(FolderStore):
    """A store whose disk is full."""

    async def put(self, *_: object) -> None:
        """Fail."""
        raise MediaStoreError("the disk is full")


async def test_a_store_that_is_full(
    stage: Stage, make_errands: MakeErrands, files: FileServer, tmp_path: Path
) -> None:
    """A file that could not be kept is not told of: the row waits for a store that can."""
    files.has("/a", JPEG)
    await stage.add(f"{CDN}/a")
    patience = replace(HURRIED, waits=(0, 0, 3600, 0, 0, 0, 0))
    await run_due(make_errands(patience=patience, store=BrokenStore(tmp_path)))
    assert [("waiting", None)] == await stage.states()
    await stage.run("UPDATE gateway.errands SET run_at = now()")
    await run_due(make_errands())

    assert [("stored", None)] == await stage.states()


async def test_credentials_that_do_not_open(
    stage: Stage, make_errands: MakeErrands, files: FileServer
) -> None:
    """The operator can put a key back: until then nothing is asked for."""
    await stage.add(f"{CDN}/a")
    await run_due(make_errands(vault=Vault([b"o" * 32])))

    assert [("failed", "The account's credentials do not open.")] == await stage.states()
    assert [] == files.asked


async def test_a_provider_that_is_no_more(stage: Stage, make_errands: MakeErrands) -> None:
    """An account of a provider that this version lacks fetches nothing."""
    await stage.add(f"{CDN}/a")
    await run_due(make_errands(providers={}))

    assert [("failed", "There is no provider twilio in this version.")] == await stage.states()


@pytest.mark.parametrize("kind", ["media", "parse", "visit"])
async def test_workers_that_stop(
    stage: Stage, make_errands: MakeErrands, files: FileServer, kind: str
) -> None:
    """An errand that stopping workers give back has had no attempt: it is due at once, and not
    given up, however many they are."""
    reached = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        reached.set()
        await asyncio.sleep(30)
        return web.Response()

    files.answers["/a"] = silent
    await stage.add(f"{API}/a")
    async with stage.database.as_service() as db:
        await db.execute("UPDATE gateway.errands SET kind = $1", kind)
    for _ in range(9):
        reached.clear()
        running = asyncio.create_task(make_errands().run_next())
        await asyncio.wait_for(reached.wait(), 10)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with stage.database.as_service() as db:
        errand = await media.claim_errand(db, 60)
    assert 1 == (errand and errand.attempts)


async def test_an_errand_that_ends_its_worker(
    stage: Stage, errands: Errands, files: FileServer
) -> None:
    """What was begun too often without an end is not begun again."""
    await stage.add(f"{CDN}/a")
    await stage.run("UPDATE gateway.errands SET attempts = 8")
    await run_due(errands)

    assert [("failed", "It could not be fetched.")] == await stage.states()
    assert [] == files.asked


async def test_a_message_that_is_deleted(
    stage: Stage, errands: Errands, files: FileServer, folder: FolderStore
) -> None:
    """A file whose message is gone is not fetched, or not kept."""

    async def deleting(_: web.Request) -> web.StreamResponse:
        await stage.run("DELETE FROM messages WHERE id = $1", stage.message_id)
        return web.Response(body=JPEG)

    files.answers["/a"] = deleting
    await stage.add(f"{CDN}/a")
    await run_due(errands)
    await stage.run(
        "INSERT INTO gateway.errands (organization_id, id, account_id, kind, url)"
        " VALUES ($1, $1, $2, 'media', 'http://cdn.example.com/a')",
        stage.organization_id,
        stage.account_id,
    )
    await run_due(errands)

    assert (["/a"], [], 0) == (files.paths(), kept(folder._path), await stage.open_errands())


async def test_rows_of_messages_that_are_not_there(stage: Stage) -> None:
    """A file of a message that is not stored, or of another tenant's, is no row; one twice, one."""
    other = await make_stage(stage.database, "Beta")
    new = media.NewMedia(
        organization_id=stage.organization_id,
        id=UUID(int=1),
        message_id=stage.message_id,
        position=0,
        source_url=f"{CDN}/\x00a",
        account_id=stage.account_id,
    )
    strange = replace(new, id=UUID(int=2), message_id=other.message_id)
    async with stage.database.as_service() as db:
        await media.insert(db, [])
        await media.add_errands(db, [])
        await media.insert(db, [new, strange])
        await media.insert(db, [new])

    assert ([UUID(int=1)], 1) == (
        [one.id for one in await stage.rows()],
        await stage.open_errands(),
    )


async def test_no_row_points_to_what_is_not_there(
    stage: Stage, errands: Errands, files: FileServer
) -> None:
    """A message that lost the place of a file meanwhile keeps what it has."""
    files.has("/a", JPEG)
    await stage.add(f"{CDN}/a")
    await stage.run("UPDATE messages SET attachments = '[]' WHERE id = $1", stage.message_id)
    await run_due(errands)

    assert ([("stored", None)], []) == (await stage.states(), await stage.shown())
