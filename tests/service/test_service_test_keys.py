"""Messages of test keys reach nobody, and leave no trace in what stands for those that do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from gateway.accept.falling_back import FallingBack
from gateway.observability.metrics import Metrics
from tests.service.falling import ADA, late, outbound, run
from tests.service.test_service_held import CHANGE_LEAD, held
from tests.service.wires import step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

SMS = {"channel": "sms", "to": ADA, "body": "Hello"}
HELLO = {"name": "hello", "type": "sms", "content": "Hello"}
USED = {"channel": "sms", "to": ADA, "template": "hello"}
NOTED = "SELECT last_contacted_at FROM leads"
LATER = {"send_at": "2090-01-01T00:00:00Z"}


async def test_nobody_was_written_to(gateway: Gateway, ask: Ask) -> None:
    """No lead was contacted and no template used by what a test key sent, sent again, or had sent
    instead."""
    lead = (await ask("POST", "/v1/leads", {"phone": ADA})).body
    await ask("POST", "/v1/templates", HELLO)
    request = USED | {"fallback": [{"channel": "sms", "template": "hello", "after": 9}]}
    sent = await ask("POST", "/v1/messages", request, key=gateway.a.test_key)
    await late(gateway)
    falling_back = FallingBack(gateway.database, Metrics())
    async with held(gateway, CHANGE_LEAD, lead["id"]):
        assert 1 == await falling_back.follow()
    await falling_back.close()
    await run(gateway, "UPDATE messages SET status = 'failed'")
    path = f"/v1/messages/{sent.body['id']}/retry"
    assert 202 == (await ask("POST", path, key=gateway.a.test_key)).status

    assert [lead["id"]] * 3 == [row["lead_id"] for row in await outbound(ask)]
    assert 0 == await gateway.count("gateway.template_uses")
    assert await run(gateway, NOTED) is None

    both = {"messages": [USED, USED | {"to": "nobody"}]}
    await ask("POST", "/v1/messages/batch", both)
    assert 1 == await gateway.count("gateway.template_uses")
    assert await run(gateway, NOTED) is not None


async def test_counted_apart(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What test keys send is counted as of the provider `test`: accepted, sent instead, delivered,
    failed; nothing of it by the name of a provider."""
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    request = SMS | {"fallback": [{"channel": "sms", "after": 0}]}
    for each in (request, SMS | {"expires_at": soon}):
        assert 202 == (await ask("POST", "/v1/messages", each, key=gateway.a.test_key)).status
    await run(gateway, "UPDATE messages SET expires_at = now() WHERE expires_at IS NOT NULL")
    worker, followed = api.worker(gateway), Metrics()
    await FallingBack(gateway.database, followed).follow()
    await step(worker)

    def counted(page: str) -> set[tuple[str, str, str]]:
        told = r'gateway_(?:messages|callback)_(\w+)_(?:total|count){.*provider="(\w+)"} ([\d.]+)'
        return {*re.findall(told, page)}

    web = (await ask("GET", "/metrics", key="")).body
    assert {("accepted", "test", "2.0")} == counted(web)
    assert {("accepted", "test", "1.0")} == counted(followed.page(None).decode())
    assert {
        ("sent", "test", "1.0"),
        ("delivered", "test", "1.0"),
        ("failed", "test", "1.0"),
        ("delay_seconds", "test", "1.0"),
    } == counted(worker._metrics.page(None).decode())


async def test_events(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What happened to a message at one moment is told in its order: sent, then delivered."""
    batch = {"messages": [SMS] * 12}
    sent = await ask("POST", "/v1/messages/batch", batch, key=gateway.a.test_key)
    await step(api.worker(gateway))

    for item in sent.body["data"]:
        path = f"/v1/messages/{item['message']['id']}/events?limit=1"
        first = (await ask("GET", path)).body
        second = (await ask("GET", f"{path}&cursor={first['next_cursor']}")).body
        assert ["delivered", "sent"] == [page["data"][0]["type"] for page in (first, second)]


async def test_cancel(gateway: Gateway, ask: Ask) -> None:
    """A test key cancels what test keys have sent, and no message that is to reach somebody."""
    live = (await ask("POST", "/v1/messages", SMS | LATER)).body
    test = (await ask("POST", "/v1/messages", SMS | LATER, key=gateway.a.test_key)).body
    refused, canceled = [
        await ask("POST", f"/v1/messages/{message['id']}/cancel", key=gateway.a.test_key)
        for message in (live, test)
    ]

    assert (409, 200) == (refused.status, canceled.status)
    assert "No test key sent this message" in refused.body["detail"]
    assert "pending" == (await ask("GET", f"/v1/messages/{live['id']}")).body["status"]
    assert 1 == await gateway.count("gateway.queue")


async def test_why_after_a_retry(gateway: Gateway, ask: Ask) -> None:
    """What a test key only seems to have sent again can be sent again: nobody is told otherwise."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    await run(gateway, "UPDATE messages SET status = 'failed', error_code = 'expired'")
    path = f"/v1/messages/{sent['id']}"
    before = (await ask("GET", f"{path}/why")).body
    assert 202 == (await ask("POST", f"{path}/retry", key=gateway.a.test_key)).status

    assert before == (await ask("GET", f"{path}/why")).body
