"""Real payloads (`../shared/corpus/twilio.json`, where it is there) through the whole gateway."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from twilio.request_validator import RequestValidator

from gateway.dispatch.dispatching import Dispatching
from gateway.observability.metrics import Metrics
from gateway.vault import Vault
from tests.service.conftest import PUBLIC, files_of

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Ask, Gateway

CORPUS = Path(__file__).parents[3] / "shared" / "corpus" / "twilio.json"
CASES: list[dict[str, Any]] = json.loads(CORPUS.read_text()) if CORPUS.exists() else []
# The providers' words for "it is on its way" are `sent` here, by the contract.
WORDS = {"queued": "sent", "sending": "sent", "deferred": "sent"}

pytestmark = pytest.mark.skipif(not CASES, reason="../shared/corpus is not there")


def cases(kind: str) -> pytest.MarkDecorator:
    """The cases of a kind that are about messages."""
    found = [c for c in CASES if c["kind"] == kind and c.get("channel") != "call"]
    return pytest.mark.parametrize("case", found, ids=lambda case: case["id"])


async def post(gateway: Gateway, event: str, case: dict[str, Any]) -> Answer:
    """Send a case's body to the product's own route, signed anew for it."""
    token = case["auth"].get("auth_token", "0" * 32)
    changed = await gateway.ask(
        "PATCH",
        f"/v1/accounts/{gateway.a.account_id}",
        {"credentials": {"account_sid": "AC" + "a" * 32, "auth_token": token}},
        key=gateway.a.owner,
    )
    assert 200 == changed.status, changed.body
    path = f"/webhooks/twilio/{gateway.a.account_id}/{event}"
    body = case["request"]["body"]
    fields = dict(parse_qsl(body, keep_blank_values=True))
    signature = RequestValidator(token).compute_signature(PUBLIC + path, fields)
    headers = {
        "X-Twilio-Signature": signature,
        "Content-Type": "application/x-www-form-urlencoded",
    }
    return await gateway.ask("POST", path, key="", data=body.encode(), headers=headers)


@cases("status")
async def test_status(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> None:
    """The row that has the case's external id gets the case's status, code and event."""
    expected = case["expected"]
    sent = (
        await ask("POST", "/v1/messages", {"channel": "sms", "to": "+447700900123", "body": "x"})
    ).body
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET external_id = $1, status = 'sending'", expected["external_id"]
        )

    answer = await post(gateway, "status", case)

    assert answer.status in (200, 204)
    row = (await ask("GET", f"/v1/messages/{sent['id']}")).body
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]
    assert WORDS.get(expected["status"], expected["status"]) == row["status"]
    assert expected.get("error_code") == row["error_code"]
    assert expected["provider_status"] == events[0]["type"]
    suppressed = (await ask("GET", "/v1/suppressions")).body["data"]
    stopped = [(s["channel"], s["address"], s["reason"]) for s in suppressed]
    opted_out = [("sms", expected["to"], "stop")] if expected.get("recipient_opted_out") else []
    assert opted_out == stopped


@cases("inbound")
async def test_inbound(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> None:
    """The case becomes the row that it describes, and is answered with empty TwiML."""
    expected = case["expected"]
    answer = await post(gateway, "message", case)

    assert (200, "text/xml") == (answer.status, answer.headers["Content-Type"].partition(";")[0])
    assert "<Response" in answer.body
    (row,) = (await ask("GET", "/v1/messages?direction=inbound")).body["data"]
    assert (case["channel"], "received", expected["external_id"], expected["text"]) == (
        row["channel"],
        row["status"],
        row["external_id"],
        row["body"],
    )
    assert expected["from"] == row["from_address"]
    assert expected.get("to") in (None, row["to_address"])
    assert expected["attachments"] == [attachment["url"] for attachment in row["attachments"]]
    for value in expected.get("location", {}).values():
        assert value in json.dumps(row["metadata"]["provider"])


@asynccontextmanager
async def twilio_that_answers(case: dict[str, Any], seen: list[Any]) -> AsyncIterator[str]:
    """A server that gives the case's answer to every request."""

    async def answer(request: web.Request) -> web.Response:
        seen.append((request, await request.text()))
        response = case["response"]
        headers = {
            k: v for k, v in response.get("headers", {}).items() if k.lower() != "content-length"
        }
        return web.Response(
            status=response["status"], body=response["body"].encode(), headers=headers
        )

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def send_through(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> tuple[Any, Any]:
    """Accept a message, let a worker send it to a server with the case's answer: (row, request)."""
    sent = (
        await ask("POST", "/v1/messages", {"channel": "sms", "to": "+447700900123", "body": "x"})
    ).body
    seen: list[Any] = []
    async with twilio_that_answers(case, seen) as url, aiohttp.ClientSession() as session:
        dispatching = Dispatching(
            gateway.database,
            Vault(gateway.settings.gateway_secret_keys),
            session,
            Metrics(),
            base_url=PUBLIC,
            api_urls={"twilio": url},
            files=files_of(gateway),
        )
        (turn,) = await dispatching.claim(10)
        await dispatching.work(turn)
    assert 1 == len(seen)
    return (await ask("GET", f"/v1/messages/{sent['id']}")).body, seen[0]


@cases("send_response")
async def test_send_response(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> None:
    """An answer of success makes the message sent, under the provider's id; without one nobody
    knows, and the provider will be asked."""
    row, (request, body) = await send_through(gateway, ask, case)

    external_id = case["expected"]["external_id"]
    status = "sent" if external_id else "unknown"
    assert (status, external_id) == (row["status"], row["external_id"])
    account = "AC" + "a" * 32
    assert f"/2010-04-01/Accounts/{account}/Messages.json" == request.path
    user = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
    assert user.startswith(account)
    fields = dict(parse_qsl(body))
    assert ("+447700900123", "+15551230001", "x") == (fields["To"], fields["From"], fields["Body"])
    assert (
        f"{PUBLIC}/webhooks/twilio/{gateway.a.account_id}/status?"
        f"{urlencode({'message_id': row['id']})}#rc=5&rp=all"
    ) == fields["StatusCallback"]


@cases("error")
async def test_error(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> None:
    """An answer of failure ends the message with the provider's code, or makes it wait."""
    row, _ = await send_through(gateway, ask, case)

    expected = case["expected"]
    if expected["retryable"]:
        assert "sending" == row["status"]
        assert 1 == await gateway.count("gateway.queue")
    else:
        assert ("failed", expected["error_code"]) == (row["status"], row["error_code"])
        assert 0 == await gateway.count("gateway.queue")
