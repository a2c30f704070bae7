"""POST /v1/messages/{id}/retry: one message in place of a failed one, however often one asks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.service import falling
from tests.service.falling import run
from tests.service.wires import step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}


async def retry_of_failed(gateway: Gateway, ask: Ask) -> str:
    """The path that sends a new message, which has failed, again."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    await become(gateway, sent["id"], "failed")
    return f"/v1/messages/{sent['id']}/retry"


async def become(gateway: Gateway, message_id: str, status: str) -> None:
    """Have a message with a status."""
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET status = $1 WHERE id = $2", status, message_id)


@pytest.mark.parametrize("keys", [[], ["one"], ["one", "two", "three"]])
async def test_retries_at_once(gateway: Gateway, ask: Ask, keys: list[str]) -> None:
    """However many send a failed message again at the same moment, with whatever keys, one message
    leaves."""
    path = await retry_of_failed(gateway, ask)
    headers: list[dict[str, str]] = [{}, {}, {}, *({"Idempotency-Key": key} for key in keys)]
    answers = await asyncio.gather(*(ask("POST", path, headers=each) for each in headers))

    assert [202] + [409] * (len(headers) - 1) == sorted(answer.status for answer in answers)
    assert 2 == await gateway.count("messages")


@pytest.mark.parametrize("status", ["failed", "canceled"])
async def test_retry_of_what_was_sent_again(gateway: Gateway, ask: Ask, status: str) -> None:
    """A message in whose place another one is on its way is not sent again: once that has failed,
    or was canceled, it is."""
    path = await retry_of_failed(gateway, ask)
    first = (await ask("POST", path)).body["id"]
    refused = await ask("POST", path)
    await become(gateway, first, status)
    second = await ask("POST", path)

    assert (409, True) == (refused.status, first in refused.body["detail"])
    assert (202, True) == (second.status, second.body["id"] != first)
    assert 409 == (await ask("POST", path)).status


async def test_retries_with_a_key(gateway: Gateway, ask: Ask) -> None:
    """The same retry with its key is answered as it was, also at once; another is 409."""
    path = await retry_of_failed(gateway, ask)
    key = {"Idempotency-Key": "again"}
    answers = await asyncio.gather(*(ask("POST", path, headers=key) for _ in range(4)))
    other = await ask("POST", path, headers={"Idempotency-Key": "other"})

    assert [202] * 4 == [answer.status for answer in answers]
    assert 1 == len({answer.body["id"] for answer in answers})
    assert (409, 2) == (other.status, await gateway.count("messages"))


async def test_retry_of_a_retry(gateway: Gateway, ask: Ask) -> None:
    """What has arrived after a second try stands in the place of the first message, too."""
    path = await retry_of_failed(gateway, ask)
    second = (await ask("POST", path)).body["id"]
    await become(gateway, second, "failed")
    third = (await ask("POST", f"/v1/messages/{second}/retry")).body["id"]
    await become(gateway, third, "delivered")

    for refused in (await ask("POST", path), await ask("POST", f"/v1/messages/{second}/retry")):
        assert (409, True) == (refused.status, third in refused.body["detail"])


@pytest.mark.parametrize(("priority", "stored"), [("high", 0), ("normal", 1), ("bulk", 2)])
async def test_retry_has_the_priority_of_the_first(
    gateway: Gateway, ask: Ask, priority: str, stored: int
) -> None:
    """What was not urgent is not urgent when it is sent again, and once more."""
    again = (await ask("POST", "/v1/messages", SMS | {"priority": priority})).body
    for _ in range(2):
        await run(gateway, "DELETE FROM gateway.queue")
        await become(gateway, again["id"], "failed")
        again = (await ask("POST", f"/v1/messages/{again['id']}/retry")).body
        assert stored == await run(gateway, "SELECT priority FROM gateway.queue")


@pytest.mark.parametrize("is_to_come", [True, False])
async def test_retry_expires_with_the_first(gateway: Gateway, ask: Ask, is_to_come: bool) -> None:  # noqa: FBT001
    """What is sent again leaves no later than the first might; what has expired has no end."""
    at = datetime.now(UTC) + timedelta(minutes=10)
    row = (await ask("POST", "/v1/messages", SMS | {"expires_at": at.isoformat()})).body
    await become(gateway, row["id"], "failed")
    if not is_to_come:
        await run(gateway, "UPDATE messages SET expires_at = now()")
    for _ in range(2):
        again = await ask("POST", f"/v1/messages/{row['id']}/retry")
        stored = await run(
            gateway, "SELECT expires_at FROM messages WHERE id = $1", again.body["id"]
        )
        assert (202, at if is_to_come else None) == (again.status, stored)
        await become(gateway, again.body["id"], "failed")


async def test_retry_of_a_next_step(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A fallback's message is sent again with the priority of its request."""
    await falling.known(gateway, ask, api)
    await ask("POST", "/v1/messages", SMS | falling.SMS | {"priority": "bulk"})
    falling.refuse_sms(api)
    await step(api.worker(gateway))
    await falling.follow(gateway)
    (_, mail) = await falling.outbound(ask)
    await run(gateway, "DELETE FROM gateway.queue")
    await become(gateway, mail["id"], "failed")
    assert 202 == (await ask("POST", f"/v1/messages/{mail['id']}/retry")).status
    assert 2 == await run(gateway, "SELECT priority FROM gateway.queue")


async def test_retry_by_a_test_key(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What a test key only seems to send again, waiting or sent, keeps nobody from doing so."""
    path = await retry_of_failed(gateway, ask)
    for _ in range(2):
        assert 202 == (await ask("POST", path, key=gateway.a.test_key)).status
        await step(api.worker(gateway))
    assert 202 == (await ask("POST", path, key=gateway.a.test_key)).status
    live = await ask("POST", path)

    assert (202, []) == (live.status, api.asked)
    assert 409 == (await ask("POST", path, key=gateway.a.test_key)).status


async def test_retry_of_a_test(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What a test key sent is marked from the beginning, and reaches nobody later, either: only a
    test key sends it again."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    request = SMS | {"expires_at": soon, "metadata": {"own": 1}}
    sent = (await ask("POST", "/v1/messages", request, key=gateway.a.test_key)).body
    assert {"own": 1, "provider": {"test": True}} == sent["metadata"]
    await run(gateway, "UPDATE messages SET expires_at = now()")
    await step(api.worker(gateway))
    path = f"/v1/messages/{sent['id']}"
    row = (await ask("GET", path)).body
    assert ("failed", "expired") == (row["status"], row["error_code"])
    for key in (gateway.a.key, gateway.a.member):
        refused = await ask("POST", f"{path}/retry", key=key)
        assert (409, True) == (refused.status, "A test key sent" in refused.body["detail"])
    again = await ask("POST", f"{path}/retry", key=gateway.a.test_key)
    assert (202, sent["metadata"]) == (again.status, again.body["metadata"])
    await step(api.worker(gateway))
    assert [] == api.asked
