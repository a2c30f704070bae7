"""A mail server that looks into a mail for longer than other providers may take to answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from channels.model import Channel
from tests.service.wires import connect, row_of, send, step
from tests.smtp.values import Server

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

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
