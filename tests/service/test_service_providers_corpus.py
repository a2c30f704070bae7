"""Real payloads (`../shared/corpus`, where it is there) of e-mail, WhatsApp and calls through the
whole gateway: what they make of the row that they are about, and which rows they become."""

from __future__ import annotations

import base64
import json
from contextlib import nullcontext
from datetime import UTC, datetime
from email.utils import parseaddr
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

import pytest
import time_machine

from channels.model import Channel
from gateway.observability.metrics import Metrics
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.receiving import Receiving
from gateway.vault import Vault
from tests.service.conftest import files_of
from tests.service.wires import (
    SECRET,
    connect,
    from_meta,
    from_sendgrid,
    from_twilio,
    hook,
    inbound_of,
    row_of,
    send,
)
from webhooks import mailgun
from webhooks.model import WebhookRequest

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"
FILES = {
    "sendgrid": Channel.EMAIL,
    "mailgun": Channel.EMAIL,
    "postmark": Channel.EMAIL,
    "amazon_ses": Channel.EMAIL,
    "whatsapp_cloud": Channel.WHATSAPP,
    "twilio": Channel.CALL,
}
NAMES = {"amazon_ses": "ses", "whatsapp_cloud": "meta"}
# The corpus has the providers' words: with us what is on its way is `sent` or no change, and a
# click is an event.
OURS = {"queued": "sent", "deferred": "sent", "in-progress": "sent"}
DIFFERS = {
    # An end that overtook another: of all that was told the highest counts, so that every order
    # of reports ends in the same row.
    "twilio-status-027": "delivered",
}
# Postmark says of this one itself that it is a hard bounce.
REASONS = {"postmark-status-015": "hard_bounce"}
# The subjects of the forms are made up, those of the mails in them count.
OWN_SUBJECTS = {
    "sendgrid-inbound-006": "Inbound Parse Test Raw Data",
    "sendgrid-inbound-007": "Inbound Parse Test Raw Data with Attachment",
}
CASES: list[dict[str, Any]] = [
    case | {"file": name}
    for name, channel in FILES.items()
    if (CORPUS / f"{name}.json").exists()
    for case in json.loads((CORPUS / f"{name}.json").read_text())
    if case.get("channel") == channel
]

pytestmark = pytest.mark.skipif(not CASES, reason="../shared/corpus is not there")


def cases(kind: str) -> pytest.MarkDecorator:
    """The cases of a kind."""
    found = [case for case in CASES if case["kind"] == kind]
    return pytest.mark.parametrize("case", found, ids=[case["id"] for case in found])


def body_of(case: dict[str, Any]) -> bytes:
    """The body of a case's request."""
    encoded = case["request"].get("body_b64")
    return base64.b64decode(encoded) if encoded else case["request"]["body"].encode()


async def account_of(gateway: Gateway, case: dict[str, Any]) -> UUID:
    """An account that a case may be for, with the default sender."""
    name, channel = NAMES.get(case["file"], case["file"]), FILES[case["file"]]
    more = {}
    if name == "mailgun":
        more["webhook_signing_key"] = case["auth"]["webhook_signing_key"]
    if name == "meta":
        values = [
            change["value"]
            for entry in json.loads(body_of(case))["entry"]
            for change in entry["changes"]
        ]
        numbers = [value.get("metadata", {}).get("phone_number_id") for value in values]
        more["phone_number_id"] = next(filter(None, numbers), "1")
    return await connect(gateway, name, channel, **more)


async def deliver(gateway: Gateway, account_id: UUID, case: dict[str, Any]) -> None:
    """Bring a case as its provider does, signed (anew, where its key is not at hand)."""
    name, body = NAMES.get(case["file"], case["file"]), body_of(case)
    event = "inbound" if case["kind"] == "inbound" else "events"
    given = {key.lower(): value for key, value in case["request"]["headers"].items()}
    headers = {"Content-Type": given["content-type"]}
    if name == "twilio":
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True))
        answer = await from_twilio(gateway, "call-status", fields, account_id=account_id)
    elif name == "meta":
        answer = await from_meta(gateway, account_id, body)
    elif name == "sendgrid" and event == "events":
        answer = await from_sendgrid(gateway, account_id, json.loads(body))
    elif name == "ses":
        await from_ses(gateway, account_id, event, body)
        return
    else:
        request = WebhookRequest(
            method="POST", url="https://x.example", event=event, headers=given, body=body
        )
        clock: Any = nullcontext()
        if name == "mailgun":
            stamp = case["auth"].get("now") or mailgun._signature(request)["timestamp"]
            clock = time_machine.travel(datetime.fromtimestamp(int(stamp), UTC), tick=True)
        query = "" if name == "mailgun" else "?" + urlencode({"secret": SECRET})
        with clock:
            answer = await hook(gateway, name, account_id, event, query, data=body, headers=headers)
    assert answer.status in (200, 204), answer.body


