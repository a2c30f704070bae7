"""WhatsApp: where a template leaves in place of a text, the row says what the template says."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from channels.model import Channel
from tests.service.falling import follow, late, outbound, run
from tests.service.test_service_asking import hurry
from tests.service.test_service_held import CHANGE_MESSAGE, held
from tests.service.test_service_rules_of_others import as_crm
from tests.service.test_service_whatsapp import (
    ADA,
    META,
    TAKEN,
    TWILIO,
    account,
    age,
    make_template,
    refusal,
    they_write,
)
from tests.service.wires import (
    OURS,
    connect,
    from_twilio,
    row_of,
    send,
    step,
)

__all__ = ["account"]  # a fixture

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

FILE = {"url": "https://clinic.example/plan.pdf", "filename": "plan.pdf"}
SAID = {"body": "Hello Ada", "template": "visit", "variables": {"day": "Monday"}}
BOTH = SAID | {"attachments": [FILE]}
INSTEAD = "Your visit on Monday"
NO = (400, {"error": {"code": 131026, "message": "No."}})
LATER = (503, {"error": {"code": 131016, "message": "Service overloaded."}})
REFUSE = """
CREATE FUNCTION public.refuse_texts() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'texts stay';
END $$;
CREATE TRIGGER refuse_texts BEFORE UPDATE OF body ON messages FOR EACH ROW
EXECUTE FUNCTION public.refuse_texts();
"""


async def parts_of(gateway: Gateway, row: dict[str, Any]) -> dict[str, Any]:
    """What is stored of a message beyond its text."""
    found: dict[str, Any] = await run(
        gateway, "SELECT parts FROM messages WHERE id = $1", row["id"]
    )
    return found


async def kinds_of(ask: Ask, row: dict[str, Any]) -> list[str]:
    """The types of a message's events, the oldest first."""
    events = (await ask("GET", f"/v1/messages/{row['id']}/events")).body["data"]
    return [event["type"] for event in events][::-1]


async def found_by(ask: Ask, words: str) -> list[str]:
    """The messages of ours that a search finds."""
    answer = await ask("GET", f"/v1/messages?direction=outbound&q={words}")
    return [row["id"] for row in answer.body["data"]]


async def closing(
    gateway: Gateway, ask: Ask, account: UUID, said: dict[str, Any] = BOTH
) -> dict[str, Any]:
    """A text with a file and a template, whose window has closed since it was accepted."""
    await make_template(ask, META)
    await they_write(gateway, account)
    row = await send(ask, "whatsapp", ADA, **said)
    assert "Hello Ada" == row["body"]
    await age(gateway, 25)
    return row


def says_template(row: dict[str, Any]) -> bool:
    """Whether a row says what the template says, and has no file of the text."""
    return (INSTEAD, []) == (row["body"], row["attachments"])


