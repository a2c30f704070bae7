"""Webhooks over HTTP: the order of the checks, what is stored, and what a report does to a row."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

import aiohttp
import pytest
from aiohttp.test_utils import TestServer
from twilio.request_validator import RequestValidator
from yarl import URL

from gateway.app import build_app
from gateway.config import Settings
from gateway.observability.metrics import Metrics
from gateway.receive.unmatched import UnmatchedReports
from tests.service.conftest import AUTH_TOKEN, PUBLIC

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
SID = "SM" + "1" * 32


class Twilio:
    """Twilio, calling the webhooks of tenant A."""

    def __init__(self, gateway: Gateway, account_id: UUID | None = None) -> None:
        self.gateway = gateway
        self.path = f"/webhooks/twilio/{account_id or gateway.a.account_id}"

    async def post(
        self, event: str, form: Any, *, query: str = "", token: str = AUTH_TOKEN, **headers: str
    ) -> Answer:
        """A signed request."""
        path = f"{self.path}/{event}{query}"
        fields = dict(form)
        signature = RequestValidator(token).compute_signature(PUBLIC + path, fields)
        return await self.gateway.ask(
            "POST",
            path,
            key="",
            data=urlencode(fields),
            headers={
                "X-Twilio-Signature": signature,
                "Content-Type": "application/x-www-form-urlencoded",
                **headers,
            },
        )

    async def report(self, word: str, *, sid: str = SID, query: str = "", **more: str) -> Answer:
        """A status callback."""
        return await self.post(
            "status", {"MessageSid": sid, "MessageStatus": word, **more}, query=query
        )


@pytest.fixture
def twilio(gateway: Gateway) -> Twilio:
    """Twilio, as tenant A knows it."""
    return Twilio(gateway)


async def test_report_moves_the_row(ask: Ask, twilio: Twilio) -> None:
    """A report that carries our message id stores the provider's id and moves the row."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    query = f"?message_id={sent['id']}"

    first = await twilio.report("sent", query=query)
    second = await twilio.report("delivered")
    late = await twilio.report("sending")
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]

    assert {first.status, second.status, late.status} <= {200, 204}
    assert ("delivered", SID) == (row["status"], row["external_id"])
    assert row["sent_at"] < row["delivered_at"]
    assert ["sending", "delivered", "sent", "accepted"] == [event["type"] for event in events]
    found = await ask("GET", f"/v1/messages?external_id={SID}")
    assert [sent["id"]] == [message["id"] for message in found.body["data"]]


async def test_failure_is_explained(ask: Ask, twilio: Twilio) -> None:
    """A failed report leaves code and reason, and the message can be sent again."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    await twilio.report("undelivered", query=f"?message_id={sent['id']}", ErrorCode="30003")
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    again = await ask("POST", f"/v1/messages/{sent['id']}/retry")

    assert ("failed", "30003") == (row["status"], row["error_code"])
    assert row["error_message"]
    assert row["failed_at"]
    assert (202, sent["id"], "Hello", "pending") == (
        again.status,
        again.body["retry_of"],
        again.body["body"],
        again.body["status"],
    )


async def test_same_report_twice(gateway: Gateway, ask: Ask, twilio: Twilio) -> None:
    """A report that comes again, and again at once, is one event."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    query = f"?message_id={sent['id']}"
    await asyncio.gather(*(twilio.report("delivered", query=query) for _ in range(8)))

    assert 2 == await gateway.count("gateway.message_events")


async def test_early_report_waits_for_its_message(
    gateway: Gateway, ask: Ask, twilio: Twilio
) -> None:
    """A report about an unknown id is kept, and applied once when the id is known."""
    answer = await twilio.report("delivered")
    again = await twilio.report("delivered")
    assert {answer.status, again.status} <= {200, 204}
    assert 1 == await gateway.count("gateway.unmatched_reports")

    sent = (await ask("POST", "/v1/messages", SMS)).body
    await twilio.report("sent", query=f"?message_id={sent['id']}")
    await UnmatchedReports(gateway.database, Metrics()).apply()
    await twilio.report("delivered")

    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert "delivered" == row["status"]
    assert ["accepted", "delivered", "sent"] == sorted(event["type"] for event in events)
    assert 0 == await gateway.count("gateway.unmatched_reports")


