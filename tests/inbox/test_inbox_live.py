"""What happens while somebody looks: each hears their own organization, from where they left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.inbox.conftest import Browser, Inbox
from tests.inbox.talk import Talk


@asynccontextmanager
async def listening(browser: Browser, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """An open stream of what happens."""
    cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    async with browser.http.get("/inbox/live", headers={"Cookie": cookies, **headers}) as response:
        assert 200 == response.status
        assert "text/event-stream" in response.headers["Content-Type"]
        yield response


async def event(response: aiohttp.ClientResponse) -> tuple[str, dict[str, Any]]:
    """The next event: its id and what it tells."""
    position = ""
    while True:
        line = (await asyncio.wait_for(response.content.readline(), 10)).decode()
        assert line, "the stream ended"
        name, _, value = line.rstrip("\n").partition(": ")
        if name == "id":
            position = value
        elif name == "data":
            return position, json.loads(value)


async def begun(response: aiohttp.ClientResponse) -> str:
    """Where the stream begins."""
    while True:
        line = (await asyncio.wait_for(response.content.readline(), 10)).decode()
        if line.startswith("id: "):
            return line.removeprefix("id: ").strip()


async def test_what_happens_is_told_once(inbox: Inbox) -> None:
    """A message that comes in is told with its conversation and what is unread now; after a
    break the stream goes on where it was left."""
    talk, browser = Talk(inbox), await inbox.signed_in("member@alpha.example.com")
    async with listening(browser) as stream:
        await begun(stream)
        message = await talk.hears("hello")
        position, told = await event(stream)
        while told["type"] != "message.received":
            position, told = await event(stream)
    assert (message, await talk.conversation(message), 1) == (
        told["message"], told["conversation"], told["unread"],
    )  # fmt: skip

    second = await talk.hears("are you there?")
    async with listening(browser, **{"Last-Event-ID": position}) as stream:
        _, told = await event(stream)
        while told["type"] != "message.received":
            _, told = await event(stream)
    assert second == told["message"]
    async with listening(browser, **{"Last-Event-ID": "no place"}) as stream:
        assert await begun(stream)


async def test_others_hear_nothing(inbox: Inbox) -> None:
    """B's stream tells what happens at B, and not a byte of A."""
    talk, browser = Talk(inbox), await inbox.signed_in("owner@beta.example.com")
    async with listening(browser) as stream:
        await begun(stream)
        await talk.hears("hidden-of-a")
        made = await inbox.gateway.ask(
            "POST",
            "/v1/messages",
            {"channel": "sms", "to": "+447700900125", "body": "of b"},
            key=inbox.gateway.b.key,
        )
        assert 202 == made.status
        _, told = await event(stream)
    assert made.body["id"] in (told["message"], None)
    mine = await inbox.value("SELECT conversation_id FROM messages WHERE body = 'of b'")
    assert str(mine) == told["conversation"]
