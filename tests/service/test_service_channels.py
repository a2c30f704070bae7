"""All channels together: what would be sent, batches of all of them, and sending again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from tests.service.wires import (
    connect,
    from_meta,
    inbound_of,
    row_of,
    send,
    step,
    suppressed,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

PHONE, MAILBOX = "+447700900123", "ada@customer.example"
NAMED = {"name": "visit", "language": "en", "variables": {"1": "{{ day }}"}}


@pytest.fixture(autouse=True)
async def accounts(gateway: Gateway) -> dict[str, UUID]:
    """A default sender on every channel."""
    return {
        "email": await connect(gateway, "sendgrid", Channel.EMAIL),
        "whatsapp": await connect(gateway, "meta", Channel.WHATSAPP),
        "call": await connect(gateway, "twilio", Channel.CALL),
    }


async def visit(ask: Ask, kind: str, **columns: Any) -> None:
    """A template `visit` of some type."""
    body = {"name": "visit", "type": kind, "content": "On {{ day }}"} | columns
    assert 201 == (await ask("POST", "/v1/templates", body)).status


@pytest.mark.parametrize(
    ("body", "parts", "measured"),
    [
        ({"channel": "sms", "to": PHONE, "body": "Hi ł"}, {"body": "Hi ł"}, ("UCS-2", 1, "ł")),
        ({"channel": "call", "to": PHONE, "body": "Hi"}, {"body": "Hi"}, (None, None, None)),
        (
            {"channel": "whatsapp", "to": PHONE, "template": "visit", "variables": {"day": "Mon"}},
            {"body": "On Mon",
             "template": {"content_sid": None, "name": "visit", "language": "en",
                          "variables": {"1": "Mon"}, "components": []}},
            (None, None, None),
        ),
        (
            {"channel": "email", "to": MAILBOX, "subject": "S", "body": "B", "html_body": "<p>H"},
            {"body": "B", "subject": "S", "html_body": "<p>H</p>"},
            (None, None, None),
        ),
    ],
)  # fmt: skip
async def test_check(
    gateway: Gateway, ask: Ask, body: dict[str, Any], parts: dict[str, Any], measured: Any
) -> None:
    """What would be sent is shown in its parts, with the encoding where there is one: of SMS."""
    await visit(ask, "whatsapp", options=NAMED)
    checked = (await ask("POST", "/v1/messages/check", body)).body
    assert (True, []) == (checked["ok"], checked["errors"]), checked
    shown = checked["parts"]
    if html := shown.get("html_body"):
        assert "H" in html
        shown = shown | {"html_body": parts["html_body"]}
    assert parts == shown
    assert measured == (checked["encoding"], checked["segments"], checked["forced_by"])
    assert 0 == await gateway.count("messages")


async def test_check_names_everything(ask: Ask) -> None:
    """Every reason for which it would be refused is named at once."""
    body = {"channel": "email", "to": "nobody", "from": "x@y.example", "body": "x", "lead_id":
            "01a20aed-921f-7942-839f-8c58e20076ec", "variables": {"a": 1}}  # fmt: skip
    checked = (await ask("POST", "/v1/messages/check", body)).body
    assert {"to", "from", "subject", "lead_id", "variables"} == {
        error["field"] for error in checked["errors"]
    }
    closed = {"channel": "whatsapp", "to": PHONE, "body": "x"}
    checked = (await ask("POST", "/v1/messages/check", closed)).body
    assert (False, ["body"]) == (checked["ok"], [error["field"] for error in checked["errors"]])


async def test_batch(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A batch of all four channels goes out, and what is wrong with one spoils no other."""
    await visit(ask, "whatsapp", options=NAMED)
    mail = {"channel": "email", "to": MAILBOX, "subject": "S", "body": "B"}
    items = [
        {"channel": "sms", "to": PHONE, "body": "1"},
        {"channel": "whatsapp", "to": PHONE, "body": "closed"},
        mail,
        {"channel": "whatsapp", "to": PHONE, "template": "visit", "variables": {"day": "Mon"}},
        mail | {"subject": "a\nb"},
        {"channel": "call", "to": PHONE, "body": "4"},
        {"channel": "fax", "to": PHONE, "body": "5"},
        mail | {"options": {"reply_to": "no"}},
        {"channel": "call", "to": PHONE, "body": "6", "attachments": [{"url": "https://x.y/z"}]},
    ]
    answer = await ask("POST", "/v1/messages/batch", {"messages": items})
    assert 207 == answer.status
    assert [202, 422, 202, 202, 422, 202, 422, 422, 422] == [
        item["status"] for item in answer.body["data"]
    ]
    api.answers = _each
    await step(api.worker(gateway))
    sent = [item["message"] for item in answer.body["data"] if item["status"] == 202]
    assert ["sent"] * 4 == [(await row_of(ask, row))["status"] for row in sent]
    assert [
        "/2010-04-01/Accounts/{}/Calls.json".format("AC" + "a" * 32),
        "/2010-04-01/Accounts/{}/Messages.json".format("AC" + "a" * 32),
        "/v25.0/109876/messages",
        "/v3/mail/send",
    ] == sorted(request.path for request, _ in api.asked)


def _each(request: Any) -> Any:
    from aiohttp import web

    if "Accounts" in request.path:
        return web.json_response({"sid": "XX" + str(len(request.path)) * 16}, status=201)
    if "mail" in request.path:
        return web.Response(status=202, headers={"X-Message-Id": "sg-1"})
    return web.json_response({"messages": [{"id": "wamid.1"}]})