async def from_ses(gateway: Gateway, account_id: UUID, event: str, body: bytes) -> None:
    """A notification of SNS's, from where its signature is proven: nobody has its key."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    account = await HookAccounts(gateway.database, vault, {}).named("ses", str(account_id), event)
    receiving = Receiving(gateway.database, vault, Metrics(), files_of(gateway))
    request = WebhookRequest(
        method="POST", url="https://x.example", event=event, headers={}, body=body
    )
    await receiving.fetched(account, request)


@cases("status")
async def test_status(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> None:
    """The row that has the case's external id gets the case's status, once however often it is
    told; a report that names no message changes none."""
    account_id, expected = await account_of(gateway, case), case["expected"]
    channel = FILES[case["file"]]
    said: dict[str, Any] = (
        {"subject": "x", "body": "x"} if channel is Channel.EMAIL else {"body": "x"}
    )
    if channel is Channel.WHATSAPP:  # which status it has, is no question of the window
        said = {"options": {"name": "x", "language": "en"}}
    to = "someone@example.com" if channel is Channel.EMAIL else "+447700900123"
    sent = await send(ask, channel, to, **said)
    external_id = (expected.get("external_id") or "").strip("<>")
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET external_id = $1, status = 'sent'", external_id or None
        )
    await deliver(gateway, account_id, case)
    first = await row_of(ask, sent)
    await deliver(gateway, account_id, case)
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]

    again = await row_of(ask, sent)
    assert {**first, "updated_at": None} == {**again, "updated_at": None}
    told = [each for each in events if each["type"] not in ("accepted", "attempt")]
    if not external_id:
        assert ("sent", []) == (first["status"], told)
        return
    allowed = [expected["status"], *expected.get("status_alternatives", [])]
    wanted = {OURS.get(each, each) if each else "sent" for each in allowed}
    assert first["status"] in wanted | {DIFFERS.get(case["id"])}
    assert 1 == len(told)
    assert expected.get("provider_status", told[0]["type"]) == told[0]["type"]
    if "error_code" in expected and first["status"] == "failed":
        assert expected["error_code"] == first["error_code"]
    wants_no_more = {"complained": "complaint", "unsubscribed": "unsubscribe"}
    if reason := wants_no_more.get(expected.get("event", "")):
        listed = (await ask("GET", "/v1/suppressions")).body["data"]
        assert [REASONS.get(case["id"], reason)] == [row["reason"] for row in listed]
        assert expected["to"] in (None, listed[0]["address"])


@cases("inbound")
async def test_inbound(gateway: Gateway, ask: Ask, case: dict[str, Any]) -> None:
    """The case becomes the rows that it describes, once however often it comes."""
    account_id, expected = await account_of(gateway, case), case["expected"]
    for _ in range(2):
        await deliver(gateway, account_id, case)
    rows = await inbound_of(ask)

    wanted = {each["external_id"] for each in expected.get("messages", ())}
    stored = expected.get("messages_stored", len(wanted) or 1)
    assert len(rows) in [stored, *expected.get("messages_stored_alternatives", [])]
    for row in rows:
        assert "received" == row["status"]
        assert not wanted or row["external_id"] in wanted
        if "text" in expected:
            assert (expected["text"] or "").strip() == row["body"].strip()
        if "subject" in expected:
            assert OWN_SUBJECTS.get(case["id"], expected["subject"]) == row["subject"]
        if external_id := expected.get("external_id"):
            assert external_id.strip("<>") == row["external_id"]
        if sender := expected.get("from") or expected.get("from_header"):
            bare = parseaddr(sender)[1] if "@" in sender else sender
            assert bare.lstrip("+") == row["from_address"].lstrip("+")
        if recipient := expected.get("envelope_recipient"):
            assert recipient == row["to_address"]
        assert len(expected.get("attachments", row["attachments"])) == len(row["attachments"])
        for file, known in zip(row["attachments"], expected.get("attachments", ()), strict=False):
            assert known.get("filename") in (None, file["filename"])
            kind = known.get("content_type") or known.get("mime_type")
            assert kind in (None, file["content_type"])
