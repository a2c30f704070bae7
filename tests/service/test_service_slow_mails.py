"""A mail server that looks into a mail for longer than other providers may take to answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from channels.providers.smtp import Smtp
from channels.smtp_pool import CONNECTIONS, Connections, SmtpLimits
from gateway.registry import PROVIDERS
from tests.service.wires import connect, row_of, send, step
from tests.smtp.values import Server

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

PLACES = (
    "SELECT refusals, run_at > now() + interval '5 s' FROM gateway.queue WHERE lease_id IS NULL"
)
LEFT = """SELECT extract(epoch FROM lease_until - now()) FROM gateway.queue
    WHERE begun_at IS NOT NULL"""


class Scanning(Server):
    """A server that says what became of a mail when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.has_it, self.done = asyncio.Event(), asyncio.Event()

    async def _say(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        if verb == "content":
            self.has_it.set()
            await self.done.wait()
        return await super()._say(writer, verb, usual)


async def test_a_server_that_takes_its_time(gateway: Gateway, ask: Ask, api: Api) -> None:
    """It is waited for, and meanwhile the mail is no other worker's."""
    server = Scanning()
    async with server:
        port = str(server.port)
        await connect(gateway, "smtp", Channel.EMAIL, port=port, username="", password="")
        sent = await send(ask, "email", "ada@customer.example", subject="Hi", body="Hello")
        sending = asyncio.create_task(step(api.worker(gateway, longest_send=0, lease=5)))
        await asyncio.wait_for(server.has_it.wait(), 20)
        async with gateway.database.as_service() as db:
            assert await db.fetchval(LEFT) > 700
        assert 0 == await step(api.worker(gateway))
        server.done.set()
        await sending
    assert "sent" == (await row_of(ask, sent))["status"]
    assert 1 == len(server.mails)


async def test_who_finds_all_connections_busy(
    gateway: Gateway, ask: Ask, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mail that found no connection waits for its turn, however often: nobody has refused it."""
    half = Smtp(connections=Connections(limits=replace(SmtpLimits(), connect=1.5)))
    row = replace(PROVIDERS["smtp"], send=half)
    monkeypatch.setitem(PROVIDERS, "smtp", row)
    server = Scanning()
    async with server:
        port = str(server.port)
        await connect(gateway, "smtp", Channel.EMAIL, port=port, username="", password="")
        for n in range(CONNECTIONS + 1):
            await send(ask, "email", f"p{n}@customer.example", subject="Hi", body="Hello")
        worker = api.worker(gateway)
        sending = [asyncio.create_task(worker.work(turn)) for turn in await worker.claim(100)]
        _, [one] = await first_ended(sending)
        await one
        async with gateway.database.as_service() as db:
            assert [(0, True)] == [tuple(place) for place in await db.fetch(PLACES)]
            await db.execute("UPDATE gateway.queue SET attempts = 40, run_at = now()")
        server.done.set()
        await asyncio.gather(*sending)
        await step(worker)
        await half.close()
    rows = (await ask("GET", "/v1/messages")).body["data"]
    assert [("sent", None)] * (CONNECTIONS + 1) == [
        (each["status"], each["error_code"]) for each in rows
    ]


async def first_ended(tasks: list[asyncio.Task[None]]) -> tuple[set[Any], set[Any]]:
    """Those that go on, and the first one that ended."""
    ended, others = await asyncio.wait(tasks, timeout=20, return_when=asyncio.FIRST_COMPLETED)
    return others, ended
