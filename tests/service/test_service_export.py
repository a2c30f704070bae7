"""GET /v1/messages/export: all of what the filters leave, as a file, in constant memory."""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from gateway.api.export_formats import COLUMNS, csv_lines
from gateway.serve import bind
from gateway.store import conversations, unlinking
from gateway.web.in_flight import IN_FLIGHT, InFlight
from gateway.web.streaming import GoneError, Stream

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}


async def accepted(ask: Ask, count: int, **more: Any) -> list[str]:
    """The ids of that many messages, in the order in which they were accepted."""
    messages = [{**SMS, "body": f"number {n}", **more} for n in range(count)]
    answer = await ask("POST", "/v1/messages/batch", {"messages": messages})
    return [one["message"]["id"] for one in answer.body["data"]]


def read_csv(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file by its header."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def test_everything_in_both_formats(ask: Ask) -> None:
    """Every message is there once, newest first, with the columns that the list shows."""
    ids = await accepted(ask, 333)
    listed = await ask("GET", "/v1/messages?limit=1")
    lines = await ask("GET", "/v1/messages/export?format=jsonl")
    rows = [json.loads(line) for line in lines.body.splitlines()]
    assert sorted(ids) == sorted(row["id"] for row in rows)
    assert rows == sorted(rows, key=lambda row: (row["created_at"], row["id"]), reverse=True)
    assert listed.body["data"] == rows[:1]
    assert "application/jsonl; charset=utf-8" == lines.headers["Content-Type"]

    table = await ask("GET", "/v1/messages/export?format=csv")
    assert "text/csv; charset=utf-8; header=present" == table.headers["Content-Type"]
    assert table.headers["Content-Disposition"].startswith('attachment; filename="messages-2')
    assert table.headers["Content-Disposition"].endswith('.csv"')
    assert [row["id"] for row in rows] == [row["id"] for row in read_csv(table.body)]
    assert ",".join(f'"{name}"' for name in COLUMNS) == table.body.partition("\r\n")[0]
    first = read_csv(table.body)[0]
    assert rows[0]["created_at"] == first["created_at"]
    assert ("{}", "[]", "", "+447700900123") == (
        first["metadata"],
        first["attachments"],
        first["sent_at"],
        first["to_address"],
    )


async def test_filters(ask: Ask, gateway: Gateway) -> None:
    """The filters are those of the list; another organization has none of it."""
    await accepted(ask, 3)
    (wanted,) = await accepted(ask, 1, to="+447700900124", body="a parcel")
    conversation = (await ask("GET", f"/v1/messages/{wanted}")).body["conversation_id"]
    for query in (
        "q=parcel",
        f"conversation_id={conversation}",
        "address=%2B447700900124",
        "q=parcel&channel=sms",
    ):
        answer = await ask("GET", f"/v1/messages/export?format=jsonl&{query}")
        assert [wanted] == [json.loads(line)["id"] for line in answer.body.splitlines()], query
    nothing = await ask("GET", "/v1/messages/export?format=jsonl", key=gateway.b.key)
    assert "" == nothing.body
    header = await ask("GET", "/v1/messages/export", key=gateway.b.member)
    assert 1 == len(header.body.splitlines())


async def test_what_it_does_not_take(ask: Ask) -> None:
    """A wrong parameter is a 422 that names it, not half a file."""
    wrong = {"format": "xls", "limit": "1", "cursor": "x", "q": "-"}
    for field, value in wrong.items():
        answer = await ask("GET", f"/v1/messages/export?{field}={value}")

        assert (422, {field}) == (answer.status, set(answer.fields())), field


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        (" =1+1", "' =1+1"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-2", "'-2"),
        ("@SUM(1)", "'@SUM(1)"),
        ("\t=1", "'\t=1"),
        ("\uff1d1", "'\uff1d1"),
        ("+447700900123", "+447700900123"),
        ('He said "=1", ok;=2', 'He said "=1", ok;=2'),
        ("Zoë ✓ مرحبا", "Zoë ✓ مرحبا"),
        ("a\nb\r\nc", "a\nb\r\nc"),
    ],
)
def test_no_cell_is_a_formula(text: str, cell: str) -> None:
    """What a spreadsheet would run stands behind an apostrophe; all else is as it was."""
    row = dict.fromkeys(COLUMNS) | {"body": text}
    (read,) = csv.reader(io.StringIO(csv_lines([row]).decode(), newline=""))

    assert cell == read[COLUMNS.index("body")]
    assert csv_lines([row]).count(b'"') - 2 * text.count('"') == 2 * len(COLUMNS)


