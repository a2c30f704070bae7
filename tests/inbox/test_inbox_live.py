"""What an open page hears: which message of which conversation, of its own organization alone."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from tests.inbox.conftest import Browser, Inbox
from tests.inbox.talking import ANN, MEMBER, send, stored
from tests.service.conftest import Ask

OWNER_B = "owner@beta.example.com"


class Stream:
    """What a page reads of its stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.last_id = ""
        self.retry = 0

    async def next(self, seconds: float = 10) -> Any:
        """What the next event tells; raises `EOFError` at the end."""
        told = None
        async with asyncio.timeout(seconds):
            async for raw in self.response.content:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self.last_id = value
                elif name == "data":
                    told = json.loads(value)
                elif not name and told is not None:
                    return told
        raise EOFError

    async def rest(self) -> list[Any]:
        """What is told until the end."""
        told: list[Any] = []
        with suppress(EOFError):
            while True:
                told.append(await self.next())
        return told


@asynccontextmanager
async def listening(browser: Browser, after: str = "", query: str = "") -> AsyncIterator[Stream]:
    """A stream that is open."""
    headers = {
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
        **({"Last-Event-ID": after} if after else {}),
    }
    timeout = aiohttp.ClientTimeout(total=None)
    async with browser.http.get(
        f"/inbox/live{query}", headers=headers, timeout=timeout
    ) as response:
        assert (200, "text/event-stream") == (response.status, response.content_type)
        stream = Stream(response)
        while not stream.last_id:
            line = (await response.content.readline()).decode().rstrip("\n")
            if line.startswith("id: "):
                stream.last_id = line[4:]
            elif line.startswith("retry: "):
                stream.retry = int(line[7:])
        yield stream


async def test_an_event_names_what_changed(inbox: Inbox, ask: Ask) -> None:
    """The message, its conversation, and how many are unread; nothing that was said."""
    row = await stored(inbox)
    await inbox.change("UPDATE gateway.conversations SET unread_count = 2")
    browser = await inbox.signed_in(MEMBER)
    async with listening(browser) as stream:
        sent = await send(ask, body="a secret")
        told = await stream.next()
        while not told["type"].startswith("message."):
            told = await stream.next()
        assert {
            "type": told["type"],
            "unread": 1,
            "message": sent["id"],
            "conversation": str(row["conversation_id"]),
        } == told

        await browser.post(f"/c/{row['conversation_id']}/read", {"do": "read"})
        while told["type"] != "conversation.updated":
            told = await stream.next()
        assert (None, str(row["conversation_id"])) == (told["message"], told["conversation"])
        while told["unread"] is None:
            told = await stream.next()
        assert 0 == told["unread"]


async def test_a_merge_names_both(inbox: Inbox, ask: Ask) -> None:
    """A page of a conversation that is merged into another hears of which it is part now, also
    where it comes back later."""
    gone, kept = [(await send(ask, to))["conversation_id"] for to in (ANN, "+447700900124")]
    browser = await inbox.signed_in()

    async def heard(stream: Stream) -> dict[str, str]:
        told = await stream.next()
        while "was" not in told:
            told = await stream.next()
        return {"was": told["was"], "conversation": told["conversation"]}

    async with listening(browser) as stream:
        place = stream.last_id
        assert 303 == (await browser.post(f"/c/{kept}/merge", {"other": gone})).status
        assert {"was": gone, "conversation": kept} == await heard(stream)
    async with listening(browser, place) as stream:
        assert {"was": gone, "conversation": kept} == await heard(stream)


async def test_what_is_unread_is_counted_once_a_second(inbox: Inbox, ask: Ask) -> None:
    """However fast events come, few bring the count; the last one comes, behind them by itself."""
    await stored(inbox)
    await inbox.change("UPDATE gateway.conversations SET unread_count = 1")
    browser = await inbox.signed_in(MEMBER)
    async with listening(browser) as stream:
        began = time.monotonic()
        told: list[Any] = []
        for n in range(12):
            sent = await send(ask, body=f"number {n}")
            while not told or told[-1]["message"] != sent["id"]:
                told.append(await stream.next())
        took = time.monotonic() - began
        counts = [each["unread"] for each in told if each["unread"] is not None]
        assert 1 == told[0]["unread"]
        assert len(counts) <= 1 + took

        await inbox.change("UPDATE gateway.conversations SET unread_count = 0")
        sent = await send(ask, body="the last")
        told = [await stream.next(3)]
        # What the events before it have still to say may come first.
        while told[-1]["unread"] != 0 or sent["id"] not in {each["message"] for each in told}:
            told.append(await stream.next(3))
    alone = {"type": "unread", "unread": 0, "message": None, "conversation": None}
    assert told[-1] == alone or sent["id"] == told[-1]["message"]  # where the machine is slow


async def test_each_organization_hears_its_own(inbox: Inbox, ask: Ask) -> None:
    """What A sends is told to A, and what B sends to B, though both listen."""
    theirs = await inbox.signed_in(OWNER_B)
    async with listening(await inbox.signed_in()) as a, listening(theirs) as b:
        of_a = await send(ask)
        answer = await ask(
            "POST",
            "/v1/messages",
            {"channel": "sms", "to": ANN, "body": "Hello"},
            key=inbox.gateway.b.key,
        )
        for stream, row in ((a, of_a), (b, answer.body)):
            told = [await stream.next()]
            while told[-1]["message"] is None:
                told.append(await stream.next())
            assert row["id"] == told[-1]["message"]
            assert {row["conversation_id"]} == {each["conversation"] for each in told}


