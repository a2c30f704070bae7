"""Accounts of all providers, a server that stands in for their APIs, and their signed webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from twilio.request_validator import RequestValidator

from channels.model import Channel
from gateway.dispatch.dispatching import Dispatching
from gateway.dispatch.pace import Pace
from gateway.manage import setup
from gateway.observability.metrics import Metrics
from gateway.outside.download import Downloader
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.replaying import Replayed, Replaying, Wanted
from gateway.registry import PROVIDERS
from gateway.vault import Vault
from tests.service.conftest import AUTH_TOKEN, PUBLIC, files_of

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Gateway, Tenant

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC_KEY = base64.b64encode(
    KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
SECRET = "s3cret-of-a-url"
APP_SECRET = "a1b2c3d4e5f60718293a4b5c6d7e8f90"
ARN = "arn:aws:sns:eu-west-1:123456789012:mail"

CREDENTIALS: dict[str, dict[str, str]] = {
    "twilio": {"account_sid": "AC" + "a" * 32, "auth_token": AUTH_TOKEN},
    "sendgrid": {
        "api_key": "SG.key",
        "webhook_public_key": PUBLIC_KEY,
        "inbound_secret": SECRET,
    },
    "postmark": {"server_token": "token", "webhook_secret": SECRET},
    "mailgun": {"api_key": "key", "domain": "clinic.example", "webhook_signing_key": SECRET},
    "ses": {
        "access_key_id": "AKIAEXAMPLE000000000",
        "secret_access_key": "s" * 40,
        "region": "eu-west-1",
        "topic_arn": ARN,
    },
    "smtp": {
        "host": "127.0.0.1",
        "username": "clinic",
        "password": "its own",
        "tls": "none",
        "webhook_secret": SECRET,
    },
    "resend": {"api_key": "re_key", "webhook_secret": "whsec_" + "c2VjcmV0" * 4},
    "meta": {
        "access_token": "EAAB",
        "phone_number_id": "109876",
        "app_secret": APP_SECRET,
        "verify_token": "hello",
    },
}
OURS = {
    Channel.EMAIL: "desk@clinic.example",
    Channel.WHATSAPP: "+15551230009",
    Channel.CALL: "+15551230008",
}


async def connect(
    gateway: Gateway,
    provider: str,
    channel: Channel,
    address: str | None = None,
    *,
    tenant: Tenant | None = None,
    **credentials: str,
) -> UUID:
    """Add an account of a provider, with a default sender on a channel; returns its id."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    given = CREDENTIALS[provider] | credentials
    organization_id = (tenant or gateway.a).organization_id
    account_id = await setup.add_account(gateway.database, vault, organization_id, provider, given)
    address = address or OURS[channel]
    await setup.add_sender(
        gateway.database, account_id, channel, address, is_default=True, rate=None
    )
    return account_id


@dataclass
class Api:
    """The API of every provider: keeps its requests in order, and answers as told."""

    url: str = ""
    session: aiohttp.ClientSession | None = None
    downloader: Downloader | None = None
    asked: list[tuple[web.Request, bytes]] = field(default_factory=list)
    answers: Callable[[web.Request], web.Response] = field(
        default=lambda _: web.Response(status=202, headers={"X-Message-Id": "sg-1"})
    )

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request, await request.read()))
        return self.answers(request)

    def says(self, status: int = 200, body: Any = None, **headers: str) -> None:
        """Answer every request from now on like this."""
        self.answers = lambda _: web.Response(
            status=status,
            text="" if body is None else json.dumps(body),
            content_type="application/json",
            headers=headers,
        )

    @property
    def last(self) -> Any:
        """The last body, parsed: JSON, or the fields of a form, with repeated ones as lists."""
        request, body = self.asked[-1]
        if "json" in request.content_type:
            return json.loads(body)
        form: dict[str, Any] = {}
        for name, value in parse_qsl(body.decode(), keep_blank_values=True):
            form[name] = (
                [*form[name], value]
                if isinstance(form.get(name), list)
                else ([form[name], value] if name in form else value)
            )
        return form

    def worker(self, gateway: Gateway, **pace: float) -> Dispatching:
        """A new worker that sends to this API for every provider."""
        assert self.session is not None
        return Dispatching(
            gateway.database,
            Vault(gateway.settings.gateway_secret_keys),
            self.session,
            Metrics(),
            base_url=PUBLIC,
            api_urls=dict.fromkeys(PROVIDERS, self.url),
            files=files_of(gateway, self.downloader),
            pace=Pace(**pace),  # type: ignore[arg-type]
        )


@asynccontextmanager
async def running_api() -> AsyncIterator[Api]:
    """Run the API on a real port."""
    made = Api()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{path:.*}", made.handle)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        Downloader() as downloader,
    ):
        made.url, made.session = str(server.make_url("")).rstrip("/"), session
        made.downloader = downloader
        yield made


async def step(worker: Dispatching) -> int:
    """Claim what is due and work on it; returns how many entries there were."""
    turns = await worker.claim(100)
    for turn in turns:
        await worker.work(turn)
    return len(turns)


async def send(ask: Any, channel: str, to: str, **more: Any) -> dict[str, Any]:
    """Have one message accepted; returns it."""
    answer = await ask("POST", "/v1/messages", {"channel": channel, "to": to} | more)
    assert 202 == answer.status, answer.body
    row: dict[str, Any] = answer.body
    return row


