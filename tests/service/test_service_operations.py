"""/healthz, /readyz and /metrics of one web process."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import uuid4

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from twilio.request_validator import RequestValidator

from gateway.schema import migrate
from gateway.store import queue
from tests.service.conftest import AUTH_TOKEN, PUBLIC

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}

Numbers = dict[tuple[str, tuple[str, ...]], float]


async def numbers(ask: Ask) -> Numbers:
    """What /metrics says: by name and the values of its labels in the order of their names."""
    page = await ask("GET", "/metrics", key="")
    assert 200 == page.status
    assert page.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.body)
        for sample in family.samples
    }


async def post_signed(gateway: Gateway, event: str, **form: str) -> int:
    """A webhook request of tenant A's Twilio; the status of the answer."""
    path = f"/webhooks/twilio/{gateway.a.account_id}/{event}"
    answer = await gateway.ask(
        "POST",
        path,
        key="",
        data=urlencode(form),
        headers={
            "X-Twilio-Signature": RequestValidator(AUTH_TOKEN).compute_signature(
                PUBLIC + path, form
            ),
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    return answer.status


async def test_health(ask: Ask) -> None:
    """/healthz answers without credentials, and says nothing of the database."""
    answer = await ask("GET", "/healthz", key="")

    assert (200, {"status": "ok"}) == (answer.status, answer.body)


async def test_ready(gateway: Gateway, ask: Ask) -> None:
    """/readyz names the migrations; one that is missing makes it a 503 that names it."""
    ready = await ask("GET", "/readyz", key="")
    newest = ready.body["migrations"][-1]
    async with gateway.database._pool.acquire() as connection:
        await connection.execute("DELETE FROM gateway.schema_migrations WHERE version = $1", newest)
    behind = await ask("GET", "/readyz", key="")

    expected = [path.name.partition("_")[0] for path in migrate.files()]
    assert (200, expected) == (ready.status, ready.body["migrations"])
    assert (503, "application/problem+json") == (behind.status, behind.headers["Content-Type"])
    assert newest in behind.body["detail"]


async def test_accepted_messages_are_counted(ask: Ask) -> None:
    """What was answered with 202 counts once: no refusal, no check, no replay."""
    headers = {"Idempotency-Key": "k"}
    for _ in range(2):
        await ask("POST", "/v1/messages", SMS, headers=headers)
    batch = {"messages": [SMS, SMS | {"to": "nobody"}, SMS]}
    for _ in range(2):
        await ask("POST", "/v1/messages/batch", batch, headers={"Idempotency-Key": "b"})
    await ask("POST", "/v1/messages", SMS | {"to": "nobody"})
    await ask("POST", "/v1/messages/check", SMS)

    found = await numbers(ask)

    assert 3 == found["gateway_messages_accepted_total", ("sms", "twilio")]
    assert 3 == found["gateway_accept_seconds_count", ()]
    assert 0 < found["gateway_accept_seconds_sum", ()] < 30


async def test_the_queue_is_measured(gateway: Gateway, ask: Ask) -> None:
    """Depth counts what waits, the future too; the oldest is the one that is due the longest."""
    empty = await numbers(ask)
    await ask("POST", "/v1/messages", SMS | {"send_at": "2090-01-01T00:00:00Z"})
    future = await numbers(ask)
    await ask("POST", "/v1/messages", SMS)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET run_at = now() - interval '100 s' WHERE run_at < now()"
        )
    due = await numbers(ask)

    depth, oldest = ("gateway_queue_depth", ("sms",)), ("gateway_queue_oldest_seconds", ("sms",))
    assert depth not in empty
    assert (1, 0) == (future[depth], future[oldest])
    assert (2, True) == (due[depth], 100 <= due[oldest] < 130)


async def test_what_is_being_sent_is_not_due(gateway: Gateway, ask: Ask) -> None:
    """What a worker holds counts in the depth and makes nothing late, until its lease is over."""
    await ask("POST", "/v1/messages", SMS)
    found = []
    for seconds in (60, -60):
        async with gateway.database.as_service() as db:
            await db.execute(
                "UPDATE gateway.queue SET run_at = now() - interval '600 s',"
                " lease_id = gen_random_uuid(), lease_until = now() + make_interval(secs => $1)",
                float(seconds),
            )
        found.append(await numbers(ask))
    depth, oldest = ("gateway_queue_depth", ("sms",)), ("gateway_queue_oldest_seconds", ("sms",))

    assert [1, 1] == [each[depth] for each in found]
    assert [True, True] == [found[0][oldest] == 0, 600 <= found[1][oldest] < 630]


async def test_reports_and_replies_are_counted(gateway: Gateway, ask: Ask) -> None:
    """Each message counts once as sent, failed, delivered, received, however often it is told."""
    ids = [(await ask("POST", "/v1/messages", SMS)).body["id"] for _ in range(2)]
    for _ in range(2):
        for n, (message_id, words) in enumerate(
            zip(ids, (("sent", "delivered"), ("sent", "undelivered")), strict=True)
        ):
            for word in words:
                path = f"/webhooks/twilio/{gateway.a.account_id}/status?message_id={message_id}"
                form = {"MessageSid": f"SM{n:032}", "MessageStatus": word}
                signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, form)
                told = await ask(
                    "POST",
                    path,
                    key="",
                    data=urlencode(form),
                    headers={
                        "X-Twilio-Signature": signature,
                        "Content-Type": "application/x-www-form-urlencoded",
                    },
                )
                assert told.status < 300
        inbound = {"MessageSid": "SM" + "9" * 32, "From": SMS["to"], "To": gateway.a.sender}
        assert 200 == await post_signed(gateway, "message", **inbound, Body="Hi", NumMedia="0")

    found = await numbers(ask)

    both = ("sms", "twilio")
    assert (2, 1, 1, 1, 1) == tuple(
        found[name, both]
        for name in (
            "gateway_messages_sent_total",
            "gateway_messages_delivered_total",
            "gateway_messages_failed_total",
            "gateway_messages_received_total",
            "gateway_callback_delay_seconds_count",
        )
    )
    assert 0 < found["gateway_callback_delay_seconds_sum", both] < 60
    assert 10 == found["gateway_webhook_seconds_count", ("twilio",)]


