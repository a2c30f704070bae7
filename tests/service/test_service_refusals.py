"""What is refused is refused for every reason at once, and by the reason that it has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from channels.model import Channel
from gateway.observability.metrics import Metrics
from tests.service.wires import connect

if TYPE_CHECKING:
    from tests.service.conftest import Answer, Ask, Gateway

SMS = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
MAIL = {"channel": "email", "to": "a@b.example"}
GREETING = MAIL | {"template": "greet"}
LACKING = ["variables.m", "variables.n"]
FILE = {"url": "https://example.com/a.png"}


@pytest.fixture(autouse=True)
async def clinic(gateway: Gateway, ask: Ask) -> None:
    """Tenant A sends on the other channels, too, and has templates that need variables."""
    await connect(gateway, "sendgrid", Channel.EMAIL, "c@example.com")
    await connect(gateway, "twilio", Channel.CALL, "+15551230003")
    await connect(gateway, "meta", Channel.WHATSAPP)
    for made in (
        {"name": "greet", "type": "sms", "content": "Hi {{ name }}"},
        {"name": "greet", "type": "call", "content": "Hi {{ name }}"},
        {"name": "greet", "type": "email", "subject": "Hi {{ n }}", "content": "Yo {{ m }}"},
        {"name": "visit", "type": "whatsapp", "content": "Hi"}
        | {"options": {"name": "visit", "language": "en"}},
    ):
        assert 201 == (await ask("POST", "/v1/templates", made)).status


def named(answer: Answer) -> list[str]:
    """The fields that an answer names, each as often as it does."""
    return sorted(error["field"] for error in answer.body["errors"])


# What is asked for, and every field with something wrong.
REFUSED: list[tuple[dict[str, Any], list[str]]] = [
    (
        SMS | {"to": "nobody", "body": None, "template": "nope", "priority": "x"},
        ["priority", "template", "to"],
    ),
    (SMS | {"to": "nobody", "colour": "red", "size": 7}, ["colour", "size", "to"]),
    # What was given, and is wrong, is not missing beside.
    (SMS | {"to": 7, "from": "+15559999999"}, ["from", "to"]),
    (SMS | {"to": 7, "lead_id": "x", "send_at": "now"}, ["lead_id", "send_at", "to"]),
    ({"channel": "sms", "lead_id": "x", "body": "Hello"}, ["lead_id"]),
    (SMS | {"body": 7}, ["body"]),
    (SMS | {"body": "\x00", "to": "nobody"}, ["body", "to"]),
    (SMS | {"body": 7, "template": "greet"}, ["body", "body"]),
    ({"channel": "sms", "to": "nobody", "template": 7}, ["template", "to"]),
    ({"channel": "sms", "to": "nobody", "template": 7, "variables": {"a": 1}}, ["template", "to"]),
    (SMS | {"from": 7, "to": "nobody"}, ["from", "to"]),
    ({"channel": "sms", "to": "nobody", "template": "greet", "variables": 7}, ["to", "variables"]),
    ({"channel": "sms", "to": "nobody", "options": 7}, ["options", "to"]),
    (SMS | {"options": 7, "expires_at": "2001-01-01T00:00:00Z"}, ["expires_at", "options"]),
    (
        SMS | {"metadata": 7, "reference": 7, "client_id": str(uuid4())},
        ["client_id", "metadata", "reference"],
    ),
    (
        SMS | {"attachments": [{"url": 7}, FILE, {"url": "ftp://x"}, {"size": 7}]},
        ["attachments.0.url", "attachments.2.url", "attachments.3.size"],
    ),
    ({"channel": "sms", "to": "nobody", "attachments": 7}, ["attachments", "to"]),
    (SMS | {"fallback": 7, "to": "nobody", "variables": {"a": 1}}, ["fallback", "to"]),
    (
        # the second step cannot be read, and is not said to lack what it cannot have
        SMS
        | {
            "subject": "For the second",
            "variables": {"a": 1},
            "fallback": [
                {"channel": "sms", "to": "nobody", "after": 1},
                {"channel": "email", "template": 7, "after": 1},
                {"channel": "sms", "template": "nope", "after": 1},
            ],
        },
        ["fallback.0.to", "fallback.1.template", "fallback.2.template"],
    ),
    ({"channel": "email", "to": "nobody", "body": 7}, ["body", "subject", "to"]),
    (
        {"channel": "email", "to": "a@b.example", "subject": 7, "html_body": 7},
        ["html_body", "subject"],
    ),
    (SMS | {"in_reply_to": 7, "to": "nobody"}, ["in_reply_to", "to"]),
    # Each part for itself: what is wrong in one does not end the reading of another.
    (GREETING | {"options": {"bogus": 1}}, ["options.bogus", *LACKING]),
    (
        GREETING | {"options": {"bogus": 1, "unsubscribe": 7, "reply_to": "x"}},
        ["options.bogus", "options.reply_to", "options.unsubscribe", *LACKING],
    ),
    (
        {"channel": "call", "to": SMS["to"], "body": "Hi"}
        | {"options": {"repeat": 9, "voice": "a b", "language": "c d"}},
        ["options.language", "options.repeat", "options.voice"],
    ),
    (
        {"channel": "whatsapp", "to": SMS["to"], "template": "visit"}
        | {"options": {"variables": {"1": " ", "2": "a\tb"}}},
        ["variables", "variables"],
    ),
    (
        SMS | {"body": "x" * 1601, "attachments": [FILE | {"filename": "a/b"}]},
        ["attachments", "body"],
    ),
    (GREETING | {"attachments": [FILE | {"url": "x"}]}, ["attachments.0.url", *LACKING]),
    (GREETING | {"in_reply_to": str(uuid4())}, ["in_reply_to", *LACKING]),
    (
        GREETING | {"options": {"reply_to": "x"}, "in_reply_to": str(uuid4()), "attachments": [{}]},
        ["attachments.0", "in_reply_to", "options.reply_to", *LACKING],
    ),
    (
        MAIL | {"template": "nope", "attachments": [{}], "in_reply_to": str(uuid4())},
        ["attachments.0", "in_reply_to", "template"],
    ),
    (
        {"channel": "call", "to": SMS["to"], "template": "greet", "options": {"repeat": 9}},
        ["options.repeat", "variables.name"],
    ),
    (MAIL, ["body", "subject"]),
    (MAIL | {"body": " "}, ["body", "subject"]),
    (
        MAIL | {"body": "Hello", "attachments": [FILE | {"filename": "a/b.txt"}]},
        ["attachments", "subject"],
    ),
    (SMS | {"body": "x" * 1601, "attachments": [{}]}, ["attachments.0", "body"]),
    (
        {"channel": "whatsapp", "to": SMS["to"], "body": "Hi", "attachments": [{}]},
        ["attachments.0", "body"],
    ),
    (
        # what was meant by it is not known, so it is not said to be a free text
        {"channel": "whatsapp", "to": SMS["to"], "body": "Hi", "options": {"bogus": 1}},
        ["options.bogus"],
    ),
    ({"channel": "call", "to": SMS["to"], "body": "Hi", "attachments": [FILE]}, ["attachments"]),
    # What was left out may have stood for a text that is blank.
    (SMS | {"body": "", "attachments": [{"url": "nope"}]}, ["attachments.0.url"]),
    (
        {"channel": "call", "to": SMS["to"], "body": "", "options": {"repeat": 9}},
        ["options.repeat"],
    ),
    (
        {"channel": "whatsapp", "to": SMS["to"], "body": "", "options": {"bogus": 1}},
        ["options.bogus"],
    ),
    (
        {"channel": "whatsapp", "to": SMS["to"], "template": "visit", "options": {"bogus": 1}},
        ["options.bogus"],
    ),
    (
        {"channel": "whatsapp", "to": SMS["to"], "body": "Hi", "template": "visit"}
        | {"options": {"bogus": 1}},
        ["options.bogus"],
    ),
    # A step says what the first message cannot be read for, and lacks its subject with it.
    (
        {"channel": "sms", "to": SMS["to"], "template": "nope"}
        | {"fallback": [{"channel": "email", "to": "a@b.example", "after": 1}]},
        ["template"],
    ),
    # On whatever channel it may have been meant for.
    ({}, ["body", "channel", "to"]),
    (
        {"channel": "fax", "template": "nope", "priority": 7},
        ["channel", "priority", "template", "to"],
    ),
    ({"channel": "fax", "to": "+447700900123", "body": "Hello"}, ["channel"]),
    ({"to": "a@b.example", "body": "Hello", "lead_id": str(uuid4())}, ["channel", "lead_id"]),
]


async def test_all_of_it_at_once(gateway: Gateway, ask: Ask) -> None:
    """A field that cannot be read hides nothing else that is wrong and makes nothing else seem so,
    for one message, in a batch and in a check; nothing is stored."""
    for stored, (request, fields) in enumerate(REFUSED, start=1):
        given = {name: value for name, value in request.items() if value is not None}

        one = await ask("POST", "/v1/messages", given)
        batch = await ask("POST", "/v1/messages/batch", {"messages": [given, SMS]})

        assert (422, fields) == (one.status, named(one)), given
        refused, accepted = batch.body["data"]
        assert (one.body, 202) == (refused["problem"], accepted["status"]), given
        checked = await ask("POST", "/v1/messages/check", given)
        assert (200, False) == (checked.status, checked.body["ok"]), given
        assert one.body["errors"] == checked.body["errors"], given
        assert stored == await gateway.count("messages"), given


async def test_all_of_a_batch_at_once(ask: Ask) -> None:
    """What a batch lacks and what it has too much of is named together."""
    answer = await ask("POST", "/v1/messages/batch", {"message": [SMS], "dry": True})

    assert (422, ["dry", "message", "messages"]) == (answer.status, named(answer))


async def test_a_parameter_that_nothing_knows(gateway: Gateway, ask: Ask) -> None:
    """What changes something is not done with a parameter in its path that might mean that it is
    not to be done, or otherwise."""
    sent = (await ask("POST", "/v1/messages", SMS)).body["id"]

    for method, path, body in (
        ("POST", "/v1/messages?dry_run=1", SMS),
        ("POST", "/v1/messages/batch?dry_run=1", {"messages": [SMS]}),
        ("POST", f"/v1/messages/{sent}/cancel?dry_run", None),
        ("DELETE", f"/v1/templates/{uuid4()}?dry_run=1", None),
    ):
        answer = await ask(method, path, body)
        assert (422, ["dry_run"]) == (answer.status, named(answer)), path

    assert 1 == await gateway.count("messages")
    assert "pending" == (await ask("GET", f"/v1/messages/{sent}")).body["status"]


async def test_check_of_what_is_no_request(ask: Ask) -> None:
    """A check answers whatever JSON it is given with what is wrong; what can be read is shown."""
    for data in (b"[]", b"7", b'"text"', b"null"):
        checked = await ask("POST", "/v1/messages/check", data=data)
        assert (200, False, ["body"]) == (checked.status, checked.body["ok"], named(checked))
    partly = await ask("POST", "/v1/messages/check", SMS | {"priority": "x"})
    unread = await ask("POST", "/v1/messages/check", SMS | {"body": 7})

    assert {
        "ok": False,
        "errors": [{"field": "priority", "message": "Input should be 'high', 'normal' or 'bulk'"}],
        "from": "+15551230001",
        "to": "+447700900123",
        "parts": {"body": "Hello"},
        "encoding": "GSM-7",
        "segments": 1,
        "forced_by": None,
    } == partly.body
    assert ("+447700900123", None, None) == tuple(
        unread.body[name] for name in ("to", "parts", "segments")
    )
    assert 400 == (await ask("POST", "/v1/messages/check", data=b"{")).status


async def test_all_of_a_reply_at_once(ask: Ask) -> None:
    """A reply is refused for everything at once, too; where it would go still follows from what
    was said."""
    sent = await ask("POST", "/v1/messages", SMS)
    path = f"/v1/conversations/{sent.body['conversation_id']}/messages"
    for reply, fields in (
        ({"body": "Hello", "priority": "x"}, ["priority"]),
        ({"template": "nope", "priority": "x", "colour": 1}, ["colour", "priority", "template"]),
        ({"body": 7, "to": 7, "from": "+15559999999"}, ["body", "from", "to"]),
        ({"channel": "fax", "body": "Hello"}, ["channel"]),
        ({"channel": "email", "to": 7, "subject": 7}, ["body", "subject", "to"]),
    ):
        answer = await ask("POST", path, reply)
        assert (422, fields) == (answer.status, named(answer)), reply


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (2**64, "must not contain an integer of more than 64 bits"),
        ([-(2**63) - 1], "must not contain an integer of more than 64 bits"),
        ("\x00", "must not contain the character U+0000"),
        ({"\x00": 1}, "must not contain the character U+0000"),
        ("x" * 65_536, "must be at most 64 KiB; as JSON it has 65548 bytes"),
    ],
)
async def test_metadata_that_cannot_be_stored(ask: Ask, value: object, reason: str) -> None:
    """What PostgreSQL or others' JSON cannot hold is refused with what is wrong with it."""
    answer = await ask("POST", "/v1/messages", SMS | {"metadata": {"given": value}})

    assert (422, {"metadata": reason}) == (answer.status, answer.fields())