async def test_a_stream_goes_on_where_it_was(inbox: Inbox, ask: Ask) -> None:
    """What happened meanwhile is told first; a place that no stream gave is from now on."""
    browser = await inbox.signed_in()
    async with listening(browser) as stream:
        place = stream.last_id
    missed = await send(ask, body="missed")
    async with listening(browser, place) as stream:
        told = await stream.next()
        while told["message"] is None:
            told = await stream.next()
        assert missed["id"] == told["message"]
    for nonsense in ("nonsense", "1/0:0:", "9" * 5000):
        async with listening(browser, nonsense) as stream:
            later = await send(ask, "+447700900124", body="later")
            told = await stream.next()
            while told["message"] is None:
                told = await stream.next()
            assert later["id"] == told["message"]


async def test_a_look_ends(inbox: Inbox, ask: Ask) -> None:
    """A page that leaves its connection to others is told what it missed, then the answer ends; it
    comes again from the place where that ended."""
    browser = await inbox.signed_in()
    async with listening(browser, query="?look=1") as stream:
        assert [] == await stream.rest()
    sent = [(await send(ask, body=f"{n}"))["id"] for n in range(3)]
    async with listening(browser, stream.last_id, "?look=1") as stream:
        told = await stream.rest()
        assert 4000 <= stream.retry <= 6000
    assert sent == [each["message"] for each in told if each["type"] == "message.accepted"]
    async with listening(browser, stream.last_id, "?look=1") as stream:
        assert [] == await stream.rest()


LONG = """
WITH said AS (
  INSERT INTO messages (organization_id, channel, direction, from_address, to_address, body,
    html_body)
  SELECT organization_id, 'email', 'outbound', 'a@b.example', 'c@d.example',
    repeat('text ', 4000), repeat('<p>html</p>', 9000)
  FROM messages, generate_series(1, 100) WHERE id = $1 RETURNING organization_id, id
)
INSERT INTO gateway.message_events
  (organization_id, message_id, id, type, status, occurred_at, source)
SELECT organization_id, id, id, 'accepted', 'pending', now(), 'api' FROM said
"""


@pytest.mark.no_cover  # it measures time
async def test_a_herd_comes_back(inbox: Inbox, ask: Ask) -> None:
    """Two hundred pages that were cut together are all told what they missed, a hundred long mails,
    while who listens already hears what is new; next time they come at times of their own."""
    browser = await inbox.signed_in()
    async with listening(browser) as stream:
        place = stream.last_id
    row = await stored(inbox)
    await inbox.change(LONG, row["id"])

    async def again() -> tuple[int, int]:
        told: set[str] = set()
        async with listening(browser, place) as stream:
            while len(told) < 100:
                event = await stream.next(60)
                told |= {event["message"]} if event["type"] == "message.accepted" else set()
            return stream.retry, len(told)

    async with listening(browser) as stream:
        herd = asyncio.gather(*(again() for _ in range(200)))
        await asyncio.sleep(0.3)
        sent, began = await send(ask), time.monotonic()
        while (await stream.next())["message"] != sent["id"]:
            pass
        heard_after = time.monotonic() - began
    retries = {retry for retry, _ in await herd}

    assert heard_after < 5
    assert len(retries) > 50
    assert 1000 <= min(retries) <= max(retries) <= 6000


ENDS = pytest.mark.parametrize(
    "end",
    [
        "DELETE FROM gateway.staff_sessions",
        "UPDATE auth_users SET is_active = false",
    ],
)


@ENDS
async def test_it_ends_with_the_session(inbox: Inbox, ask: Ask, end: str) -> None:
    """Who is signed out or dismissed hears of nothing more, however much happens."""
    browser = await inbox.signed_in(MEMBER)
    async with listening(browser) as stream:
        await inbox.change(end)
        await send(ask)
        with pytest.raises(EOFError):
            await stream.next()
    shown = await browser.get("/live")
    assert (303, True) == (shown.status, "/inbox/sign-in" in shown.location)


@ENDS
async def test_it_ends_within_seconds(inbox: Inbox, ask: Ask, end: str) -> None:
    """Where the session was looked at just before it ended, its stream ends within seconds, also
    where nothing more happens."""
    browser = await inbox.signed_in(MEMBER)
    async with listening(browser) as stream:
        await send(ask, body="looked at with this one")
        await stream.next()
        await inbox.change(end)
        began = time.monotonic()
        await send(ask, body="perhaps told")
        assert len(await stream.rest()) <= 2
        assert time.monotonic() - began < 6


async def test_an_open_page_uses_no_session(inbox: Inbox, ask: Ask) -> None:
    """Neither the stream nor what a page asks because of it puts off the end of a session that
    nobody uses; what somebody asks does."""
    seen = "SELECT extract(epoch FROM now() - last_seen_at)::integer FROM gateway.staff_sessions"
    browser = await inbox.signed_in(MEMBER)
    await inbox.change(
        "UPDATE gateway.staff_sessions SET last_seen_at = now() - interval '2 hours'"
    )
    async with listening(browser) as stream:
        sent = await send(ask)
        await stream.next()
        for path in (f"/m/{sent['id']}", ""):
            shown = await browser.get(path, HX_Request="true", X_By_Itself="1")
            assert 200 == shown.status
        assert await inbox.value(seen) >= 7200

        await browser.get(f"/c/{sent['conversation_id']}")
        assert await inbox.value(seen) < 60


async def test_a_look_at_its_head_ends(inbox: Inbox) -> None:
    """Whoever asks for the head alone gets that, and no stream behind it."""
    browser = await inbox.signed_in(MEMBER)
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with (
        asyncio.timeout(10),
        browser.http.head("/inbox/live", headers={"Cookie": cookies}) as response,
    ):
        assert (200, "text/event-stream") == (response.status, response.content_type)
        assert b"" == await response.read()
    assert 200 == (await browser.get("")).status
