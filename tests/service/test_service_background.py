"""What a web process does beside its requests goes on whatever it meets, and says what it met."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import asyncpg
from aiohttp.test_utils import TestClient, TestServer

from gateway.app import build_app
from gateway.web.background import background
from gateway.web.services import SERVICES

if TYPE_CHECKING:
    import pytest

    from gateway.accept.nudge import Nudge
    from gateway.store.database import Database
    from tests.service.conftest import Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
FAILED = "work beside the requests failed, it begins anew"


async def test_workers_are_woken_after_a_defect(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    """A defect that waking the workers meets is logged, and the next message wakes them again."""
    woken = asyncio.Event()
    hearing = await asyncpg.connect(str(gateway.settings.database_url))
    await hearing.add_listener("gateway_queue", lambda *_: woken.set())
    async with TestClient(TestServer(build_app(gateway.settings))) as client:
        assert client.app is not None
        nudge = cast("Nudge", client.app[SERVICES].accepting._nudge)
        good, nudge._database = nudge._database, cast("Database", None)
        headers = {"Authorization": f"Bearer {gateway.a.key}"}
        assert 202 == (await client.post("/v1/messages", json=SMS, headers=headers)).status
        said = ""
        async with asyncio.timeout(10):
            while FAILED not in said:
                await asyncio.sleep(0.05)
                said += capsys.readouterr().out
        assert not woken.is_set()

        nudge._database = good
        assert 202 == (await client.post("/v1/messages", json=SMS, headers=headers)).status
        async with asyncio.timeout(10):
            await woken.wait()
    await hearing.close()
    said += capsys.readouterr().out
    [line] = [line for line in said.splitlines() if FAILED in line]
    assert "work=nudge" in line


async def test_each_goes_on_alone_until_the_end() -> None:
    """What one work meets neither ends another nor the block, and all have ended after it."""
    steps: list[str] = []

    async def lasting() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            steps.append("lasting ended")

    async def failing() -> None:
        steps.append("failing began")
        raise ExceptionGroup("several", [ValueError("what nobody expected")])

    async with background(lasting=lasting, failing=failing):
        await asyncio.sleep(1.5)
    assert ["failing began", "failing began", "lasting ended"] == steps


async def test_what_returns_is_done() -> None:
    """A work that comes to its end is not begun anew."""
    times = 0

    async def once() -> None:
        nonlocal times
        times += 1

    async with background(once=once):
        await asyncio.sleep(1.2)
    assert 1 == times