async def test_a_template_of_another_channel(ask: Ask) -> None:
    """Where a name has active templates of other channels only, the refusal says which."""
    await ask(
        "POST", "/v1/templates", {"name": "both", "type": "email", "subject": "Hi", "content": "Hi"}
    )
    made = await ask("POST", "/v1/templates", {"name": "both", "type": "sms", "content": "Hi"})
    await ask("PATCH", f"/v1/templates/{made.body['id']}", {"is_active": False})

    answer = await ask("POST", "/v1/messages", {**SMS, "body": None, "template": "both"})

    reason = "is of type email: there is no active one of type sms"
    assert (422, {"template": reason}) == (answer.status, answer.fields())


async def test_numbers_that_cannot_be_counted(
    gateway: Gateway, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is stored is answered as stored, whatever goes wrong with its numbers."""
    monkeypatch.setattr(Metrics, "accepted", lambda *_: 1 / 0)

    answer = await ask("POST", "/v1/messages", SMS)

    assert 202 == answer.status
    assert 1 == await gateway.count("messages")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/messages", '{"channel": "sms", "to": "+447700900123", "body": "x", %s}', "metadata"),
        ("/v1/leads", "{%s}", "custom_fields"),
        ("/v1/leads", "{%s}", "ai_score"),
    ],
)
async def test_numbers_that_no_double_has(
    gateway: Gateway, path: str, body: str, field: str
) -> None:
    """1e400 is refused by name, not stored as null; what a double has is kept."""
    headers = {"Authorization": f"Bearer {gateway.a.key}"}

    async def post(number: str) -> tuple[int, dict[str, Any]]:
        value = number if field == "ai_score" else f'{{"a": [{number}]}}'
        raw = body % f'"{field}": {value}'
        async with gateway.http.post(path, data=raw, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)

    status, told = await post("1e400")
    assert (422, [field]) == (status, [error["field"] for error in told["errors"]])
    _, kept = await post("1e300")
    assert (1e300 if field == "ai_score" else {"a": [1e300]}) == kept[field]
