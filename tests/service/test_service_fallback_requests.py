"""Requests with a fallback: what is accepted, refused, and answered again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from channels.model import Channel
from tests.service.falling import (
    ADA,
    BY_MAIL,
    MAIL,
    SMS,
    follow,
    known,
    late,
    outbound,
    run,
    shown,
    told,
)
from tests.service.wires import OURS, connect, from_twilio, send, step

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api


@pytest.fixture(autouse=True)
async def ada(gateway: Gateway, ask: Ask, api: Api) -> dict[str, Any]:
    """A lead who has a number and a mailbox."""
    return await known(gateway, ask, api)


async def test_time_counts_from_when_it_may_leave(gateway: Gateway, ask: Ask) -> None:
    """A message for another day has as long as one that leaves at once."""
    await send(ask, "sms", ADA, **SMS, send_at="2090-01-01T12:00:00Z")
    due = await run(gateway, "SELECT due_at::text FROM gateway.fallbacks")
    assert due.startswith("2090-01-01 12:01:00")


async def test_test_key(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Its steps, too, make no request outside."""
    request = {"channel": "sms", "to": ADA} | SMS
    sent = await ask("POST", "/v1/messages", request, key=gateway.a.test_key)
    assert 202 == sent.status
    await late(gateway)
    assert 1 == await follow(gateway)
    shown_as = [row["metadata"]["provider"] for row in await outbound(ask)]
    assert [{"test": True}] * 2 == shown_as
    await step(api.worker(gateway))
    assert [] == api.asked
    assert [("sms", "canceled"), ("email", "delivered")] == await shown(ask)


async def test_an_answer_again(gateway: Gateway, ask: Ask) -> None:
    """A repeated key stores no second fallback."""
    headers = {"Idempotency-Key": "one"}
    request = {"channel": "sms", "to": ADA} | SMS
    one = await ask("POST", "/v1/messages", request, headers=headers)
    two = await ask("POST", "/v1/messages", request, headers=headers)
    assert (202, one.body) == (two.status, two.body)
    assert 1 == await gateway.count("gateway.fallbacks")


async def test_a_batch(gateway: Gateway, ask: Ask) -> None:
    """Messages with and without, and one whose step is wrong, each for itself."""
    plain = {"channel": "sms", "to": ADA, "body": "Hello"}
    wrong = plain | {"fallback": [{"channel": "sms", "to": "12", "after": 1}]}
    steps = {"fallback": [{"channel": "sms", "after": 1, "body": "Again"}]}
    answer = await ask("POST", "/v1/messages/batch", {"messages": [plain, wrong, plain | steps]})
    assert [202, 422, 202] == [item["status"] for item in answer.body["data"]]
    await late(gateway)
    assert 1 == await follow(gateway)
    assert ["Hello", "Hello", "Again"] == [row["body"] for row in await outbound(ask)]


async def test_a_reply(gateway: Gateway, ask: Ask) -> None:
    """It goes where they wrote from, and its step to the same person."""
    inbound = {"MessageSid": "SM" + "9" * 32, "From": ADA, "To": gateway.a.sender, "Body": "Hi"}
    assert 200 == (await from_twilio(gateway, "message", inbound)).status
    (conversation,) = (await ask("GET", "/v1/conversations")).body["data"]
    path = f"/v1/conversations/{conversation['id']}/messages"
    assert 202 == (await ask("POST", path, SMS)).status
    await late(gateway)
    assert 1 == await follow(gateway)
    assert {conversation["id"]} == {row["conversation_id"] for row in await outbound(ask)}


async def test_whoever_wants_none_has_nothing_to_do_with_it(
    gateway: Gateway, ask: Ask, api: Api
) -> None:
    """No statement touches the table of fallbacks for a message without one, to its end."""
    await run(gateway, "REVOKE ALL ON gateway.fallbacks FROM service_role")
    await send(ask, "sms", ADA, body="Hello")
    await step(api.worker(gateway))
    await told(gateway, "delivered")
    assert [("sms", "delivered")] == await shown(ask)
    refused = await ask("POST", "/v1/messages", {"channel": "sms", "to": ADA} | SMS)
    assert 503 == refused.status


async def test_every_problem_is_named(gateway: Gateway, ask: Ask) -> None:
    """Each step is judged with its request; nothing of it is stored, and a check says the same."""
    await ask("POST", "/v1/templates", {"name": "t", "type": "sms", "content": "{{ name }}"})
    await ask("POST", "/v1/templates", {"name": "m", "type": "email", "content": "Hello"})
    await ask("POST", "/v1/suppressions", {"channel": "sms", "address": "+447700900199"})
    sms = {"channel": "sms", "to": ADA, "body": "Hello"}
    text = {"channel": "sms", "after": 1}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        (SMS | {"fallback": [BY_MAIL | {"to": "nobody"}]}, ["fallback.0.to"]),
        # somebody else's number: no mailbox is known; one that is none: that is all there is to say
        (SMS | {"to": "+447700900111"}, ["fallback.0.to"]),
        (SMS | {"to": "nobody"}, ["to"]),
        ({"fallback": [BY_MAIL | {"template": "m"}]}, ["fallback.0.template"]),
        ({"fallback": [{"channel": "call", "after": 1}]}, ["fallback.0.channel"]),
        ({"fallback": [text, text | {"template": "no"}]}, ["fallback.1.template"]),
        ({"fallback": [text | {"template": "t"}]}, ["fallback.0.variables.name"]),
        ({"fallback": [text | {"body": "x" * 1601}], "to": "1"}, ["fallback.0.body", "to"]),
        ({"fallback": [text], "body": None}, ["body"]),
        ({"fallback": [text, text | {"to": "+447700900199"}]}, ["fallback.1.to"]),
        ({"fallback": [text], "variables": {"name": "Ada"}}, ["variables"]),
        ({"fallback": [text], "subject": "From us"}, ["subject"]),
        # the request's own subject, which both steps would have
        (SMS | {"subject": "a\nb", "fallback": [BY_MAIL, BY_MAIL]}, ["subject"]),
        ({"fallback": [BY_MAIL | {"body": " "}]}, ["fallback.0.body"]),
    ]
    requests = [{k: v for k, v in (sms | case).items() if v} for case, _ in cases]

    answer = await ask("POST", "/v1/messages/batch", {"messages": requests})

    problems = [item["problem"]["errors"] for item in answer.body["data"]]
    assert [fields for _, fields in cases] == [
        sorted(error["field"] for error in errors) for errors in problems
    ]
    assert 0 == await gateway.count("messages")
    for request, errors in zip(requests, problems, strict=True):
        checked = await ask("POST", "/v1/messages/check", request)
        assert (False, errors) == (checked.body["ok"], checked.body["errors"])