async def test_unknown_word_is_kept(ask: Ask, twilio: Twilio) -> None:
    """A word that nobody knows is an event, answered well, and changes no status."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    answer = await twilio.report("teleported", query=f"?message_id={sent['id']}", New="field")
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]

    assert answer.status in (200, 204)
    assert ("pending", "teleported") == (row["status"], events[0]["type"])


async def test_report_on_another_tenants_message(
    gateway: Gateway, ask: Ask, twilio: Twilio
) -> None:
    """A signed report of A's account cannot touch B's message, whatever id it names."""
    foreign = (await ask("POST", "/v1/messages", SMS, key=gateway.b.key)).body
    await twilio.report("delivered", query=f"?message_id={foreign['id']}")
    row = (await ask("GET", f"/v1/messages/{foreign['id']}", key=gateway.b.key)).body

    assert ("pending", None) == (row["status"], row["external_id"])


INBOUND = {
    "MessageSid": "SM" + "2" * 32,
    "From": "+447700900123",
    "To": "+15551230001",
    "Body": "Yes \x00please",
    "NumMedia": "1",
    "MediaUrl0": "https://example.com/a.jpg",
    "MediaContentType0": "image/jpeg",
    "FromCity": "LEEDS",
}


async def test_inbound_message(gateway: Gateway, ask: Ask, twilio: Twilio) -> None:
    """An inbound message is stored once, linked to the lead and client with that number."""
    lead = (await ask("POST", "/v1/leads", {"phone": "07700 900123"})).body
    client = (
        await ask("POST", "/v1/clients", {"email": "c@example.com", "phone": "07700900123"})
    ).body
    answers = [await twilio.post("message", INBOUND) for _ in range(2)]

    for answer in answers:
        assert (200, "text/xml") == (
            answer.status,
            answer.headers["Content-Type"].partition(";")[0],
        )
        assert "<Response" in answer.body
    (row,) = (await ask("GET", "/v1/messages?direction=inbound")).body["data"]
    assert {
        "channel": "sms",
        "direction": "inbound",
        "status": "received",
        "body": "Yes please",
        "from_address": "+447700900123",
        "to_address": "+15551230001",
        "external_id": INBOUND["MessageSid"],
        "lead_id": lead["id"],
        "client_id": client["id"],
    }.items() <= row.items()
    assert [
        {
            "url": "https://example.com/a.jpg",
            "content_type": "image/jpeg",
            "filename": None,
            "size": None,
        }
    ] == row["attachments"]
    assert "LEEDS" in json.dumps(row["metadata"]["provider"])
    assert [] == (await ask("GET", "/v1/messages", key=gateway.b.key)).body["data"]


async def test_raw_request_is_kept(gateway: Gateway, twilio: Twilio) -> None:
    """Every verified request is kept as it came, for the time when somebody asks."""
    await twilio.post("message", INBOUND)
    async with gateway.database.as_service() as db:
        row = await db.fetchrow("SELECT * FROM gateway.webhook_requests")
    assert row is not None
    assert ("twilio", "message", "POST", gateway.a.account_id) == (
        row["provider"],
        row["event"],
        row["method"],
        row["account_id"],
    )
    assert urlencode(INBOUND).encode() == row["body"]
    assert f"{PUBLIC}{twilio.path}/message" == row["url"]
    assert "x-twilio-signature" not in row["headers"]


@pytest.mark.parametrize(
    "path",
    [
        "/webhooks/pigeon/{a}/status",
        "/webhooks/twilio/{a}/unknown",
        "/webhooks/twilio/x/status",
        "/webhooks/twilio/{nobody}/status",
        "/webhooks/twilio/{a}",
        "/webhooks/smtp/{a}/events",
    ],
)
async def test_no_such_hook(gateway: Gateway, ask: Ask, path: str) -> None:
    """An unknown provider, event or account is a 404, whatever its body and signature."""
    answer = await ask(
        "POST",
        path.format(a=gateway.a.account_id, nobody=uuid4()),
        key="",
        data=io.BytesIO(b"x" * (10 * 2**20 + 1)),
    )

    assert (404, 404) == (answer.status, answer.body["status"])
    assert 0 == await gateway.count("gateway.webhook_requests")


async def test_an_id_that_is_written_at_length(gateway: Gateway, ask: Ask) -> None:
    """Python reads a UUID with thousands of hyphens, too; what nobody was given names nothing, and
    is not remembered: a stranger would need nothing else to fill a web process's memory."""
    path = "/webhooks/twilio/{}/status"
    known = path.format(gateway.a.account_id)
    at_length = path.format("-" * 5_000 + str(gateway.a.account_id))
    assert [403, 404] == [(await ask("POST", each, key="")).status for each in (known, at_length)]