async def row_of(ask: Any, row: Mapping[str, Any]) -> dict[str, Any]:
    """A message as it is now."""
    found: dict[str, Any] = (await ask("GET", f"/v1/messages/{row['id']}")).body
    return found


async def inbound_of(ask: Any, **more: str) -> list[dict[str, Any]]:
    """Inbound messages, newest first."""
    query = urlencode({"direction": "inbound"} | more)
    found: list[dict[str, Any]] = (await ask("GET", f"/v1/messages?{query}")).body["data"]
    return found


async def suppressed(ask: Any) -> set[tuple[str, str, str]]:
    """(channel, address, reason) of everything on the list."""
    data = (await ask("GET", "/v1/suppressions?limit=200")).body["data"]
    return {(row["channel"], row["address"], row["reason"]) for row in data}


async def replay(gateway: Gateway, **wanted: Any) -> Replayed:
    """Replay the stored webhook requests."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    accounts = HookAccounts(gateway.database, vault, {})
    replaying = Replaying(gateway.database, vault, files_of(gateway), accounts)
    return await replaying.replay(Wanted(**wanted))


def counts(result: Replayed) -> tuple[int, int, int, int]:
    """How many events are new, known, without a message, and not understood."""
    assert 0 == result.failed, result.failures
    return result.new, result.known, result.unmatched, result.unknown


# Webhooks, signed as their providers sign them.


async def hook(
    gateway: Gateway, provider: str, account_id: UUID, event: str, query: str = "", **more: Any
) -> Answer:
    """Make one request to a webhook."""
    path = f"/webhooks/{provider}/{account_id}/{event}{query}"
    return await gateway.ask("POST", path, key="", **more)


async def from_sendgrid(gateway: Gateway, account_id: UUID, events: Any) -> Answer:
    """Events of SendGrid, signed with ECDSA."""
    body, stamp = json.dumps(events).encode(), str(int(time.time()))
    signature = KEY.sign(stamp.encode() + body, ec.ECDSA(hashes.SHA256()))
    headers = {
        "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        "X-Twilio-Email-Event-Webhook-Timestamp": stamp,
        "Content-Type": "application/json",
    }
    return await hook(gateway, "sendgrid", account_id, "events", data=body, headers=headers)


async def from_meta(
    gateway: Gateway, account_id: UUID, payload: Any, secret: str = APP_SECRET
) -> Answer:
    """A POST of Meta, signed with the app's secret."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    digest = hmac.digest(secret.encode(), body, "sha256").hex()
    headers = {"X-Hub-Signature-256": f"sha256={digest}", "Content-Type": "application/json"}
    return await hook(gateway, "meta", account_id, "events", data=body, headers=headers)


async def from_twilio(
    gateway: Gateway, event: str, fields: Mapping[str, str], *, query: str = "",
    account_id: UUID | None = None,
) -> Answer:  # fmt: skip
    """A signed form of Twilio."""
    account_id = account_id or gateway.a.account_id
    url = f"{PUBLIC}/webhooks/twilio/{account_id}/{event}{query}"
    headers = {
        "X-Twilio-Signature": RequestValidator(AUTH_TOKEN).compute_signature(url, dict(fields)),
        "Content-Type": "application/x-www-form-urlencoded",
    }
    data = urlencode(fields).encode()
    return await hook(gateway, "twilio", account_id, event, query, data=data, headers=headers)


def mailgun_signature() -> dict[str, str]:
    """The signature that Mailgun adds to its payloads."""
    stamp, token = str(int(time.time())), hashlib.sha256(str(time.time_ns()).encode()).hexdigest()
    signature = hmac.digest(SECRET.encode(), (stamp + token[:50]).encode(), "sha256").hex()
    return {"timestamp": stamp, "token": token[:50], "signature": signature}


async def by_smtp(
    gateway: Gateway, account_id: UUID, raw: bytes, *, sender: str | None = None,
    recipient: str | None = None,
) -> Answer:  # fmt: skip
    """A mail that the operator's own mail server passes on."""
    headers = {"Content-Type": "message/rfc822"}
    headers |= {"X-Envelope-From": sender} if sender is not None else {}
    headers |= {"X-Envelope-To": recipient} if recipient is not None else {}
    query = "?" + urlencode({"secret": SECRET})
    return await hook(gateway, "smtp", account_id, "inbound", query, data=raw, headers=headers)


def whatsapp_value(
    *messages: Any, statuses: Any = (), number: str = "15551230009", **more: Any
) -> dict[str, Any]:
    """The value of one change in a webhook of Meta."""
    return {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": number, "phone_number_id": "109876"},
        **({"messages": list(messages)} if messages else {}),
        **({"statuses": list(statuses)} if statuses else {}),
        **more,
    }


def whatsapp_post(*values: Any) -> dict[str, Any]:
    """The body of a webhook of Meta with an entry for each value."""
    return {
        "object": "whatsapp_business_account",
        "entry": [
            {"id": str(n), "changes": [{"field": "messages", "value": value}]}
            for n, value in enumerate(values)
        ],
    }


def whatsapp_text(body: str, *, wamid: str, sender: str, at: float | None = None) -> dict[str, Any]:
    """One text message in a webhook of Meta."""
    stamp = str(int(at if at is not None else time.time()))
    return {
        "from": sender, "id": wamid, "timestamp": stamp, "type": "text", "text": {"body": body},
    }  # fmt: skip