async def fill(gateway: Gateway, message_id: str, count: int) -> None:
    """Put that many messages, more than any buffer holds, beside one that is there."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "INSERT INTO messages (organization_id, channel, direction, from_address, to_address,"
            " body, html_body, conversation_id) SELECT organization_id, channel, direction,"
            " from_address, to_address, body, repeat('x', 50000000 / $2), conversation_id"
            " FROM messages, generate_series(1, $2) WHERE id = $1",
            UUID(message_id), count,
        )  # fmt: skip


async def test_a_revoked_key_reads_no_further(ask: Ask, gateway: Gateway) -> None:
    """Who may no longer read is cut off while the file is made, and sees that it has no end."""
    (one,) = await accepted(ask, 1)
    await fill(gateway, one, 100)
    headers = {"Authorization": f"Bearer {gateway.a.key}"}
    async with gateway.http.get("/v1/messages/export", headers=headers) as response:
        await response.content.readexactly(1000)
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE gateway.api_keys SET revoked_at = now()")
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


@pytest.mark.parametrize("messages", [100, 1100], ids=["at once", "in steps"])
async def test_what_is_merged_meanwhile_is_cut(ask: Ask, gateway: Gateway, messages: int) -> None:
    """A file of a conversation whose messages go to another one while it is read has no end; the
    next one has all of them."""
    (one,), (other,) = await accepted(ask, 1), await accepted(ask, 1, to="+447700900124")
    await fill(gateway, one, messages)
    ids = [
        (await ask("GET", f"/v1/messages/{each}")).body["conversation_id"] for each in (one, other)
    ]
    headers = {"Authorization": f"Bearer {gateway.a.key}"}
    url = f"/v1/messages/export?format=jsonl&conversation_id={ids[0]}"
    async with gateway.http.get(url, headers=headers) as response:
        await response.content.readexactly(1000)
        async with gateway.database.as_service() as db:
            await conversations.merge(
                db, gateway.a.organization_id, merged=UUID(ids[0]), kept=UUID(ids[1])
            )
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()
    if messages == 100:
        again = await ask("GET", url)
        assert messages + 2 == len(again.body.splitlines())


@pytest.mark.parametrize("begun", [0, 1], ids=["the first step", "a later step"])
async def test_what_is_set_apart_meanwhile_is_cut(ask: Ask, gateway: Gateway, begun: int) -> None:
    """A file of a conversation that an address is taken out of while it is read has no end."""
    (one,) = await accepted(ask, 1)
    await fill(gateway, one, 2300)
    told = (await ask("GET", f"/v1/messages/{one}")).body
    where, address, mine = told["conversation_id"], told["to_address"], gateway.a.organization_id

    async def step() -> None:
        async with gateway.database.as_service() as db:
            apart = await unlinking.set_apart(db, mine, UUID(where), address, UUID(int=7))
            assert apart
            assert not apart.is_done

    for _ in range(begun):
        await step()
    headers = {"Authorization": f"Bearer {gateway.a.key}"}
    url = f"/v1/messages/export?format=jsonl&conversation_id={where}"
    async with gateway.http.get(url, headers=headers) as response:
        await response.content.readexactly(1000)
        await step()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.content.read()


@pytest.mark.parametrize("query", ["", "q=hello"])
async def test_large_messages_are_read_a_few_at_a_time(
    ask: Ask, gateway: Gateway, query: str
) -> None:
    """A part ends with the message that fills its MiB of text; none is left out, none is twice."""
    ids = await accepted(ask, 12)
    sizes = [600_000, 10, 500_000, 3_000_000, 10, 10, 600_000, 600_000, 10, 10, 10, 2**20]
    async with gateway.database.as_service() as db:
        for message_id, size in zip(ids, sizes, strict=True):
            # the newest last: the file begins with it
            await db.execute(
                "UPDATE messages SET body = rpad('hello ', $2, 'x'),"
                " created_at = created_at + $3 * interval '1 second' WHERE id = $1",
                UUID(message_id), size, -ids.index(message_id),
            )  # fmt: skip
    headers = {"Authorization": f"Bearer {gateway.a.key}"}
    url = f"/v1/messages/export?format=jsonl&{query}"
    parts: list[list[int]] = []
    read: list[str] = []
    part = b""
    async with gateway.http.get(url, headers=headers) as response:
        async for data, is_end in response.content.iter_chunks():
            part += data
            if is_end:
                rows = [json.loads(line) for line in part.splitlines()]
                read += [row["id"] for row in rows]
                parts.append([len(row["body"]) for row in rows])
                part = b""

    assert ids == read
    assert [[600_000, 10, 500_000], [3_000_000]] == parts[:2]
    assert all(sum(sizes[:-1]) < 2**20 for sizes in parts)


class Endless:
    """A server whose one answer has no end, and what became of it."""

    def __init__(self, patience: float) -> None:
        self.patience = patience
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.in_flight = InFlight()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send until it is cut."""
        stream = Stream(request, {}, patience=self.patience)
        async with stream:
            try:
                while True:
                    await stream.send(b"x" * 100_000)
            except GoneError as error:
                self.ended.set_result(type(error.__cause__).__name__)
                raise
        return stream.response

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """Its address, while it is served as the gateway is: nobody cancels a handler."""
        app = web.Application()
        app[IN_FLIGHT] = self.in_flight
        app.router.add_route("*", "/", self.answer)
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        with closing(bind("127.0.0.1", 0)) as bound:
            await web.SockSite(runner, bound).start()
            yield f"http://127.0.0.1:{bound.getsockname()[1]}/"
            await runner.cleanup()