async def test_forged_requests(gateway: Gateway, ask: Ask, twilio: Twilio) -> None:
    """A request that the account's provider did not sign is a 403, and nothing is stored."""
    form = {"MessageSid": SID, "MessageStatus": "delivered"}
    path = f"{twilio.path}/status"
    good = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, form)
    typed = {"Content-Type": "application/x-www-form-urlencoded"}
    for headers, data in (
        (typed, urlencode(form)),
        (typed | {"X-Twilio-Signature": ""}, urlencode(form)),
        (typed | {"X-Twilio-Signature": "A" * 28}, urlencode(form)),
        (typed | {"X-Twilio-Signature": good}, urlencode(form | {"ErrorCode": "1"})),
        (typed | {"X-Twilio-Signature": good}, urlencode(form)[:-1]),
        ({"Content-Type": "application/json", "X-Twilio-Signature": good}, json.dumps(form)),
        ({"Content-Type": "text/plain", "X-Twilio-Signature": good}, urlencode(form)),
    ):
        answer = await ask("POST", path, key="", data=data, headers=headers)
        assert (403, 403) == (answer.status, answer.body["status"])
        assert good not in str(answer.body)
    wrong = await twilio.post("status", form, token="another token of the same len.")
    other_url = await ask(
        "POST",
        f"{path}?x=1",
        key="",
        data=urlencode(form),
        headers=typed | {"X-Twilio-Signature": good},
    )
    assert (403, 403) == (wrong.status, other_url.status)
    for table in ("gateway.webhook_requests", "gateway.unmatched_reports", "messages"):
        assert 0 == await gateway.count(table)
    page = (await ask("GET", "/metrics", key="")).body
    assert 'gateway_webhook_requests_total{answer="403",provider="twilio"} 9.0' in page


