"""A mail server has as long as it needs: to greet, and to look into a mail before it takes it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest

from channels.errors import AnswerLost, Refused, RefusedForNow
from channels.names import OwnThreads
from channels.providers.smtp import MORE_SECONDS, Smtp
from channels.smtp_pool import Connections, SmtpLimits
from gateway.dispatch.pace import Pace
from tests.smtp.values import Server, account, outbound

QUICK = SmtpLimits(connect=1, greeting=20, command=20, begin=20, content=1, answer=20)


@dataclass
class Slow(Server):
    """A mail server that takes its time before one of its answers."""

    slow_at: str = "content"
    seconds: float = 1.25

    async def _say(self, writer: asyncio.StreamWriter, verb: str, usual: str) -> bool:
        await asyncio.sleep(self.seconds if verb == self.slow_at else 0)
        return await super()._say(writer, verb, usual)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A session, as every send half is given one."""
    async with aiohttp.ClientSession() as one:
        yield one


@pytest.mark.parametrize("slow_at", ["greeting", "EHLO", "RCPT", "DATA", "content"])
async def test_a_slow_answer(session: aiohttp.ClientSession, slow_at: str) -> None:
    """What comes late is heard, each phase having its own time."""
    half = Smtp(connections=Connections(limits=QUICK))
    async with Slow(slow_at=slow_at) as server:
        sent = await half.send(account(server.port), outbound(), session, "")
        await half.close()
    assert {"reply": "2.0.0 queued as ABC"} == sent.detail


async def test_what_is_over_before_it_leaves(session: aiohttp.ClientSession) -> None:
    """A mail whose time passes while the server takes its own does not leave any more."""
    half = Smtp(connections=Connections(limits=QUICK))
    async with Slow(slow_at="RCPT", seconds=2) as server:
        with pytest.raises(RefusedForNow):
            await half.send(account(server.port), replace(outbound(), valid_for=0.5), session, "")
        await half.close()
    assert [] == server.mails


async def test_a_slow_refusal(session: aiohttp.ClientSession) -> None:
    """A server that has looked into a mail for long and does not want it has refused it."""
    half = Smtp(connections=Connections(limits=QUICK))
    async with Slow(answers={"content": "550 5.7.1 a virus"}) as server:
        with pytest.raises(Refused) as caught:
            await half.send(account(server.port), outbound(), session, "")
        await half.close()
    assert "5.7.1" == caught.value.code


@pytest.mark.parametrize(
    ("slow_at", "short", "kind"),
    [
        ("greeting", {"greeting": 0.2}, RefusedForNow),
        ("RCPT", {"command": 0.2}, RefusedForNow),
        ("RCPT", {"begin": 0.2}, RefusedForNow),
        ("content", {"answer": 0.2}, AnswerLost),
    ],
)
async def test_too_slow(
    session: aiohttp.ClientSession, slow_at: str, short: dict[str, float], kind: type[Exception]
) -> None:
    """Nothing waits without end; before the content nothing was sent, after it nobody knows."""
    given = {"connect": 20, "greeting": 20, "command": 20, "begin": 20, "content": 20, "answer": 20}
    half = Smtp(connections=Connections(limits=SmtpLimits(**given | short)))
    async with Slow(slow_at=slow_at, seconds=5) as server:
        with pytest.raises(kind):
            await half.send(account(server.port), outbound(), session, "")
        await half.close()


@pytest.mark.parametrize(
    "answers",
    [
        {"RCPT": "251 it is passed on"},
        {"RCPT": "252 cannot say, will try"},
        {"MAIL": "251 well"},
        {"content": "251 it is passed on"},
    ],
)
async def test_every_yes(session: aiohttp.ClientSession, answers: dict[str, str | None]) -> None:
    """Any answer that begins with 2 is a yes."""
    half = Smtp(connections=Connections(limits=SmtpLimits(connect=20)))
    async with Server(answers=answers) as server:
        await half.send(account(server.port), outbound(), session, "")
        await half.close()
    assert 1 == len(server.mails)


@pytest.mark.parametrize(
    ("credentials", "port"),
    [
        ({}, 587),
        ({"tls": "starttls"}, 587),
        ({"tls": "none"}, 587),
        ({"tls": "tls"}, 465),
        ({"tls": "tls", "port": "8465"}, 8465),
    ],
)
async def test_ports(credentials: dict[str, str], port: int) -> None:
    """Without a port, the one of the encryption."""
    asked: list[int] = []

    class Names(OwnThreads):
        async def addresses(self, _: str, port: int, *__: Any) -> Any:
            asked.append(port)
            return []

    connections = Connections()
    connections.names[asyncio.get_running_loop()] = Names(1)
    held = replace(account(0), credentials={"host": "mail.example"} | credentials)
    with pytest.raises(RefusedForNow):
        async with connections.connection(held):
            pass
    await connections.close()
    assert [port] == asked


async def test_a_silent_connection_is_kept_open() -> None:
    """While a server looks into a mail, a connection says now and then that it is there."""
    connections = Connections(limits=SmtpLimits(connect=20))
    async with Server() as server:
        async with connections.connection(account(server.port)) as client:
            assert client.transport is not None
            held = client.transport.get_extra_info("socket")
            assert held.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert 30 == held.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        await connections.close()


def test_leases_outlast_it() -> None:
    """A worker waits longer than a mail may take, and holds its lease longer than it waits."""
    pace, limits = Pace(), SmtpLimits()
    assert limits.answer >= 600  # https://www.rfc-editor.org/rfc/rfc5321#section-4.5.3.2.6
    assert limits.total < pace.longest_send + MORE_SECONDS
    assert pace.latest_start + pace.longest_send < pace.lease