async def test_accepted_outside_of_the_window(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """Where the window is closed, the answer, the check, the history and the search have the text
    of the template, which is what leaves; within it they have the text."""
    await make_template(ask, META)
    request = {"channel": "whatsapp", "to": ADA} | BOTH
    checked = (await ask("POST", "/v1/messages/check", request)).body
    assert (True, INSTEAD) == (checked["ok"], checked["parts"]["body"])
    assert "visit" == checked["parts"]["template"]["name"]
    row = await send(ask, "whatsapp", ADA, **BOTH)
    assert says_template(row)
    assert row == await row_of(ask, row)
    assert {"template"} == set(await parts_of(gateway, row))
    assert ([row["id"]], []) == (await found_by(ask, "visit"), await found_by(ask, "Hello"))
    await step(api.worker(gateway))
    assert ("template", True) == (api.last["type"], says_template(await row_of(ask, row)))
    batch = (await ask("POST", "/v1/messages/batch", {"messages": [request]})).body
    assert says_template(batch["data"][0]["message"])

    await they_write(gateway, account)
    checked = (await ask("POST", "/v1/messages/check", request)).body
    assert {"body": "Hello Ada"} == checked["parts"]
    batch = (await ask("POST", "/v1/messages/batch", {"messages": [request]})).body
    assert "Hello Ada" == batch["data"][0]["message"]["body"]


async def test_what_the_template_lacks(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """A template beside a text has to be whole, also while the window is open: what its own text
    lacks is named as for a template alone, and beside what is wrong with the text."""
    await make_template(ask, META, content="Your visit on {{ day }} in {{ place }}")
    missing = {"variables.place": "is missing, the template uses it"}
    alone = {name: value for name, value in SAID.items() if name != "body"}
    assert missing == await refusal(ask, **alone) == await refusal(ask, **SAID)
    await they_write(gateway, account)
    assert missing == await refusal(ask, **SAID)
    both = {"body", "variables.place"}
    assert both == set(await refusal(ask, **SAID | {"body": "x" * 5000}))
    long = SAID | {"variables": {"day": "Monday", "place": "x" * 5000}}
    assert {"template"} == set(await refusal(ask, **long))
    odd = SAID | {"options": {"language": 5}}
    assert {"options.language", "variables.place"} == set(await refusal(ask, **odd))


async def test_a_template_of_no_provider(gateway: Gateway, ask: Ask, account: UUID) -> None:
    """One that names no template of the provider's replaces no text; what else it lacks is named,
    too, and that it is empty is no reproach."""
    await they_write(gateway, account)
    await make_template(ask, None)
    fields = await refusal(ask, body="Hello", template="visit")
    assert {"template", "variables.day"} == set(fields)
    assert "names no template of the provider" in fields["template"]
    await run(gateway, "UPDATE message_templates SET content = ' '")
    assert {"template": fields["template"]} == await refusal(ask, body="Hello", template="visit")


async def test_closed_since_it_was_accepted(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """A text whose window closed while it waited says from then on what its template says; that it
    was another text is an event of its own, and the answer to its key stays as it was."""
    await make_template(ask, META)
    await they_write(gateway, account)
    key = {"Idempotency-Key": "once"}
    request = {"channel": "whatsapp", "to": ADA} | BOTH
    first = await ask("POST", "/v1/messages", request, headers=key)
    assert {"outside", "outside_text", "window_until"} == set(await parts_of(gateway, first.body))
    await age(gateway, 25)
    await step(api.worker(gateway))

    row = await row_of(ask, first.body)
    assert ("template", "sent", True) == (api.last["type"], row["status"], says_template(row))
    assert {"template"} == set(await parts_of(gateway, row))
    assert ["accepted", "attempt", "window_closed", "sent"] == await kinds_of(ask, row)
    assert ([row["id"]], []) == (await found_by(ask, "visit"), await found_by(ask, "Hello"))
    why = (await ask("GET", f"/v1/messages/{row['id']}/why")).body["timeline"]
    assert any("its template is sent in place of the text" in each["text"] for each in why)
    again = await ask("POST", "/v1/messages", request, headers=key)
    assert first.body == again.body


async def test_once_switched(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """What was switched is the template at every later attempt, also when they have written again,
    and when it is sent anew after it failed."""
    row = await closing(gateway, ask, account)
    worker = api.worker(gateway)
    api.says(*LATER)
    await step(worker)
    assert says_template(await row_of(ask, row))
    await they_write(gateway, account)
    await hurry(gateway)
    api.says(*NO)
    await step(worker)
    assert ("template", 2) == (api.last["type"], len(api.asked))
    assert 1 == (await kinds_of(ask, row)).count("window_closed")

    retried = await ask("POST", f"/v1/messages/{row['id']}/retry")
    assert 202 == retried.status, retried.body
    assert says_template(retried.body)
    api.says(200, TAKEN)
    await step(worker)
    assert ("template", "visit") == (api.last["type"], api.last["template"]["name"])


async def test_sent_anew_outside_of_the_window(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """A text that failed and is sent anew once the window is closed says what its template says;
    within the window it is the text, which can still be switched."""
    await make_template(ask, META)
    await they_write(gateway, account)
    worker = api.worker(gateway)
    api.says(*NO)
    first = await send(ask, "whatsapp", ADA, **BOTH)
    await step(worker)
    assert "failed" == (await row_of(ask, first))["status"]
    second = (await ask("POST", f"/v1/messages/{first['id']}/retry")).body
    assert ("Hello Ada", 1) == (second["body"], len(second["attachments"]))
    assert INSTEAD == (await parts_of(gateway, second))["outside_text"]
    await step(worker)
    await age(gateway, 25)
    third = (await ask("POST", f"/v1/messages/{second['id']}/retry")).body
    assert says_template(third)
    assert {"template"} == set(await parts_of(gateway, third))


async def test_an_earlier_gateway_kept_no_text(
    gateway: Gateway, ask: Ask, api: Api, account: UUID
) -> None:
    """Of a message that was accepted before the template's text was kept, the template leaves all
    the same; its text stays, without the file that did not leave."""
    row = await closing(gateway, ask, account)
    forget = "UPDATE messages SET parts = parts - 'outside_text' WHERE id = $1"
    await run(gateway, forget, row["id"])
    await step(api.worker(gateway))

    now = await row_of(ask, row)
    assert ("template", "sent") == (api.last["type"], now["status"])
    assert ("Hello Ada", []) == (now["body"], now["attachments"])
    assert {"template"} == set(await parts_of(gateway, row))


async def test_a_lost_answer_of_what_was_switched(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Its provider is asked for the template, of which it has a text of its own."""
    await connect(gateway, "twilio", Channel.WHATSAPP)
    await make_template(ask, TWILIO)
    fields = {"MessageSid": "SM" + "4" * 32, "AccountSid": "AC" + "a" * 32, "Body": "Hi",
              "From": f"whatsapp:{ADA}", "To": f"whatsapp:{OURS[Channel.WHATSAPP]}"}  # fmt: skip
    assert 200 == (await from_twilio(gateway, "message", fields)).status
    row = await send(ask, "whatsapp", ADA, **BOTH)
    await age(gateway, 25)
    worker = api.worker(gateway, ask_every=0)
    api.says(502)
    await step(worker)
    now = await row_of(ask, row)
    assert ("unknown", True) == (now["status"], says_template(now))
    assert "ContentSid" in api.last
    taken = {
        "sid": "MM" + "4" * 32,
        "to": f"whatsapp:{ADA}",
        "from": f"whatsapp:{OURS[Channel.WHATSAPP]}",
        "body": "What Twilio made of Monday",
        "direction": "outbound-api",
        "date_created": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S +0000"),
    }
    api.says(200, {"messages": [taken], "next_page_uri": None})
    await step(worker)

    now = await row_of(ask, row)
    assert ("sent", "MM" + "4" * 32, 2) == (now["status"], now["external_id"], len(api.asked))


@pytest.mark.parametrize(
    "meanwhile",
    [
        "UPDATE gateway.queue SET lease_until = now() WHERE message_id = $1",
        "UPDATE gateway.queue SET lease_id = gen_random_uuid() WHERE message_id = $1",
        "UPDATE messages SET external_id = 'wamid.text' WHERE id = $1",
        "UPDATE messages SET status = 'sent' WHERE id = $1",
    ],
)
async def test_what_is_not_ours_any_more(
    gateway: Gateway, ask: Ask, api: Api, account: UUID, meanwhile: str
) -> None:
    """Nothing is switched, and nothing leaves, where the lease was lost, or the text is known to
    have been sent."""
    row = await closing(gateway, ask, account, SAID)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    await run(gateway, meanwhile, UUID(row["id"]))
    await worker.work(turn)

    assert ([], "Hello Ada") == (api.asked, (await row_of(ask, row))["body"])
    assert {"outside", "outside_text", "window_until"} == set(await parts_of(gateway, row))
    await run(gateway, "UPDATE gateway.queue SET lease_until = now() WHERE lease_id IS NOT NULL")
    await step(api.worker(gateway))
    now = await row_of(ask, row)
    if "queue" in meanwhile:
        assert ("template", INSTEAD) == (api.last["type"], now["body"])
    else:
        assert ([], "Hello Ada") == (api.asked, now["body"])
        assert 0 == await gateway.count("gateway.queue")


async def test_a_row_that_is_held(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """While another program holds the row nothing leaves; afterwards the template does."""
    row = await closing(gateway, ask, account)
    worker = api.worker(gateway)
    (turn,) = await worker.claim(1)
    async with held(gateway, CHANGE_MESSAGE, row["id"]), asyncio.timeout(9):
        await worker.work(turn)
        assert [] == api.asked
    await step(worker)
    assert ("template", True) == (api.last["type"], says_template(await row_of(ask, row)))


async def test_a_row_that_a_rule_keeps(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """Where a trigger of another program's refuses the other text, nothing leaves: it waits longer
    each time, and fails in the end."""
    row = await closing(gateway, ask, account)
    await as_crm(gateway, REFUSE)
    worker = api.worker(gateway, most_refusals=1)
    await step(worker)
    assert ("refused_for_now", []) == ((await kinds_of(ask, row))[-1], api.asked)
    await hurry(gateway)
    await step(worker)

    now = await row_of(ask, row)
    assert ("failed", "form", "Hello Ada") == (now["status"], now["error_code"], now["body"])
    assert [] == api.asked


async def test_steps_of_a_fallback(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A step with a text and a template is one or the other, too, when it is stored and when it is
    sent; one without a text of its own has the request's, whatever the first message became."""
    await make_template(ask, META)
    chat = {"channel": "whatsapp", "body": "Hello Ada", "template": "visit", "after": 60}
    sms = {"body": "First", "variables": {"day": "Monday"}, "fallback": [chat]}
    lacking = {"channel": "sms", "to": ADA} | sms | {"variables": {}}
    fields = (await ask("POST", "/v1/messages", lacking)).fields()
    assert {"fallback.0.variables.day"} == set(fields)
    await send(ask, "sms", ADA, **sms)
    await late(gateway)
    assert 1 == await follow(gateway)
    assert INSTEAD == (await outbound(ask))[-1]["body"]

    await they_write(gateway, account)
    await send(ask, "sms", ADA, **sms)
    await late(gateway)
    assert 1 == await follow(gateway)
    step_row = (await outbound(ask))[-1]
    assert "Hello Ada" == step_row["body"]
    await age(gateway, 25)
    await step(api.worker(gateway))
    assert says_template(await row_of(ask, step_row))

    first = await send(ask, "whatsapp", ADA, **SAID, fallback=[{"channel": "sms", "after": 60}])
    assert says_template(first)
    await late(gateway)
    assert 1 == await follow(gateway)
    last = (await outbound(ask))[-1]
    assert ("sms", "Hello Ada") == (last["channel"], last["body"])