async def test_account_of_another_provider_or_tenant(gateway: Gateway) -> None:
    """A request signed with B's secret does not pass at A's account."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.provider_accounts SET provider = 'smtp' WHERE id = $1",
            gateway.b.account_id,
        )
    answer = await Twilio(gateway, gateway.b.account_id).report("delivered")

    assert 404 == answer.status


async def test_unreadable_and_large(gateway: Gateway, ask: Ask, twilio: Twilio) -> None:
    """A signed request about nothing is a 400; a large one a 413, before its signature."""
    unreadable = await twilio.post("message", {"Body": "from nobody"})
    large = await ask(
        "POST", f"{twilio.path}/status", key="", data=io.BytesIO(b"x" * (10 * 2**20 + 1))
    )

    assert (400, 413) == (unreadable.status, large.status)
    assert (
        "This request cannot be read: The message has no MessageSid." == (unreadable.body["detail"])
    )
    assert 0 == await gateway.count("gateway.webhook_requests")


async def test_a_body_that_is_encoded_otherwise(gateway: Gateway, twilio: Twilio) -> None:
    """What nobody can decode is not read as if it were plain."""
    form = {"MessageSid": SID, "MessageStatus": "sent"}
    answer = await twilio.post("status", form, **{"Content-Encoding": "x-gzip"})

    assert 415 == answer.status
    assert 0 == await gateway.count("gateway.webhook_requests")


@pytest.mark.parametrize("coding", ["gzip", "x-gzip"])
async def test_a_forged_body_that_is_encoded_otherwise(
    ask: Ask, twilio: Twilio, coding: str
) -> None:
    """Who has not signed it is told nothing about its coding."""
    headers = {"Content-Encoding": coding, "Connection": "close"}
    answer = await ask("POST", f"{twilio.path}/status", key="", data=b"abc", headers=headers)

    assert 403 == answer.status


async def test_json_with_body_hash(ask: Ask, twilio: Twilio) -> None:
    """A JSON body is believed only with its hash in the signed URL."""
    sent = (await ask("POST", "/v1/messages", SMS)).body
    body = json.dumps({"MessageSid": SID, "MessageStatus": "delivered"})
    digest = hashlib.sha256(body.encode()).hexdigest()
    path = f"{twilio.path}/status?message_id={sent['id']}&bodySHA256={digest}"
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, {})
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/json"}

    forged = await ask("POST", path, key="", data=body + " ", headers=headers)
    good = await ask("POST", path, key="", data=body, headers=headers)

    assert 403 == forged.status
    assert good.status in (200, 204)
    assert "delivered" == (await ask("GET", f"/v1/messages/{sent['id']}")).body["status"]


async def test_two_tokens_during_rotation(gateway: Gateway, ask: Ask, twilio: Twilio) -> None:
    """While a token is being changed, requests signed with either are good."""
    await ask(
        "PATCH",
        f"/v1/accounts/{gateway.a.account_id}",
        {
            "credentials": {
                "account_sid": "AC" + "a" * 32,
                "auth_token": "b" * 32,
                "auth_token_secondary": AUTH_TOKEN,
            }
        },
        key=gateway.a.owner,
    )
    form = {"MessageSid": SID, "MessageStatus": "sent"}
    answers = [await twilio.post("status", form, token=t) for t in (AUTH_TOKEN, "b" * 32, "c" * 32)]

    assert [True, True, False] == [answer.status < 300 for answer in answers]


async def test_prefix_that_the_proxy_leaves(gateway: Gateway, twilio: Twilio) -> None:
    """The public path may reach us with PUBLIC_URL's prefix or without it."""
    twilio.path = twilio.path.replace("/webhooks", "/gw/webhooks")
    form = {"MessageSid": SID, "MessageStatus": "sent"}
    signature = RequestValidator(AUTH_TOKEN).compute_signature(
        PUBLIC + twilio.path.removeprefix("/gw") + "/status", form
    )
    answer = await gateway.ask(
        "POST",
        f"{twilio.path}/status",
        key="",
        data=urlencode(form),
        headers={
            "X-Twilio-Signature": signature,
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )

    assert answer.status in (200, 204)


async def test_the_whole_url(gateway: Gateway, twilio: Twilio) -> None:
    """A request line may name the whole URL, whatever host it says."""
    path = f"{twilio.path}/status?" + urlencode({"MessageSid": SID, "MessageStatus": "sent"})
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, {})
    server = URL(gateway.url)
    reader, writer = await asyncio.open_connection(server.host, server.port)
    head = f"GET http://inside.example:80{path} HTTP/1.1\r\nHost: inside.example\r\n"
    writer.write(f"{head}X-Twilio-Signature: {signature}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()

    assert answer.startswith((b"HTTP/1.1 204", b"HTTP/1.1 200")), answer
    assert 1 == await gateway.count("gateway.unmatched_reports")


async def test_get_webhook(gateway: Gateway, ask: Ask, twilio: Twilio) -> None:
    """Twilio may be told to use GET: then the query is signed, and nothing is in the body."""
    path = f"{twilio.path}/status?" + urlencode({"MessageSid": SID, "MessageStatus": "sent"})
    signature = RequestValidator(AUTH_TOKEN).compute_signature(PUBLIC + path, {})
    answer = await ask("GET", path, key="", headers={"X-Twilio-Signature": signature})

    assert answer.status in (200, 204)
    assert 1 == await gateway.count("gateway.unmatched_reports")


async def test_database_that_is_away(database: str) -> None:
    """Without its database the gateway answers 503, so that the provider tries again."""
    away = database.replace("/test_", "/gone_")
    settings = Settings(database_url=away, gateway_secret_keys=(b"k" * 32,))
    async with (
        TestServer(build_app(settings)) as server,
        aiohttp.ClientSession(str(server.make_url("/"))) as http,
    ):
        for method, path in (
            ("POST", f"/webhooks/twilio/{uuid4()}/status"),
            ("GET", "/readyz"),
        ):
            async with http.request(method, path) as answer:
                assert 503 == answer.status, path
                assert "application/problem+json" == answer.content_type
        headers = {"Authorization": "Bearer gw_live_x"}
        async with http.get("/v1/messages", headers=headers) as answer:
            assert 503 == answer.status
        for path in ("/healthz", "/metrics"):
            async with http.get(path) as answer:
                assert 200 == answer.status
