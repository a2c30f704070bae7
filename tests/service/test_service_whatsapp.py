"""WhatsApp: the window of 24 hours, the provider's templates, quotes, and what Meta brings."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from tests.service.wires import (
    OURS,
    connect,
    from_meta,
    from_twilio,
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

ADA = "+447700900123"
TAKEN = {"messages": [{"id": "wamid.out"}], "contacts": [{"wa_id": "447700900123"}]}
META = {"name": "visit", "language": "en_GB", "variables": {"1": "{{ day }}", "2": "at noon"}}
TWILIO = {"content_sid": "HX" + "b" * 32, "variables": {"1": "{{ day }}"}}


@pytest.fixture
async def account(gateway: Gateway, api: Api) -> UUID:
    """Meta, with the default sender."""
    api.says(200, TAKEN)
    return await connect(gateway, "meta", Channel.WHATSAPP)


async def they_write(
    gateway: Gateway, account: UUID, body: str = "Hi", sender: str = ADA, **more: Any
) -> None:
    """Somebody writes to us."""
    wamid = f"wamid.{time.time_ns()}"
    text = whatsapp_text(body, wamid=wamid, sender=sender.removeprefix("+"), **more)
    assert 200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))).status


async def age(gateway: Gateway, hours: float) -> None:
    """Let their last message be so long ago, also for what is queued."""
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.correspondence SET last_inbound_at = now() - make_interval(secs => $1)",
            hours * 3600,
        )
        await db.execute(
            "UPDATE messages SET parts = parts || jsonb_build_object('window_until', now() - "
            "make_interval(secs => $1) + interval '24 hours') WHERE parts ? 'window_until'",
            hours * 3600,
        )


async def make_template(ask: Ask, options: dict[str, Any] | None, **columns: Any) -> None:
    """A template named `visit`."""
    body: dict[str, Any] = {"name": "visit", "type": "whatsapp"}
    body |= {"content": "Your visit on {{ day }}"}
    body |= {"options": options} if options else {}
    made = await ask("POST", "/v1/templates", body | columns)
    assert 201 == made.status, made.body


async def refusal(ask: Ask, **body: Any) -> dict[str, str]:
    """The fields that a request is refused for."""
    answer = await ask("POST", "/v1/messages", {"channel": "whatsapp", "to": ADA} | body)
    assert 422 == answer.status, answer.body
    fields: dict[str, str] = answer.fields()
    return fields


async def test_a_template_that_the_provider_does_not_know(
    gateway: Gateway, ask: Ask, account: UUID
) -> None:
    """A template is named as the sender's provider names it: another's name is refused before it
    fails there, also where it is only for when the window closes."""
    await make_template(ask, TWILIO)
    wanted = {"template": "visit", "variables": {"day": "Monday"}}
    fields = await refusal(ask, **wanted)
    known_by = "is missing: Meta knows its templates by it"
    assert {"options.name": known_by, "options.language": known_by} == fields
    checked = await ask("POST", "/v1/messages/check", {"channel": "whatsapp", "to": ADA} | wanted)
    assert (False, 2) == (checked.body["ok"], len(checked.body["errors"]))
    await they_write(gateway, account)
    assert {"options.name", "options.language"} == set(await refusal(ask, body="Hello", **wanted))

    theirs = "+15551230010"
    await connect(gateway, "twilio", Channel.WHATSAPP, theirs, tenant=gateway.b)
    body = {"channel": "whatsapp", "to": ADA, "template": "visit", "variables": {"day": "Monday"}}
    made = {"name": "visit", "type": "whatsapp", "content": "Hi {{ day }}", "options": META}
    assert 201 == (await ask("POST", "/v1/templates", made, key=gateway.b.key)).status
    answer = await ask("POST", "/v1/messages", body, key=gateway.b.key)
    known_by = "is missing: Twilio knows its templates by it"
    assert {"options.content_sid": known_by} == answer.fields()


async def test_window(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A free text is taken within 24 hours of their last message, and refused with the reason
    before that and after."""
    fields = await refusal(ask, body="Hello")
    assert {"body"} == set(fields)
    assert "have not written yet" in fields["body"]

    await they_write(gateway, account)
    sent = await send(ask, "whatsapp", ADA, body="Hello")
    late = (datetime.now(UTC) + timedelta(hours=25)).isoformat()
    assert {"body"} == set(await refusal(ask, body="Hello", send_at=late))
    await step(api.worker(gateway))
    assert ("text", "447700900123", "Hello") == (
        api.last["type"],
        api.last["to"],
        api.last["text"]["body"],
    )
    assert sent["id"] == api.last["biz_opaque_callback_data"]
    row = await row_of(ask, sent)
    assert ("sent", "wamid.out") == (row["status"], row["external_id"])

    await age(gateway, 25)
    fields = await refusal(ask, body="Hello")
    ended = f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%d %H:}"
    assert f"their last message, until {ended}" in fields["body"]
    assert "UTC" in fields["body"]
    assert "window" not in (await ask("GET", "/v1/messages")).body["data"][0]