async def test_all_that_is_sent_instead_is_kept_small(ask: Ask) -> None:
    """The steps of a request have at most 1 MiB together, whatever their first message has."""
    mail = {"channel": "email", "to": MAIL, "subject": "Hello", "body": "<" * 150_000}
    assert 202 == (await ask("POST", "/v1/messages", mail | {"fallback": [BY_MAIL]})).status
    answer = await ask("POST", "/v1/messages", mail | {"fallback": [BY_MAIL] * 2})
    assert 422 == answer.status
    ((field, text),) = answer.fields().items()
    assert "fallback" == field
    assert "1.43 MiB" in text
    assert "1 MiB" in text
    unread = mail | {"fallback": [BY_MAIL] * 2, "variables": 5}
    answer = await ask("POST", "/v1/messages", unread)
    assert {"fallback", "variables"} == set(answer.fields())


async def test_a_mail_of_which_nothing_can_be_the_subject(ask: Ask) -> None:
    """Its own text is named, and that it has none."""
    steps = [BY_MAIL | {"body": " "}]
    sms = {"channel": "sms", "to": ADA, "body": "Hello", "fallback": steps}
    answer = await ask("POST", "/v1/messages", sms)
    assert {"fallback.0.body": "A mail needs a text."} == answer.fields()


async def test_whatsapp_after_its_window(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A free text needs an open window when the request is made, and once more when it is sent: one
    that comes too late has failed, and the next step follows."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    chat = {"channel": "whatsapp", "after": 60}
    steps = {"body": "Hello", "fallback": [chat, {"channel": "sms", "body": "Last", "after": 60}]}
    refused = await ask("POST", "/v1/messages", {"channel": "sms", "to": ADA} | steps)
    assert (422, ["fallback.0.body"]) == (refused.status, list(refused.fields()))
    inbound = {"MessageSid": "SM" + "9" * 32, "Body": "Hi", "From": f"whatsapp:{ADA}",
               "To": f"whatsapp:{OURS[Channel.WHATSAPP]}"}  # fmt: skip
    assert 200 == (await from_twilio(gateway, "message", inbound)).status
    soon = {"send_at": "2090-01-01T12:00:00Z"}
    refused = await ask("POST", "/v1/messages", {"channel": "sms", "to": ADA} | steps | soon)
    assert (422, ["fallback.0.body"]) == (refused.status, list(refused.fields()))
    await send(ask, "sms", ADA, **steps)
    await late(gateway)
    assert 1 == await follow(gateway)
    await run(gateway, "UPDATE gateway.correspondence SET last_inbound_at = now() - interval '2 d'")
    past = """UPDATE messages SET parts = jsonb_set(parts, '{window_until}', '"2020-01-01T00:00Z"')
      WHERE channel = 'whatsapp' AND direction = 'outbound'"""
    await run(gateway, past)
    await step(api.worker(gateway))

    assert 1 == await follow(gateway)
    shown_ = [("sms", "canceled"), ("whatsapp", "failed"), ("sms", "pending")]
    assert shown_ == await shown(ask)


async def test_a_mail_without_a_subject(gateway: Gateway, ask: Ask) -> None:
    """A step has no field for one: it is the first message's, the request's, or its first line."""
    long = "Your results are here: " + "please call us before noon, " * 4
    mail = {"channel": "email", "to": MAIL, "body": "Hello", "subject": "Its own"}
    wide = "x" * 90
    messages = [
        mail | {"fallback": [BY_MAIL | {"body": "By mail"}]},
        {"channel": "sms", "to": ADA, "body": long, "fallback": [BY_MAIL]},
        {"channel": "sms", "to": ADA, "body": f" Hi\tAda \nAll is well.\n{wide}",
         "fallback": [BY_MAIL, BY_MAIL | {"body": wide}, BY_MAIL | {"body": "\x1b\nA \x1bcode"}]},
    ]  # fmt: skip
    for message in messages:
        assert 202 == (await ask("POST", "/v1/messages", message)).status
    for _ in range(3):
        await late(gateway)
        await follow(gateway)
    mails = [row for row in await outbound(ask) if "fallback_of" in row["metadata"]]
    subjects = ["Its own", "Your results are here: please call us before noon, please call us…"]
    assert {*subjects, "Hi Ada", wide[:70], "A code"} == {row["subject"] for row in mails}