async def test_webhook_answers_are_counted(gateway: Gateway, ask: Ask) -> None:
    """Each answer to a webhook counts by its code, whatever is the reason; whatever is typed into a
    path is no label."""
    account = f"/webhooks/twilio/{gateway.a.account_id}"
    await ask("POST", f"{account}/message", key="", data="Body=x")
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.provider_accounts SET credentials = 'of another key'")
    closed = f"/webhooks/twilio/{gateway.b.account_id}/message"
    assert 503 == (await ask("POST", closed, key="", data="Body=x")).status
    await ask("POST", f"/webhooks/twilio/{uuid4()}/message", key="")
    for name in ("nonsense", "x" * 100, "twilio%22"):
        await ask("POST", f"/webhooks/{name}/{gateway.a.account_id}/message", key="")

    found = await numbers(ask)

    counted = {
        labels: value
        for (name, labels), value in found.items()
        if name == "gateway_webhook_requests_total"
    }
    expected = {(code, "twilio"): 1 for code in ("403", "404", "503")}
    assert expected | {("404", "unknown"): 3} == counted


async def test_numbers_while_the_database_is_away(gateway: Gateway, ask: Ask) -> None:
    """What the processes counted is told in time also while the database does not answer: how many
    webhooks are refused for that reason, above all. That nothing is known of the queue is told."""
    before = await numbers(ask)
    await post_signed(gateway, "message", MessageSid="SM1", From="+447700900123", Body="Hi")
    holder = await asyncpg.connect(str(gateway.settings.database_url))
    await holder.execute("BEGIN; LOCK gateway.queue")
    held = await numbers(ask)
    await holder.execute("ALTER TABLE gateway.queue RENAME TO elsewhere; COMMIT")
    away = await numbers(ask)
    await holder.close()

    up = ("gateway_database_up", ())
    assert [1, 0, 0] == [found[up] for found in (before, held, away)]
    for found in (held, away):
        assert 1 == found["gateway_messages_received_total", ("sms", "twilio")]
        assert 1 == found["gateway_webhook_requests_total", ("200", "twilio")]
        assert not any(name.startswith("gateway_queue") for name, _ in found)


async def test_numbers_while_a_connection_hangs(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come in time also where a connection does not even answer that it is to be given up."""
    given_up, ended = asyncio.Event(), asyncio.Event()

    async def hanging(_: object) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            given_up.set()
            await ended.wait()

    monkeypatch.setattr(queue, "depth", hanging)
    monkeypatch.setattr("gateway.web.operations._COUNT_SECONDS", 0.1)
    async with asyncio.timeout(10):
        found = await numbers(ask)
        await given_up.wait()
    ended.set()
    assert 0 == found["gateway_database_up", ()]


async def test_names_and_units(ask: Ask) -> None:
    """Names follow Prometheus: counters end in _total, times are in seconds, each is explained."""
    page = await ask("GET", "/metrics", key="")

    families = list(text_string_to_metric_families(page.body))
    assert {
        "gateway_messages_accepted",
        "gateway_messages_sent",
        "gateway_messages_failed",
        "gateway_messages_delivered",
        "gateway_messages_received",
        "gateway_webhook_requests",
        "gateway_accept_seconds",
        "gateway_send_seconds",
        "gateway_webhook_seconds",
        "gateway_callback_delay_seconds",
        "gateway_database_up",
        "gateway_queue_depth",
        "gateway_queue_oldest_seconds",
    } <= {family.name for family in families}
    for family in families:
        assert re.fullmatch(r"gateway_[a-z_]+", family.name)
        assert family.documentation
        assert family.type in {"counter", "histogram", "gauge"}, family.name


async def test_paths_behind_the_prefix_too(ask: Ask) -> None:
    """A proxy may leave the prefix of PUBLIC_URL: every path is behind it, too, and Location has
    it, which is right for both."""
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/start.js"):
        assert 200 == (await ask("GET", f"/gw{path}", key="")).status, path
    sent = await ask("POST", "/gw/v1/messages", SMS)
    keyed = {"headers": {"Idempotency-Key": "k"}}
    twice = [(await ask("POST", "/v1/messages", SMS, **keyed)).headers for _ in range(2)]
    found = await ask("GET", sent.headers["Location"])
    lead = await ask("POST", "/v1/leads", {"first_name": "Ada", "phone": "+447700900124"})
    took = (await numbers(ask))["gateway_accept_seconds_count", ()]

    assert f"/gw/v1/messages/{sent.body['id']}" == sent.headers["Location"]
    assert (200, sent.body["id"]) == (found.status, found.body["id"])
    assert twice[0]["Location"] == twice[1]["Location"]
    assert f"/gw/v1/leads/{lead.body['id']}" == lead.headers["Location"]
    assert 3 == took


async def test_operations_are_get_only(ask: Ask) -> None:
    """Another method on these paths is a 405 that names what is possible."""
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs"):
        refused = await ask("POST", path, key="")
        assert (405, "application/problem+json") == (
            refused.status,
            refused.headers["Content-Type"],
        )
        assert "GET" in refused.headers["Allow"]
