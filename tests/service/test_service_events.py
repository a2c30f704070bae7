"""GET /v1/events: what happens, each once and in order, wherever and whenever it is read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import asyncpg
import jwt
import pytest
from aiohttp.test_utils import TestServer

from gateway.app import build_app
from gateway.live import hub
from gateway.store import reports
from gateway.store.reports import Event, event_id
from gateway.web.services import SERVICES
from tests.service.conftest import token
from tests.service.receiving import report

if TYPE_CHECKING:
    from gateway.live.hub import Live
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One event as it came."""

    id: str
    event: str
    data: Any


@asynccontextmanager
async def another(gateway: Gateway) -> AsyncIterator[tuple[str, Live]]:
    """Another web process on the same database: its address, and its streams."""
    async with TestServer(build_app(gateway.settings)) as server:
        services = server.app[SERVICES]  # type: ignore[attr-defined]
        yield str(server.make_url("")).rstrip("/"), services.live


class Reader:
    """Reads a stream as a browser does."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last_id = ""
        self.comments: list[str] = []

    async def next(self, seconds: float = 30) -> Sent:
        """The next event; what has an id alone is none."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(seconds):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\n")
                name, _, value = line.partition(": ")
                if line.startswith(":"):
                    self.comments.append(value)
                elif line:
                    fields[name] = value
                else:
                    self.last_id = fields.get("id", self.last_id)
                    if "data" in fields:
                        return Sent(
                            id=self.last_id,
                            event=fields["event"],
                            data=json.loads(fields["data"]),
                        )
                    fields = {}
        raise EOFError

    async def some(self, count: int) -> list[Sent]:
        """So many events."""
        return [await self.next() for _ in range(count)]

    async def nothing(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes."""
        try:
            await self.next(seconds)
        except TimeoutError:
            return True
        return False


@asynccontextmanager
async def reading(
    gateway: Gateway, key: str | None = None, after: str | None = None, url: str = ""
) -> AsyncIterator[Reader]:
    """A stream that is open, by tenant A's key unless another is named."""
    headers = {"Authorization": f"Bearer {key or gateway.a.key}"}
    if after is not None:
        headers["Last-Event-ID"] = after
    timeout = aiohttp.ClientTimeout(total=None)
    async with gateway.http.get(f"{url}/v1/events", headers=headers, timeout=timeout) as response:
        assert 200 == response.status, await response.text()
        reader = Reader(response)
        while not reader.last_id:  # the first block: the place
            line = (await response.content.readline()).decode()
            if line.startswith("id: "):
                reader.last_id = line[4:].strip()
        await response.content.readline()
        yield reader


async def send(ask: Ask, body: str = "Hello", **more: Any) -> str:
    """The id of a message that was accepted."""
    sent = await ask("POST", "/v1/messages", {**SMS, "body": body}, **more)
    return str(sent.body["id"])


async def test_a_life_of_a_message(gateway: Gateway, ask: Ask) -> None:
    """Each thing that happens is an event with the message as it is now, for keys and staff."""
    async with reading(gateway) as key, reading(gateway, gateway.a.member) as staff:
        assert "text/event-stream" == key.response.content_type
        assert "no-store" == key.response.headers["Cache-Control"]
        sent = await send(ask)
        await report(gateway, sent, "sent")
        await report(gateway, sent, "delivered")
        await report(gateway, sent, None, "Link clicked!")
        events = await key.some(4)
        assert events == await staff.some(4)
        assert [
            "message.accepted",
            "message.sent",
            "message.delivered",
            "message.link_clicked_",
        ] == [each.event for each in events]
        assert [each.event for each in events] == [each.data["type"] for each in events]
        message = (await ask("GET", f"/v1/messages/{sent}")).body
        assert message == events[-1].data["data"]
        happened = (await ask("GET", f"/v1/messages/{sent}/events")).body["data"]
        assert [each["occurred_at"] for each in reversed(happened)] == [
            each.data["timestamp"] for each in events
        ]


async def test_organizations_are_apart(gateway: Gateway, ask: Ask) -> None:
    """Nobody hears of another organization's messages."""
    async with reading(gateway) as a, reading(gateway, gateway.b.key) as b:
        of_a = await send(ask)
        of_b = await send(ask, key=gateway.b.key)
        assert of_a == (await a.next()).data["data"]["id"]
        assert of_b == (await b.next()).data["data"]["id"]
        assert await a.nothing()
        assert await b.nothing(0.1)


async def test_resumed_without_gaps_or_doubles(gateway: Gateway, ask: Ask) -> None:
    """From every id that a stream gave, the rest follows: also after an id alone, in the middle of
    what was stored together, and at another process."""
    async with another(gateway) as (other, _), reading(gateway) as reader:
        before = reader.last_id
        messages = [{**SMS, "body": f"number {n}"} for n in range(150)]
        await ask("POST", "/v1/messages/batch", {"messages": messages})
        await send(ask, "alone")
        events = await reader.some(151)
        wanted = [each.data["data"]["id"] for each in events]
        assert 151 == len(set(wanted))
        places = [before, *(each.id for each in events)]
        for n in (0, 1, 2, 99, 100, 101, 149, 150):
            for url in ("", other):
                async with reading(gateway, after=places[n], url=url) as again:
                    assert wanted[n:] == [
                        each.data["data"]["id"] for each in await again.some(151 - n)
                    ], n
        async with reading(gateway, after=places[151]) as again:
            assert await again.nothing()
        later = await send(ask, "later")
        async with reading(gateway, after=places[151]) as again:
            assert later == (await again.next()).data["data"]["id"]
            assert await again.nothing()


async def test_what_commits_late_is_not_skipped(gateway: Gateway, ask: Ask) -> None:
    """An event whose transaction began first and ended last comes, once, to those who read on and
    to those who resume."""
    early = await send(ask, "early")
    async with reading(gateway) as reader:
        before = reader.last_id
        event = Event(
            organization_id=gateway.a.organization_id,
            message_id=UUID(early),
            id=event_id(UUID(early), "late"),
            type="sent",
            status="sent",
            source="test",
        )
        async with gateway.database.as_service() as db:
            await reports.record(db, [event])
            first, second = await send(ask, "first"), await send(ask, "second")
            seen = await reader.some(2)
            assert [first, second] == [each.data["data"]["id"] for each in seen]
        late = await reader.next()
        assert ("message.sent", early) == (late.event, late.data["data"]["id"])
        assert await reader.nothing()
    for after, count in ((before, 3), (seen[0].id, 2), (seen[1].id, 1), (late.id, 0)):
        async with reading(gateway, after=after) as again:
            found = {each.data["data"]["id"] for each in await again.some(count)}
            assert count == len(found)
            assert (early in found) == (count > 0)
            assert await again.nothing(0.1)


async def test_conversations_follow(gateway: Gateway, ask: Ask) -> None:
    """Closing, reading and assigning a conversation is told, too, and counting a message is not."""
    sent = await send(ask)
    conversation = (await ask("GET", f"/v1/messages/{sent}")).body["conversation_id"]
    async with reading(gateway) as reader:
        await ask("PATCH", f"/v1/conversations/{conversation}", {"status": "closed"})
        closed = await reader.next()
        assert ("conversation.updated", "closed") == (closed.event, closed.data["data"]["status"])
        shown = await ask("GET", f"/v1/conversations/{conversation}")
        assert shown.body == closed.data["data"]
        await ask("PATCH", f"/v1/conversations/{conversation}", {"read": False})
        assert 1 == (await reader.next()).data["data"]["unread_count"]
        await ask("PATCH", f"/v1/conversations/{conversation}", {"read": True, "status": "open"})
        assert "open" == (await reader.next()).data["data"]["status"]
        await ask("PATCH", f"/v1/conversations/{conversation}", {"read": True})
        await send(ask, "more")
        assert "message.accepted" == (await reader.next()).event
        assert await reader.nothing()
    async with reading(gateway, after=closed.id) as again:
        assert 2 == len([each for each in await again.some(3) if each.event != "message.accepted"])


async def ended(reader: Reader) -> str:
    """Why a stream ended."""
    with pytest.raises(EOFError):
        await reader.next()
    return reader.comments[-1]


async def test_who_may_read_no_more_is_cut(gateway: Gateway) -> None:
    """A revoked key and a dismissed member are cut at the next check, and where they connect again
    they are told; others read on."""
    async with (
        another(gateway) as (url, live),
        reading(gateway, url=url) as key,
        reading(gateway, gateway.a.member, url=url) as staff,
        reading(gateway, gateway.a.owner, url=url) as rest,
    ):
        await live.check()
        assert await rest.nothing(0.1)
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE gateway.api_keys SET revoked_at = now() WHERE NOT is_test")
            await db.execute("UPDATE auth_users SET is_active = false WHERE role = 'member'")
        await live.check()
        for reader in (key, staff):
            assert "its key is revoked, or its reader is no active staff" == await ended(reader)
        assert await rest.nothing(0.1)
    for used, status in ((gateway.a.key, 401), (gateway.a.member, 403), ("", 401)):
        assert status == (await gateway.ask("GET", "/v1/events", key=used)).status


async def test_who_may_read_no_more_is_cut_in_seconds(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process cuts a revoked key as soon as it hears of that, and whoever is dismissed within
    five seconds."""
    async with (
        another(gateway) as (url, _),
        reading(gateway, url=url) as key,
        reading(gateway, gateway.a.member, url=url) as staff,
    ):
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE auth_users SET is_active = false WHERE role = 'member'")
        async with asyncio.timeout(5):
            assert "its key is revoked, or its reader is no active staff" == await ended(staff)
        monkeypatch.setattr(hub, "_CHECK", 60.0)
        await asyncio.sleep(4)  # no look of its own is under way any more
        async with gateway.database.as_service() as db:
            await db.execute("UPDATE gateway.api_keys SET revoked_at = now()")
        async with asyncio.timeout(2):
            assert "its key is revoked, or its reader is no active staff" == await ended(key)


async def test_a_stream_ends_with_its_token(gateway: Gateway, ask: Ask) -> None:
    """A token that has expired reads no further, without a look at the database."""
    claims = jwt.decode(gateway.a.owner, options={"verify_signature": False})
    soon = token(claims["sub"], exp=int(time.time()) + 3)
    async with reading(gateway, soon) as reader:
        sent = await send(ask)
        assert sent == (await reader.next()).data["data"]["id"]
        async with asyncio.timeout(4):
            assert "its token has expired" == await ended(reader)


async def test_the_server_stops(gateway: Gateway) -> None:
    """A process that is about to stop ends its streams with a word and admits none."""
    async with another(gateway) as (url, live), reading(gateway, url=url) as reader:
        live.stop()
        assert "the server is about to stop" == await ended(reader)
        headers = {"Authorization": f"Bearer {gateway.a.key}"}
        async with gateway.http.get(f"{url}/v1/events", headers=headers) as response:
            refused = await response.json()
    assert (503, "5") == (response.status, response.headers["Retry-After"])
    assert "The server is about to stop: connect again." == refused["detail"]


async def test_an_id_that_no_stream_gave(ask: Ask) -> None:
    """What is no place is a 422 that names the header, wherever it is given."""
    expected = (422, {"Last-Event-ID": "is not an id of this stream"})
    for place in ("x", "1/2:1:", "1/1:3:2,2", "1/1:3:5", "1/0:0:", "9" * 5000):
        by_header = await ask("GET", "/v1/events", headers={"Last-Event-ID": place})
        by_query = await ask("GET", f"/v1/events?last_event_id={place}")

        assert expected == (by_header.status, by_header.fields()), place[:20]
        assert expected == (by_query.status, by_query.fields()), place[:20]


async def test_a_lost_connection_is_made_good(gateway: Gateway, ask: Ask) -> None:
    """While nobody hears of events the clock finds them, and the connection comes back."""
    async with reading(gateway) as reader:
        await send(ask)
        await reader.next()
        async with gateway.database.as_service() as db:
            await db.execute("RESET ROLE")
            await db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE '%pg_notify($1%'"
                " AND pid <> pg_backend_pid()"
            )
        for n in range(3):
            sent = await send(ask, f"number {n}")
            assert sent == (await reader.next()).data["data"]["id"]
            await asyncio.sleep(0.5)


async def test_a_database_that_is_away_for_a_moment(
    gateway: Gateway, ask: Ask, database: str, server_dsn: str
) -> None:
    """Streams stay open while the database is away and go on where they were."""
    name = urlsplit(database).path[1:]
    admin = await asyncpg.connect(server_dsn)
    try:
        async with reading(gateway) as reader:
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name
            )
            assert await reader.nothing(1.5)
            await admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
            sent = await send(ask)
            assert sent == (await reader.next()).data["data"]["id"]
    finally:
        await admin.close()