async def test_who_reads_nothing_is_cut(session: aiohttp.ClientSession) -> None:
    """A client that keeps its connection and reads nothing is cut after its time."""
    endless = Endless(patience=0.2)
    async with endless.served() as url, session.get(url) as response:
        assert "TimeoutError" == await asyncio.wait_for(endless.ended, 30)
        with pytest.raises(aiohttp.ClientError):
            await response.read()


async def test_who_goes_away_ends_it(session: aiohttp.ClientSession) -> None:
    """When the client goes away, the making of the file ends."""
    endless = Endless(patience=60)
    async with endless.served() as url:
        async with session.get(url) as response:
            await response.content.readexactly(10)
            response.close()
        assert "Connection" in await asyncio.wait_for(endless.ended, 30)


class Late(Endless):
    """A server that begins to answer when the connection is gone."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Try."""
        stream = Stream(request, {})
        self.kept = weakref.ref(stream)
        stream.cut()
        try:
            async with stream:
                await stream.send(b"x")
        except ConnectionError as error:  # as the gateway: it answers, though nobody reads it
            self.ended.set_result(type(error).__name__)
        return web.Response(status=400)


async def test_who_is_gone_before_it_begins_is_forgotten(session: aiohttp.ClientSession) -> None:
    """Of a request whose client went away before the headers nothing is kept."""
    late = Late(patience=60)
    async with late.served() as url:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await session.post(url)  # which is not tried again, as a GET is
        assert "ClientConnectionResetError" == await asyncio.wait_for(late.ended, 30)
    gc.collect()
    assert late.kept() is None


async def test_a_stop_cuts_it(session: aiohttp.ClientSession) -> None:
    """A process that stops gives a long answer two seconds."""
    endless = Endless(patience=60)
    async with endless.served() as url, session.get(url) as response:
        await response.content.readexactly(10)
        endless.in_flight.stop()
        endless.in_flight.stop()
        await endless.in_flight.stopped()
        assert "Connection" in await asyncio.wait_for(endless.ended, 10)
        with pytest.raises(aiohttp.ClientError):
            await response.read()
