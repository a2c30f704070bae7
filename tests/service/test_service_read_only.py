"""A database that only reads for a while (its disk was full, or it is a standby by now), and one
that refuses what nobody expected: what is known is stored once it writes again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import pytest

from gateway.store.errors import RefusedError
from tests.service.wires import from_twilio, row_of, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
SID = "SM" + "3" * 32
WRITABLE = {"default_transaction_read_only": "off"}


async def set_read_only(gateway: Gateway, *, is_on: bool) -> None:
    """Let every new connection only read, and all there are be new ones; or let new ones write."""
    admin = await asyncpg.connect(str(gateway.settings.database_url), server_settings=WRITABLE)
    name = await admin.fetchval("SELECT current_database()")
    value = "on" if is_on else "off"
    await admin.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}')
    if is_on:
        await admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    await admin.close()


async def as_superuser(gateway: Gateway, statement: str) -> None:
    """One statement of the operator's."""
    admin = await asyncpg.connect(str(gateway.settings.database_url))
    await admin.execute(statement)
    await admin.close()


async def test_requests_and_webhooks_come_again(gateway: Gateway, ask: Ask) -> None:
    """Both get 503 meanwhile; afterwards no connection stays that cannot write."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    report = {"MessageSid": SID, "MessageStatus": "delivered"}
    query = f"?message_id={sent['id']}"
    await set_read_only(gateway, is_on=True)
    accepted = await ask("POST", "/v1/messages", SMS)
    reported = await from_twilio(gateway, "status", report, query=query)
    read = await row_of(ask, sent)

    assert (503, 503) == (accepted.status, reported.status)
    assert ("1", "pending") == (accepted.headers["Retry-After"], read["status"])
    await set_read_only(gateway, is_on=False)
    for _ in range(20):  # more than there are connections, each of which may be an old one
        if (reported := await from_twilio(gateway, "status", report, query=query)).status == 200:
            break
    accepted = await ask("POST", "/v1/messages", SMS)
    assert (202, 200) == (accepted.status, reported.status)
    assert "delivered" == (await row_of(ask, sent))["status"]


async def until_asked(api: Api) -> None:
    """Return when the provider has a message."""
    async with asyncio.timeout(20):
        while not api.asked:  # noqa: ASYNC110 - a server's list
            await asyncio.sleep(0.01)


async def test_an_outcome_waits_for_a_database_that_writes(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """What a provider took while the database only read is `sent` afterwards, and was sent once."""
    api.says(201, {"sid": SID})
    sent = await send(ask, **SMS)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(10)
    await set_read_only(gateway, is_on=True)
    working = asyncio.create_task(worker.work(turn))
    await until_asked(api)
    await asyncio.wait([working], timeout=0.5)
    assert (1, False) == (len(api.asked), working.done())

    await set_read_only(gateway, is_on=False)
    async with asyncio.timeout(20):
        await working
    row = await row_of(ask, sent)
    assert (1, "sent", SID) == (len(api.asked), row["status"], row["external_id"])


async def test_an_outcome_outlasts_what_nobody_expected(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """What cannot be stored for a reason that nobody knew is tried again, too: here a right that
    was taken away and given back."""
    api.says(201, {"sid": SID})
    sent = await send(ask, **SMS)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(10)
    await as_superuser(gateway, "REVOKE INSERT ON gateway.message_events FROM service_role")
    working = asyncio.create_task(worker.work(turn))
    await until_asked(api)
    await asyncio.wait([working], timeout=0.5)
    assert (1, False) == (len(api.asked), working.done())

    await as_superuser(gateway, "GRANT INSERT ON gateway.message_events TO service_role")
    async with asyncio.timeout(20):
        await working
    row = await row_of(ask, sent)
    assert (1, "sent", SID) == (len(api.asked), row["status"], row["external_id"])


async def test_a_defect_holds_no_place_for_ever(gateway: Gateway, ask: Ask, api: Api) -> None:
    """An outcome that cannot be stored ends after some tries; when its lease has ended, too, the
    provider is asked, as after a worker that died."""
    api.says(201, {"sid": SID})
    sent = await send(ask, **SMS)
    worker = api.worker(gateway, most_defects=2, lease=0.05)
    (turn,) = await worker.claim(10)
    await as_superuser(gateway, "REVOKE INSERT ON gateway.message_events FROM service_role")
    with pytest.raises(RefusedError):
        await worker.work(turn)
    await as_superuser(gateway, "GRANT INSERT ON gateway.message_events TO service_role")
    assert 1 == await step(worker)
    assert (1, "unknown") == (len(api.asked), (await row_of(ask, sent))["status"])
