"""What a send may take at most."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
import time_machine
from aiohttp import web

from channels.model import Channel
from gateway.ids import new_id
from gateway.store import queue
from tests.service.wires import connect, row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


STOP = """
INSERT INTO gateway.suppressions (organization_id, id, channel, address, reason, source)
SELECT organization_id, gen_random_uuid(), channel, to_address, 'stop', 'api' FROM messages
"""
WAITS = "SELECT phase = 'send' AND lease_id IS NULL FROM gateway.queue"


def postmark(request: web.Request) -> web.Response:
    """Take every mail, and know of none."""
    if request.method == "GET":
        return web.json_response({"Messages": []})
    return web.json_response({"MessageID": "pm-1", "ErrorCode": 0})


async def test_a_send_that_does_not_begin(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail that waits here, as for threads that a file system holds up, for longer than a send
    may take, has surely not left: it is tried again, and leaves once, also when the first wait ends
    then."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    sent = await send(ask, "email", "ada@customer.example", subject="Hi", body="Hello")
    freed = threading.Event()
    threads = ThreadPoolExecutor(1)
    asyncio.get_running_loop().set_default_executor(threads)
    threads.submit(freed.wait, 60)
    assert 1 == await step(api.worker(gateway, longest_send=0.2))
    assert ("sending", []) == ((await row_of(ask, sent))["status"], api.asked)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now()")
    (again,) = await api.worker(gateway).claim(1)
    freed.set()
    await api.worker(gateway).work(again)

    assert ["POST"] == [request.method for request, _ in api.asked if request.method == "POST"]
    assert "sent" == (await row_of(ask, sent))["status"]


async def test_a_message_that_is_over_by_the_time_it_would_leave(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """What waits here beyond its `expires_at`, for its turn or its files, does not leave."""
    api.says(201, {"sid": "SM" + "1" * 32})
    soon = datetime.now(UTC) + timedelta(seconds=1.5)
    sent = await send(ask, "sms", "+447700900123", body="Hi", expires_at=soon.isoformat())
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await asyncio.sleep(1.6)
    await worker.work(turn)

    row = await row_of(ask, sent)
    assert (("failed", "expired"), []) == ((row["status"], row["error_code"]), api.asked)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (STOP, "suppressed"),
        ("UPDATE gateway.provider_accounts SET is_active = false", "no_sender"),
        ("UPDATE gateway.senders SET is_active = false", "no_sender"),
        ("DELETE FROM gateway.senders", "no_sender"),
    ],
)
async def test_what_was_said_while_a_message_waited(
    gateway: Gateway, ask: Ask, api: Api, change: str, code: str
) -> None:
    """An opt-out, or an account turned off, that comes while a message waits here holds for it."""
    api.says(201, {"sid": "SM" + "1" * 32})
    sent = await send(ask, "sms", "+447700900123", body="Hi")
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    async with gateway.database.as_service() as db:
        await db.execute(change)
    await asyncio.sleep(1.1)
    await worker.work(turn)

    row = await row_of(ask, sent)
    assert (("failed", code), []) == ((row["status"], row["error_code"]), api.asked)


async def test_a_message_may_wait_at_twilio_as_long_as_it_is_wanted(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """Twilio drops an SMS whose `expires_at` passes in its queue; one without is not told so."""
    api.says(201, {"sid": "SM" + "1" * 32})
    soon = datetime.now(UTC) + timedelta(minutes=10)
    for more in ({}, {"expires_at": soon.isoformat()}):
        await send(ask, "sms", "+447700900123", body="Hi", **more)
        await step(api.worker(gateway))
        api.says(201, {"sid": "SM" + "2" * 32})
    (_, without), (_, until) = api.asked
    assert "ValidityPeriod" not in parse_qs(without.decode())
    assert 570 <= int(parse_qs(until.decode())["ValidityPeriod"][0]) <= 600


async def test_a_message_that_another_program_lets_be_valid_for_ever(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """`infinity` is a time that PostgreSQL holds: it keeps nobody's messages from being sent."""
    api.says(201, {"sid": "SM" + "1" * 32})
    sent = await send(ask, "sms", "+447700900123", body="Hi")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET expires_at = 'infinity'")
    await step(api.worker(gateway))
    assert "sent" == (await row_of(ask, sent))["status"]
    assert ["36000"] == parse_qs(api.asked[0][1].decode())["ValidityPeriod"]


async def test_a_machine_that_was_suspended(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What was claimed before the machine slept does not leave when it wakes up: its lease is over,
    and another worker may have sent it. By the loop's clock no time has gone by."""
    sent = await send(ask, "sms", "+447700900123", body="Hi")
    worker = api.worker(gateway)
    with time_machine.travel(datetime.now(UTC), tick=True) as travel:
        (turn,) = await worker.claim(1)
        travel.shift(3600)
        await worker.work(turn)
    assert (0, "sending") == (len(api.asked), (await row_of(ask, sent))["status"])
    async with gateway.database.as_service() as db:
        assert await db.fetchval(WAITS)


async def test_a_large_mail_has_more_time(gateway: Gateway, ask: Ask, api: Api) -> None:
    """It is not cut off when a small message would be."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    sent = await send(ask, "email", "ada@customer.example", subject="Hi", body="Hello " * 100_000)
    await step(api.worker(gateway, longest_send=0))
    assert "sent" == (await row_of(ask, sent))["status"]


async def test_whether_a_large_mail_was_taken(gateway: Gateway, ask: Ask, api: Api) -> None:
    """As long as a request with its files may still be on its way, nobody is sure that the provider
    does not have the mail."""
    await connect(gateway, "postmark", Channel.EMAIL)
    api.answers = postmark
    files = [{"url": "https://files.example/large.pdf"}]
    await send(ask, "email", "ada@customer.example", subject="Hi", body="Hi", attachments=files)
    worker = api.worker(gateway)
    await worker.claim(1)
    async with gateway.database.as_service() as db:
        await queue.end_dead_leases(db, new_id())
    await step(api.worker(gateway))  # whoever had it is gone, its answer is lost
    for minutes, phase in ((1, "ask"), (10, "send")):
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE gateway.queue SET run_at = now(), attempted_at = now() - $1::interval,"
                " open_for = extract(epoch FROM $1::interval)",
                timedelta(minutes=minutes),
            )
        await step(worker)
        async with gateway.database.as_service() as db:
            assert phase == await db.fetchval("SELECT phase FROM gateway.queue")
