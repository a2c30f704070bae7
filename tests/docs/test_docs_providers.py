"""What the page about providers says of them is what the code does."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from channels import mime
from channels.errors import CannotAsk, SendError
from channels.model import (
    Account,
    Attachment,
    CallPlan,
    Channel,
    Content,
    Mail,
    Outbound,
    ProviderTemplate,
)
from gateway.registry import PROVIDERS, NotPossibleError, check_credentials
from webhooks.model import InvalidSignature, WebhookRequest

ID = UUID("0191e180-7d60-7000-aded-7d8b151cbd5b")
PAGE = (Path(__file__).parents[2] / "docs/providers.md").read_text(encoding="utf-8")
# Enough to send with; nobody checks them here.
HELD = {
    "account_sid": "AC1", "auth_token": "x", "access_token": "x", "phone_number_id": "1",
    "api_key": "x", "domain": "example.com", "server_token": "x", "access_key_id": "AKIA",
    "secret_access_key": "x", "region": "eu-west-1",
}  # fmt: skip
FILE = b"a file that can be found again"
FILE_URL = "https://files.example.com/found-again"
ADDRESSES = {Channel.EMAIL: ("us@example.com", "them@example.net")}

each_provider = pytest.mark.parametrize("provider", PROVIDERS)
each_channel = pytest.mark.parametrize(
    ("provider", "channel"), [(name, one) for name, row in PROVIDERS.items() for one in row.carries]
)


def table(heading: str) -> dict[str, dict[str, str]]:
    """The rows of the first table below a heading, by provider, with cells by column."""
    below = PAGE.split(f"\n## {heading}\n", 1)[1]
    lines = [line for line in below.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    names, rows = cells[0], cells[2:]
    return {row[0].strip("`"): dict(zip(names, row, strict=True)) for row in rows}


def named(text: str) -> list[str]:
    """What stands in a text as `code`."""
    return re.findall(r"`([^`\n]+)`", text)


def section(provider: str) -> str:
    """What the page says of one provider."""
    return PAGE.split(f"\n## {provider}\n", 1)[1].split("\n## ", 1)[0]


DOES, SETS = table("What they do"), table("What to set")


def account(provider: str, api_url: str | None = None, **more: str) -> Account:
    """An account that can send."""
    return Account(
        id=ID,
        organization_id=ID,
        provider=provider,
        credentials=HELD | ({"region": "eu"} if provider in ("mailgun", "sendgrid") else {}) | more,
        api_url=api_url,
    )


def outbound(channel: Channel, **more: Any) -> Outbound:
    """A message with everything that the channel has."""
    is_mail = channel is Channel.EMAIL
    sender, recipient = ADDRESSES.get(channel, ("+15551230001", "+15557654321"))
    content: dict[str, Any] = {"body": "Hello", "call": CallPlan() if channel == "call" else None}
    if is_mail:
        content |= {"subject": "Hello", "html_body": "<p>Hello</p>"}
    return Outbound(
        message_id=ID,
        channel=channel,
        from_address=sender,
        to_address=recipient,
        content=Content(**content | more),
        mail=Mail(message_id=f"{ID}@example.com", unsubscribe_url="https://msg.example.org/u/1")
        if is_mail
        else None,
    )


class Recorder:
    """Stands in for every provider's API: notes what it is asked, and answers nothing of use."""

    def __init__(self) -> None:
        self.url = ""
        self.headers: set[str] = set()
        self.text = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Note the request, also what is hidden in it as base64."""
        body = await request.read()
        self.headers |= {name.lower() for name in request.headers}
        hidden = [
            base64.b64decode(found + b"=" * (-len(found) % 4))
            for found in re.findall(rb"[A-Za-z0-9+/]{30,}", body.replace(b"\\r\\n", b""))
            if len(found) % 4 != 1
        ]
        self.text += "\n".join(each.decode(errors="replace") for each in (body, *hidden))
        return web.Response(status=500)


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    """A running one."""
    found = Recorder()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.handle)
    async with TestServer(app) as server:
        found.url = str(server.make_url("")).rstrip("/")
        yield found


async def sent(recorder: Recorder, provider: str, message: Outbound) -> str:
    """What leaves when this is sent."""
    if provider == "smtp":
        return mime.as_bytes(message).decode()
    async with aiohttp.ClientSession() as session:
        half = PROVIDERS[provider].send
        with pytest.raises(SendError) as raised:
            await half.send(account(provider, recorder.url), message, session, "https://x.example/")
    # A file that it cannot carry it refuses before it asks.
    is_refused = bool(message.content.attachments) and raised.value.code == "no_files"
    assert recorder.text or is_refused, f"It asked nothing (has HELD all it needs?): {raised.value}"
    return recorder.text


def test_every_provider_has_its_rows() -> None:
    """Both tables and the sections name the providers of the registry, in its order."""
    assert list(PROVIDERS) == list(DOES) == list(SETS)
    assert list(PROVIDERS) == re.findall(r"^## ([a-z]+)$", PAGE, re.MULTILINE)


@each_provider
def test_channels_and_webhooks(provider: str) -> None:
    """What it carries, and the webhooks that there are, each with a word on where it is pasted."""
    row, does = PROVIDERS[provider], DOES[provider]
    assert [str(channel) for channel in row.carries] == named(does["send"])
    told = named(does["status"]) + named(does["inbound"])
    assert sorted(row.events) == sorted(set(told))
    assert set(row.status_event.values()) <= set(named(does["status"]))
    assert set(row.events) <= set(named(section(provider)))


@each_provider
def test_credentials(provider: str) -> None:
    """What must be set is what is missing of nothing; and no name is there that is not told."""
    sets = SETS[provider]
    with pytest.raises(NotPossibleError) as raised:
        check_credentials(provider, {})
    missing = {field.removeprefix("credentials.") for field, _ in raised.value.problems}
    assert missing == set(named(sets["required"]))
    known = sys.modules[PROVIDERS[provider].check_credentials.__module__].__dict__["CREDENTIALS"]
    assert [*known] == sorted(named(sets["required"]) + named(sets["optional"]), key=[*known].index)
    example = re.findall(r"--set (\w+)=", section(provider))
    assert missing <= set(example) <= set(known)


@each_provider
def test_signatures(provider: str) -> None:
    """A webhook of an account without the credentials of its signature is refused."""
    row, scheme = PROVIDERS[provider], DOES[provider]["signature"]
    told = named(scheme)
    known = named(SETS[provider]["required"]) + named(SETS[provider]["optional"])
    assert set(told) <= {*known, *row.events}
    assert bool(row.url_secrets) == ("in the URL" in scheme)
    assert set(row.url_secrets.values()) <= set(told)
    for event in row.events:
        request = WebhookRequest(
            method="POST",
            url=f"https://msg.example.org/webhooks/{provider}/{ID}/{event}",
            event=event,
            headers={},
            body=b"{}",
        )
        for credentials in ({}, dict.fromkeys(set(told) & set(known), "")):
            held = Account(id=ID, organization_id=ID, provider=provider, credentials=credentials)
            with pytest.raises(InvalidSignature):
                row.webhook.verify(request, held)


@each_channel
async def test_idempotency(recorder: Recorder, provider: str, channel: Channel) -> None:
    """A key goes along where the provider takes one."""
    await sent(recorder, provider, outbound(channel))
    has_key = "idempotency-key" in recorder.headers
    assert has_key == (DOES[provider]["idempotency"] != "no")


@each_channel
async def test_look_up(recorder: Recorder, provider: str, channel: Channel) -> None:
    """Whether it can be asked what it took; and who need not be, is not."""
    half, told = PROVIDERS[provider].send, DOES[provider]["look-up"]
    async with aiohttp.ClientSession() as session:
        asking = half.find(
            account(provider, recorder.url), outbound(channel), session, datetime.now(UTC)
        )
        if told.startswith("no need"):
            assert [] == await asking
            assert DOES[provider]["idempotency"] != "no"
        else:
            with pytest.raises(SendError) as raised:
                await asking
            assert isinstance(raised.value, CannotAsk) == (told == "no")
            assert bool(recorder.text or recorder.headers) == (told != "no")
        assert PROVIDERS[provider].can_be_asked == (told != "no")
        assert PROVIDERS[provider].is_asked_by_sending == told.startswith("no need")


@each_channel
async def test_unsubscribe_headers(recorder: Recorder, provider: str, channel: Channel) -> None:
    """Mails carry the headers of RFC 8058."""
    text = await sent(recorder, provider, outbound(channel))
    has_headers = "List-Unsubscribe=One-Click" in text and "https://msg.example.org/u/1" in text
    assert has_headers == (DOES[provider]["unsubscribe"] == "yes")


@each_channel
async def test_media(recorder: Recorder, provider: str, channel: Channel) -> None:
    """Files go out, as themselves or by their address, on the channels that the table names."""
    is_mail = channel is Channel.EMAIL
    file = Attachment(
        url="" if is_mail else FILE_URL,
        filename="a.png",
        content_type="image/png",
        content=FILE if is_mail else None,
    )
    text = await sent(recorder, provider, outbound(channel, attachments=(file,)))
    forms = (FILE.decode(), base64.b64encode(FILE).decode(), FILE_URL, quote(FILE_URL, safe=""))
    has_file = any(form in text for form in forms)
    assert has_file == (str(channel) in named(DOES[provider]["media"]))


@each_channel
async def test_templates(recorder: Recorder, provider: str, channel: Channel) -> None:
    """WhatsApp's templates are named as the provider knows them; elsewhere there are none."""
    template = ProviderTemplate(content_sid="HXfound", name="name_found", language="de")
    told = DOES[provider]["templates"]
    assert (Channel.WHATSAPP in PROVIDERS[provider].carries) == (told != "–")
    if channel is Channel.WHATSAPP:
        text = await sent(recorder, provider, outbound(channel, template=template))
        assert ("HXfound" in text, "name_found" in text) == (
            "ContentSid" in told,
            "name and language" in told,
        )


def test_links_lead_somewhere() -> None:
    """Every page that is linked to is there."""
    for target in re.findall(r"\]\(([^)#\s]+)", PAGE):
        assert (Path(__file__).parents[2] / "docs" / target).exists(), target