async def test_window_is_of_one_pair(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """Who wrote to one number of ours, or to another tenant, opened no window elsewhere."""
    await they_write(gateway, account)
    other = await connect(gateway, "twilio", Channel.WHATSAPP, "+15551230077")
    assert other
    assert {"body"} == set(await refusal(ask, body="Hello", **{"from": "+15551230077"}))
    await connect(gateway, "meta", Channel.WHATSAPP, tenant=gateway.b)
    body = {"channel": "whatsapp", "to": ADA, "body": "Hello"}
    refused = await ask("POST", "/v1/messages", body, key=gateway.b.key)
    assert {"body"} == set(refused.fields())


async def test_closes_before_it_is_sent(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """A text whose window closed while it waited leaves as its template, or has failed."""
    await make_template(ask, META)
    await they_write(gateway, account)
    alone = await send(ask, "whatsapp", ADA, body="Hello")
    both = await send(
        ask, "whatsapp", ADA, body="Hello", template="visit", variables={"day": "Monday"}
    )
    await age(gateway, 25)
    await step(api.worker(gateway))

    failed, sent = await row_of(ask, alone), await row_of(ask, both)
    assert ("failed", "window_closed") == (failed["status"], failed["error_code"])
    assert ("sent", 1, "template") == (sent["status"], len(api.asked), api.last["type"])
    assert "visit" == api.last["template"]["name"]


async def test_opens_anew(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A text whose window closed and opened again leaves as a text."""
    await they_write(gateway, account)
    sent = await send(ask, "whatsapp", ADA, body="Hello")
    await age(gateway, 25)
    await they_write(gateway, account)
    await step(api.worker(gateway))

    assert ("sent", "text") == ((await row_of(ask, sent))["status"], api.last["type"])


async def test_meta_template(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A template row that names Meta's is rendered into it; our own log shows the text."""
    assert account
    header = {"type": "header", "parameters": [{"type": "text", "text": "{{ day|upper }}"}]}
    await make_template(ask, META | {"components": [header], "parameters": 2})
    sent = await send(ask, "whatsapp", ADA, template="visit", variables={"day": "Monday"})
    await step(api.worker(gateway))

    assert "Your visit on Monday" == sent["body"]
    texts = [{"type": "text", "text": "Monday"}, {"type": "text", "text": "at noon"}]
    assert {
        "name": "visit",
        "language": {"code": "en_GB"},
        "components": [
            {"type": "header", "parameters": [{"type": "text", "text": "MONDAY"}]},
            {"type": "body", "parameters": texts},
        ],
    } == api.last["template"]
    assert "sent" == (await row_of(ask, sent))["status"]


async def test_twilio_template(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A template row that names a ContentSid leaves through Twilio with its variables."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    api.says(201, {"sid": "MM" + "1" * 32})
    await make_template(ask, TWILIO)
    await send(ask, "whatsapp", ADA, template="visit", variables={"day": "Monday"})
    await step(api.worker(gateway))

    assert ("HX" + "b" * 32, '{"1": "Monday"}') == (
        api.last["ContentSid"],
        api.last["ContentVariables"],
    )
    assert (f"whatsapp:{ADA}", f"whatsapp:{OURS[Channel.WHATSAPP]}") == (
        api.last["To"],
        api.last["From"],
    )


@pytest.mark.parametrize(
    ("options", "variables", "field"),
    [
        (META | {"parameters": 3}, {"day": "Monday"}, "options.variables"),
        (META, {}, "variables.day"),
        (META, {"day": "Mon\nday"}, "variables"),
        (META, {"day": " "}, "variables"),
        (None, {"day": "Monday"}, "template"),
        (META, {"day": "Monday", "a": {}}, None),
    ],
)
async def test_template_with_wrong_values(
    ask: Ask, account: UUID, options: Any, variables: dict[str, Any], field: str | None
) -> None:
    """What the provider would refuse a template for, is refused by name before."""
    assert account
    await make_template(ask, options)
    body = {"channel": "whatsapp", "to": ADA, "template": "visit", "variables": variables}
    answer = await ask("POST", "/v1/messages", body)
    assert (422 if field else 202) == answer.status, answer.body
    assert field is None or {field} == set(answer.fields())


async def test_body_and_template(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A text with a template beside it is the text within the window, and the template outside."""
    await make_template(ask, META)
    said = {"body": "Hello", "template": "visit", "variables": {"day": "Monday"}}
    outside = await send(ask, "whatsapp", ADA, **said)
    await step(api.worker(gateway))
    assert ("template", "sent") == (api.last["type"], (await row_of(ask, outside))["status"])
    await they_write(gateway, account)
    await send(ask, "whatsapp", ADA, **said)
    await step(api.worker(gateway))
    assert ("text", "Hello") == (api.last["type"], api.last["text"]["body"])


async def test_quote(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """An answer quotes what it answers, in both directions, and only on its own channel."""
    await they_write(gateway, account)
    (asked,) = await inbound_of(ask)
    sent = await send(ask, "whatsapp", ADA, body="Yes", in_reply_to=asked["id"])
    await step(api.worker(gateway))
    assert {"message_id": asked["external_id"]} == api.last["context"]

    text = whatsapp_text("Thanks", wamid="wamid.q", sender=ADA[1:])
    text |= {"context": {"from": "15551230009", "id": "wamid.out"}}
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    assert sent["id"] == (await inbound_of(ask))[0]["metadata"]["reply_to"]
    wrong = {"channel": "sms", "to": ADA, "body": "x", "in_reply_to": asked["id"]}
    assert {"in_reply_to"} == set((await ask("POST", "/v1/messages", wrong)).fields())


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.WHATSAPP, Channel.CALL])
async def test_who_quotes_nothing(gateway: Gateway, ask: Ask, api: Api, channel: Channel) -> None:
    """Twilio quotes no messages: a request that wants it to is refused by name, and a reply without
    it leaves."""
    if channel is not Channel.SMS:
        await connect(gateway, "twilio", channel)
    event = "call" if channel is Channel.CALL else "message"
    prefix = "whatsapp:" if channel is Channel.WHATSAPP else ""
    sid = ("CA" if event == "call" else "SM") + "1" * 32
    fields = {"MessageSid": sid, "CallSid": sid, "Body": "When?", "CallStatus": "ringing"}
    fields |= {
        "From": prefix + ADA,
        "To": prefix + OURS.get(channel, gateway.a.sender),
        "Direction": "inbound",
    }
    assert 200 == (await from_twilio(gateway, event, fields)).status
    (asked,) = await inbound_of(ask)
    said = {"channel": channel, "to": ADA, "body": "Monday", "in_reply_to": asked["id"]}
    reply = f"/v1/conversations/{asked['conversation_id']}/messages"
    answers = [
        await ask("POST", "/v1/messages", said),
        await ask("POST", reply, {"body": "Monday", "in_reply_to": asked["id"]}),
    ]
    text = f"is not used: Twilio quotes no messages on {channel}"
    for refused in answers:
        assert (422, {"in_reply_to": text}) == (refused.status, refused.fields())

    assert 202 == (await ask("POST", reply, {"body": "Monday"})).status
    api.says(201, {"sid": sid[:2] + "2" * 32, "status": "queued"})
    await step(api.worker(gateway))
    (sent,) = (await ask("GET", "/v1/messages?direction=outbound")).body["data"]
    assert "sent" == sent["status"]


@pytest.mark.parametrize("external_id", ["SM" + "1" * 32, None])
async def test_what_meta_does_not_have(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, external_id: str | None
) -> None:
    """Meta quotes its own messages: one that another provider carried, or that has not left, is
    refused by name; where the sender has moved to Meta meanwhile, a message leaves without it."""
    await they_write(gateway, account)
    (asked,) = await inbound_of(ask)
    said = {"channel": "whatsapp", "to": ADA, "body": "Yes", "in_reply_to": asked["id"]}
    waiting = await send(ask, **said)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET external_id = $1 WHERE id = $2", external_id, asked["id"]
        )
        change = "UPDATE messages SET parts = jsonb_set(parts, '{quotes}', $1) WHERE id = $2"
        await db.execute(change, json.dumps(external_id), waiting["id"])
    refused = await ask("POST", "/v1/messages", said)
    await step(api.worker(gateway))

    assert (422, {"in_reply_to"}) == (refused.status, set(refused.fields()))
    assert ("Yes", False) == (api.last["text"]["body"], "context" in api.last)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [("+5511987654321", "551187654321"), ("+525512345678", "5215512345678")],
)
async def test_variants(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, ours: str, theirs: str
) -> None:
    """Brazil's and Mexico's two forms of a number share the window and the suppression, at accept
    and again when it is sent."""
    await they_write(gateway, account, sender=theirs)
    waiting = await send(ask, "whatsapp", ours, body="Hello")
    other = await send(ask, "whatsapp", f"+{theirs}", body="Hello")
    await they_write(gateway, account, "STOP", sender=theirs, at=time.time() - 5)
    assert 1 == len(await suppressed(ask))
    for to in (ours, f"+{theirs}"):
        assert {"to"} == set(await refusal(ask, to=to, body="Hello"))
    await step(api.worker(gateway))

    assert [] == api.asked
    for row in (waiting, other):
        assert "suppressed" == (await row_of(ask, row))["error_code"]
    found = await ask("GET", f"/v1/suppressions?channel=whatsapp&address=%2B{theirs}")
    assert 1 == len(found.body["data"])
    await they_write(gateway, account, "START", sender=ours)
    assert set() == await suppressed(ask)
    await send(ask, "whatsapp", ours, body="Hello")


@pytest.mark.parametrize("theirs", ["22507080912", "22997000001"])
async def test_a_number_of_before(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, theirs: str
) -> None:
    """Who wrote from an address as numbers of that country once were is answered there, and can
    stop us; nobody is called there."""
    await they_write(gateway, account, sender=theirs)
    await send(ask, "whatsapp", f"+{theirs}", body="Hello")
    await step(api.worker(gateway))
    assert theirs == api.last["to"].removeprefix("+")
    await they_write(gateway, account, "STOP", sender=theirs)
    assert {"to"} == set(await refusal(ask, to=f"+{theirs}", body="Hello"))
    wrong = {"channel": "sms", "to": f"+{theirs}", "body": "Hello"}
    assert {"to"} == set((await ask("POST", "/v1/messages", wrong)).fields())


async def test_lost_answer(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """Meta cannot be asked: a lost answer stays unknown until a report with our id moves it on."""
    await they_write(gateway, account)
    api.says(502)
    sent = await send(ask, "whatsapp", ADA, body="Hello")
    worker = api.worker(gateway, ask_every=0)
    for _ in range(4):
        await step(worker)
    assert (1, "unknown") == (len(api.asked), (await row_of(ask, sent))["status"])
    assert 0 == await gateway.count("gateway.queue")
    told = {"id": "wamid.late", "status": "delivered", "timestamp": "1790000000",
            "recipient_id": ADA[1:], "biz_opaque_callback_data": sent["id"]}  # fmt: skip
    value = whatsapp_value(statuses=[told])
    await from_meta(gateway, account, whatsapp_post(value))
    row = await row_of(ask, sent)
    assert ("delivered", "wamid.late") == (row["status"], row["external_id"])


async def test_twilio_inbound(gateway: Gateway, ask: Ask) -> None:
    """A message by Twilio opens the window, too."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    fields = {"MessageSid": "SM" + "4" * 32, "AccountSid": "AC" + "a" * 32, "Body": "Hi",
              "From": f"whatsapp:{ADA}", "To": f"whatsapp:{OURS[Channel.WHATSAPP]}"}  # fmt: skip
    assert 200 == (await from_twilio(gateway, "message", fields)).status
    await send(ask, "whatsapp", ADA, body="Hello")


async def test_a_lost_template_beside_another_message(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of a template Twilio tells its own text: while another message to that person is on its way,
    what Twilio lists may be that one, and the template is not taken for sent."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    await make_template(ask, TWILIO)
    first = await send(ask, "whatsapp", ADA, template="visit", variables={"day": "Monday"})
    worker = api.worker(gateway, ask_every=0, sure_after=3600)
    api.says(502)
    await step(worker)
    await send(ask, "whatsapp", ADA, template="visit", variables={"day": "Friday"}, priority="high")
    other = api.worker(gateway)
    (turn,) = await other.claim(1)
    taken = {
        "sid": "MM" + "4" * 32,
        "to": f"whatsapp:{ADA}",
        "from": f"whatsapp:{OURS[Channel.WHATSAPP]}",
        "body": "What Twilio made of Friday",
        "direction": "outbound-api",
        "date_created": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000"),
    }
    api.says(200, {"messages": [taken], "next_page_uri": None})
    await step(worker)

    row = await row_of(ask, first)
    assert first["id"] != str(turn.claimed.message_id)
    assert ("unknown", None) == (row["status"], row["external_id"])