async def again(gateway: Gateway, ask: Ask, api: Api, row: Any, refusal: Any, taken: Any) -> Any:
    """Let a message fail, and send it again: (the new row, what both times was asked)."""
    api.says(*refusal)
    worker = api.worker(gateway)
    await step(worker)
    assert "failed" == (await row_of(ask, row))["status"]
    first = api.last
    retried = await ask("POST", f"/v1/messages/{row['id']}/retry")
    assert 202 == retried.status, retried.body
    api.says(*taken)
    await step(worker)
    return retried.body, first, api.last


async def test_retry_mail(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail that failed says the same once more, in the same thread, with its own id."""
    await visit(ask, "email", subject="For {{ day }}", content="<p>On <b>{{ day }}</b></p>")
    options = {"unsubscribe": False, "reply_to": "other@clinic.example"}
    row = await send(ask, "email", MAILBOX, template="visit", variables={"day": "<Mon>"},
                     options=options)  # fmt: skip
    refusal = (400, {"errors": [{"message": "No."}]})
    new, first, second = await again(gateway, ask, api, row, refusal, (202,))
    assert row["id"] == new["retry_of"]
    for name in ("subject", "content", "from", "reply_to"):
        assert first[name] == second[name], name
    assert f"<{new['id']}@clinic.example>" == second["headers"]["Message-ID"]
    assert "In-Reply-To" not in second["headers"]
    assert "List-Unsubscribe" not in second["headers"]


async def test_retry_template(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A template of WhatsApp that failed is the same template with the same values."""
    await visit(ask, "whatsapp", options=NAMED)
    row = await send(ask, "whatsapp", PHONE, template="visit", variables={"day": "{{ Mon }}"})
    refusal = (400, {"error": {"code": 132001, "message": "No."}})
    taken = (200, {"messages": [{"id": "wamid.1"}]})
    new, first, second = await again(gateway, ask, api, row, refusal, taken)
    assert "{{ Mon }}" == second["template"]["components"][0]["parameters"][0]["text"]
    assert first["template"] == second["template"]
    assert (row["body"], row["template_id"]) == (new["body"], new["template_id"])


async def test_retry_call(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A call that failed is said in the same voice."""
    options = {"voice": "alice", "repeat": 2, "confirm": "#", "timeout": 9}
    row = await send(ask, "call", PHONE, body="Hello", options=options)
    refusal = (400, {"code": 21211, "message": "No."})
    new, first, second = await again(
        gateway, ask, api, row, refusal, (201, {"sid": "CA" + "1" * 32})
    )
    assert first["Twiml"].replace(row["id"], new["id"]) == second["Twiml"]
    assert ("9", "9") == (first["Timeout"], second["Timeout"])


async def test_retry_answer(
    gateway: Gateway, ask: Ask, api: Api, accounts: dict[str, UUID]
) -> None:
    """A quoted answer that failed still quotes, and still has its template for later."""
    text = whatsapp_text("Hi", wamid="wamid.in", sender=PHONE[1:])
    await from_meta(gateway, accounts["whatsapp"], whatsapp_post(whatsapp_value(text)))
    (asked,) = await inbound_of(ask)
    await visit(ask, "whatsapp", options=NAMED)
    row = await send(ask, "whatsapp", PHONE, body="Yes", template="visit",
                     variables={"day": "Mon"}, in_reply_to=asked["id"])  # fmt: skip
    refusal = (400, {"error": {"code": 131026, "message": "No."}})
    taken = (200, {"messages": [{"id": "wamid.1"}]})
    new, first, second = await again(gateway, ask, api, row, refusal, taken)
    assert {"message_id": "wamid.in"} == first["context"] == second["context"]
    async with gateway.database.as_service() as db:
        parts = await db.fetchval("SELECT parts FROM messages WHERE id = $1", new["id"])
    parts = json.loads(parts) if isinstance(parts, str) else parts
    assert "visit" == parts["outside"]["name"]


async def test_retry_when_the_window_is_closed(
    gateway: Gateway, ask: Ask, api: Api, accounts: dict[str, UUID]
) -> None:
    """A text that failed, with a template for later, is sent again as the template later."""
    text = whatsapp_text("Hi", wamid="wamid.in", sender=PHONE[1:])
    await from_meta(gateway, accounts["whatsapp"], whatsapp_post(whatsapp_value(text)))
    await visit(ask, "whatsapp", options=NAMED)
    row = await send(ask, "whatsapp", PHONE, body="Yes", template="visit", variables={"day": "Mon"})
    api.says(400, {"error": {"code": 131026, "message": "No."}})
    await step(api.worker(gateway))
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.correspondence SET last_inbound_at = now() - interval '25 hours'"
        )
    again = await ask("POST", f"/v1/messages/{row['id']}/retry")
    assert 202 == again.status, again.body
    api.says(200, {"messages": [{"id": "wamid.1"}]})
    await step(api.worker(gateway))
    assert ("template", "visit") == (api.last["type"], api.last["template"]["name"])


async def test_retry_to_suppressed(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Nobody is written to again who has asked for no more."""
    row = await send(ask, "email", MAILBOX, subject="S", body="B")
    api.says(400, {"errors": [{"message": "No."}]})
    await step(api.worker(gateway))
    await ask("POST", "/v1/suppressions", {"channel": "email", "address": MAILBOX})
    assert 1 == len(await suppressed(ask))
    refused = await ask("POST", f"/v1/messages/{row['id']}/retry")
    assert (422, {"to"}) == (refused.status, set(refused.fields()))
