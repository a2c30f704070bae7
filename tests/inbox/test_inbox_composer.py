"""Conversations in the inbox: answered on every channel, read, closed, given; whose they are."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from html import unescape
from uuid import uuid4

import pytest

from channels.model import Channel
from gateway.manage import setup
from tests.inbox.conftest import ORIGIN, Inbox, Shown
from tests.inbox.talking import ANN, MEMBER, hidden, reply, send, stored
from tests.service.conftest import Ask
from tests.service.wires import connect, from_meta, whatsapp_post, whatsapp_text, whatsapp_value


async def test_reply_once(inbox: Inbox, ask: Ask) -> None:
    """What is written goes to them, however often the form is sent; errors keep what was typed."""
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    key = hidden(await browser.get(path), "key")
    fields = {"key": key, "do": "send", "channel": "sms", "body": "See you\r\nsoon"}
    answers = await asyncio.gather(*(browser.post(f"{path}/reply", fields) for _ in range(3)))
    assert [303] * 3 == [each.status for each in answers]
    rows = (await ask("GET", "/v1/messages")).body["data"]
    assert ["See you\nsoon", "Hello"] == [row["body"] for row in rows]
    assert sent["conversation_id"] == rows[0]["conversation_id"]
    assert "on its way" in (await browser.get(f"{path}?done=sent")).words

    part = await browser.post(
        f"{path}/reply", {"do": "send", "body": "Again", "channel": "sms"}, HX_Request="true"
    )
    assert (200, "sent") == (part.status, part.headers["HX-Trigger-After-Settle"])
    assert "<html" not in part.text
    empty = await reply(browser, path, channel="sms", body="  ")
    assert 422 == empty.status
    assert "This was not sent." in empty.words
    far = await reply(browser, path, channel="sms", body="later", send_at="nonsense")
    assert (422, True) == (far.status, ">\nlater</textarea>" in far.text)


async def test_a_slow_form_holds_nothing(inbox: Inbox, ask: Ask) -> None:
    """Forms whose files are long on their way hold no connection of the database: everybody else's
    pages come as ever."""
    path = f"/c/{(await send(ask))['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    over = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"channel=sms"
        await over.wait()

    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
        "Origin": ORIGIN,
        "X-CSRF-Token": browser.csrf,
    }
    where = f"/inbox{path}/compose"
    async with asyncio.TaskGroup() as group:
        sent = [
            group.create_task(inbox.http.post(where, data=slow(), headers=headers))
            for _ in range(10)  # a pool has eight
        ]
        await asyncio.sleep(0.2)
        async with asyncio.timeout(5):
            assert 200 == (await browser.get("")).status
        over.set()
    assert {200} == {each.result().status for each in sent}


async def test_templates_and_their_variables(inbox: Inbox, ask: Ask) -> None:
    """A missing variable is named at its field; a preview shows what would be sent."""
    made = await ask(
        "POST",
        "/v1/templates",
        {"name": "t", "type": "sms", "content": "Hi {{ name }}, {{ day }}."},
    )
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    chosen = {"channel": "sms", "template": made.body["id"]}

    changed = await reply(browser, path, do="change", **chosen)
    assert 200 == changed.status
    assert 'name="variables.day"' in changed.text
    part = await browser.post(f"{path}/compose", chosen, HX_Request="true")
    assert 'name="variables.name"' in part.text
    missing = await reply(browser, path, **chosen, **{"variables.name": "Ann"})
    assert 422 == missing.status
    assert 'value="Ann"' in missing.text
    assert "is missing, the template uses it" in missing.words
    filled = {"variables.name": "Ann", "variables.day": "Monday"}
    checked = await reply(browser, path, do="check", **chosen, **filled)
    assert "This would be sent : 1 segment, GSM-7 Hi Ann, Monday." in checked.words
    unfilled = await reply(browser, path, do="check", **chosen)
    assert "This cannot be sent as it is" in unfilled.words
    assert 303 == (await reply(browser, path, **chosen, **filled)).status
    assert "Hi Ann, Monday." == (await ask("GET", "/v1/messages")).body["data"][0]["body"]


async def test_send_later_cancel_and_retry(inbox: Inbox, ask: Ask) -> None:
    """A time is the viewer's; what waits is canceled, what failed is sent again."""
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    browser.cookies["gateway_zone"] = "Asia/Tokyo"
    later = await reply(browser, path, channel="sms", body="later", send_at="2090-01-01T09:00")
    assert 303 == later.status
    row = (await ask("GET", "/v1/messages")).body["data"][0]
    assert "2090-01-01T00:00:00Z" == row["send_at"]
    assert later.location.endswith("?done=later")
    assert "is scheduled" in (await browser.get(f"{path}?done=later")).words
    fields = {"do": "send", "channel": "sms", "body": "then", "send_at": "2090-01-01T09:00"}
    part = await browser.post(f"{path}/reply", fields, HX_Request="true")
    assert ("is scheduled" in part.words, "on its way" in part.words) == (True, False)
    row = (await ask("GET", "/v1/messages")).body["data"][0]
    assert "Scheduled for" in (await browser.get(path)).words
    canceled = await browser.post(f"/m/{row['id']}/cancel")
    assert canceled.location.endswith(f"{path}?done=canceled")
    assert 409 == (await browser.post(f"/m/{row['id']}/cancel")).status
    assert "Canceled" in (await browser.get(f"/m/{row['id']}")).words

    await inbox.change(
        "UPDATE messages SET status = 'failed', error_code = '30003' WHERE id = $1", sent["id"]
    )
    failed = await browser.get(path)
    assert "Not delivered. The phone could not be reached" in failed.words
    assert "Send again" in failed.words
    again = await browser.post(f"/m/{sent['id']}/retry")
    assert again.location.endswith(f"{path}?done=again")
    assert sent["id"] == (await ask("GET", "/v1/messages")).body["data"][0]["retry_of"]
    why = await browser.get(f"/m/{sent['id']}/why")
    assert "What became of this message" in why.words
    assert "accepted" in why.words.lower()


async def test_a_reply_to_a_mail_without_a_subject(inbox: Inbox) -> None:
    """The subject is not left for the staff to invent; a text message has none."""
    await connect(inbox.gateway, "smtp", Channel.EMAIL, "desk@clinic.example")
    mail = await stored(inbox, channel="email", from_address="ann@c.example", subject=None)
    text = await stored(inbox, from_address="+447700900777")
    browser = await inbox.signed_in(MEMBER)

    by_mail, by_sms = [await browser.get(f"/c/{each['conversation_id']}") for each in (mail, text)]

    assert 'value="Re:"' in by_mail.text
    assert 'value="Re:"' not in by_sms.text


@pytest.mark.parametrize("channel", ["email", "whatsapp", "call"])
async def test_reply_on_each_channel(inbox: Inbox, ask: Ask, channel: str) -> None:
    """An e-mail with its subject, WhatsApp within its window only, a call."""
    gateway = inbox.gateway
    lead = {"first_name": "Ann", "phone": ANN, "email": "ann@c.example"}
    await ask("POST", "/v1/leads", lead)
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    if channel == "email":
        await connect(gateway, "smtp", Channel.EMAIL, "desk@clinic.example")
        await stored(inbox, channel="email", from_address="ann@c.example", subject="News")
        page = await reply(browser, path, do="change", channel="email")
        assert 'value="Re: News"' in page.text
        fields = {"subject": "Re: News"}
    elif channel == "whatsapp":
        account = await connect(gateway, "meta", Channel.WHATSAPP)
        closed = await reply(browser, path, channel="whatsapp", body="x")
        assert 422 == closed.status
        assert "accepts only a template" in closed.words
        text = whatsapp_text("hi", wamid="wamid.1", sender=ANN[1:])
        assert (
            200 == (await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))).status
        )
        page = await reply(browser, path, do="change", channel="whatsapp")
        assert "WhatsApp accepts free text for another" in page.words
        fields = {}
    else:
        await setup.add_sender(
            gateway.database, gateway.a.account_id, Channel.CALL, "+15551230001",
            is_default=True, rate=None,
        )  # fmt: skip
        fields = {}
    assert 303 == (await reply(browser, path, channel=channel, body="Hello there", **fields)).status
    row = (await ask("GET", f"/v1/messages?channel={channel}&direction=outbound")).body["data"][0]
    assert ("Hello there", sent["conversation_id"]) == (row["body"], row["conversation_id"])


async def test_when_whatsapps_window_ended(inbox: Inbox, ask: Ask) -> None:
    """A free text that it does not accept any more is refused with the time until which it did, in
    the zone of who reads that."""
    account = await connect(inbox.gateway, "meta", Channel.WHATSAPP)
    text = whatsapp_text("hi", wamid="wamid.1", sender=ANN[1:])
    await from_meta(inbox.gateway, account, whatsapp_post(whatsapp_value(text)))
    last = "UPDATE gateway.correspondence SET last_inbound_at = '2025-01-02 15:04:05Z'"
    await inbox.change(last)
    (row,) = (await ask("GET", "/v1/messages")).body["data"]
    browser = await inbox.signed_in(MEMBER)
    browser.cookies["gateway_zone"] = "Asia/Tokyo"
    page = await reply(browser, f"/c/{row['conversation_id']}", channel="whatsapp", body="Hello")

    assert 422 == page.status
    assert "of their last message, until Saturday 4 January 2025, 00:04: use a" in page.words


async def test_templates_outside_whatsapps_window(inbox: Inbox, ask: Ask) -> None:
    """Only those can be chosen that name one of the sender's provider's, and what was chosen
    before; within the window, all."""
    gateway = inbox.gateway
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    known = {"name": "ready", "language": "en", "variables": {}}
    of_twilio = {"content_sid": "HX" + "0" * 32, "name": None, "language": "en"}
    ids = {}
    for name, options in (("Ready", known), ("Free text", None), ("Twilio's", of_twilio)):
        template = {"name": name, "type": "whatsapp", "content": "Hello", "options": options}
        created = await ask("POST", "/v1/templates", template)
        ids[name] = created.body["id"]
    said = await stored(inbox, channel="whatsapp", to_address="+15551230009")
    path = f"/c/{said['conversation_id']}"
    await inbox.change("UPDATE messages SET created_at = now() - interval '3 days'")
    browser = await inbox.signed_in()

    async def offered(chosen: str = "") -> list[str]:
        page = (await reply(browser, path, do="change", channel="whatsapp", template=chosen)).text
        select = page[page.index('id="by-template"') :].partition("</select>")[0]
        return re.findall(r"<option[^>]*>([^<]*)<", unescape(select))

    assert ["No template", "Ready"] == await offered()
    assert ["No template", "Ready"] == await offered(ids["Ready"])
    assert ["No template", "Ready", "Twilio's"] == await offered(ids["Twilio's"])
    text = whatsapp_text("hi", wamid="wamid.1", sender=ANN[1:])
    await from_meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    assert ["No template", "Free text", "Ready", "Twilio's"] == await offered()
    await inbox.change("DELETE FROM gateway.correspondence")
    await inbox.change("DELETE FROM message_templates WHERE name = 'Ready'")
    page = await reply(browser, path, do="change", channel="whatsapp")
    assert "There is none yet that the provider knows: write one" in page.words


async def test_nobody_to_write_to(inbox: Inbox) -> None:
    """A contact without an address, and measuring an SMS."""
    hidden_number = await stored(inbox, channel="call", from_address="anonymous")
    browser = await inbox.signed_in()
    page = await browser.get(f"/c/{hidden_number['conversation_id']}")
    assert "Somebody without a number" in page.words
    assert "There is no way to write to this contact" in page.words
    measured = await browser.post("/measure", {"body": "Monday ✓"})
    assert "1 segment, UCS-2 because of “✓”, 8 of 1600 characters" == measured.words


async def test_a_template_with_parts(inbox: Inbox, ask: Ask) -> None:
    """A list and an object can be filled in, and the form says how."""
    source = "{{ customer.name }}: {% for i in items %}{{ i }}; {% endfor %}{{ code }}"
    made = await ask("POST", "/v1/templates", {"name": "order", "type": "sms", "content": source})
    row = await stored(inbox)
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{row['conversation_id']}"
    fields = {
        "channel": "sms",
        "template": made.body["id"],
        "variables.customer": '{"name": "Ann"}',
        "variables.items": '["tea","milk"]',
        "variables.code": "007",
    }
    form = await reply(browser, path, **fields, do="check")
    assert "Ann: tea; milk; 007" in form.words
    assert 2 == form.words.count('is written as JSON, such as ["tea", "milk"]')
    assert 303 == (await reply(browser, path, **fields)).status
    (sent, _) = (await ask("GET", "/v1/messages")).body["data"]
    assert "Ann: tea; milk; 007" == sent["body"]


async def test_a_template_that_a_colleague_changes(inbox: Inbox, ask: Ask) -> None:
    """What leaves is what was seen: a template that says something else by now is shown once more,
    and sent if it is pressed again. That it is used meanwhile changes nothing."""
    given = {"name": "hello", "type": "sms", "content": "Hello {{ who }}"}
    made = (await ask("POST", "/v1/templates", given)).body
    row = await stored(inbox)
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{row['conversation_id']}"
    fields = {"channel": "sms", "template": made["id"], "variables.who": "Ann"}

    async def press(do: str, form: Shown) -> Shown:
        known = {name: hidden(form, name) for name in ("key", "version")}
        return await browser.post(f"{path}/reply", fields | known | {"do": do})

    form = await browser.post(f"{path}/compose", fields)
    await inbox.change("UPDATE message_templates SET usage_count = 5, updated_at = now()")
    form = await press("check", form)
    assert "Hello Ann" in form.words
    await ask("PATCH", f"/v1/templates/{made['id']}", {"content": "Bye {{ who }}"})
    again = await press("send", form)
    assert (422, 1) == (again.status, await inbox.value("SELECT count(*) FROM messages"))
    assert "Template: Says something else by now" in again.words
    assert "Bye Ann" in again.words
    assert 303 == (await press("send", again)).status
    await ask("PATCH", f"/v1/templates/{made['id']}", {"content": "Off {{ who }}"})
    assert 303 == (await press("send", again)).status  # it was sent already
    (sent, _) = (await ask("GET", "/v1/messages")).body["data"]
    assert "Bye Ann" == sent["body"]


async def test_read_close_and_give(inbox: Inbox, ask: Ask) -> None:
    """Opening reads nothing by itself; buttons do. Closed, open, given, and to nobody."""
    row = await stored(inbox)
    await inbox.change("UPDATE gateway.conversations SET unread_count = 2")
    path = f"/c/{row['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    assert "(1) " in (await browser.get(path)).text[:900]
    assert "Mark as read" in (await browser.get(path)).words
    assert 303 == (await browser.post(f"{path}/read", {"do": "read"})).status
    assert "Mark as unread" in (await browser.get(path)).words
    assert 204 == (await browser.post(f"{path}/read", {"do": "unread"}, HX_Request="true")).status
    me = await inbox.value("SELECT id FROM auth_users WHERE email = $1", MEMBER)
    for fields in ({"status": "closed"}, {"assigned_to": str(me)}):
        assert 303 == (await browser.post(f"{path}/change", fields)).status
    (found,) = (await ask("GET", "/v1/conversations")).body["data"]
    assert ("closed", str(me), 1) == tuple(
        found[n] for n in ("status", "assigned_to", "unread_count")
    )
    mine = await browser.get("?who=me&status=all")
    assert "Closed" in mine.words
    owner = await inbox.value("SELECT id FROM auth_users WHERE email = 'owner@alpha.example.com'")
    await inbox.change("UPDATE auth_users SET is_active = false WHERE id = $1", owner)
    for nobody in (str(uuid4()), str(owner), "x"):
        assert 422 == (await browser.post(f"{path}/change", {"assigned_to": nobody})).status
    await browser.post(f"{path}/change", {"assigned_to": ""})
    (found,) = (await ask("GET", "/v1/conversations")).body["data"]
    assert found["assigned_to"] is None


async def test_who_it_is(inbox: Inbox, ask: Ask) -> None:
    """Linked to a lead that is found by name, taken back; an address set apart; a merge offered."""
    row = await stored(inbox, from_address="+447700900555")
    path = f"/c/{row['conversation_id']}"
    lead = (await ask("POST", "/v1/leads", {"first_name": "Eve", "phone": ANN})).body
    browser = await inbox.signed_in(MEMBER)
    assert "Say who this is" in (await browser.get(path)).words
    for words, expected in (("eve", "Eve"), (ANN, "Eve"), ("%25", "Nobody found"), ("", "Who is")):
        found = await browser.get(f"{path}/link?person={words.replace('+', '%2B')}")
        assert expected in found.words, words
    chosen = {"kind": "lead", "person_id": lead["id"]}
    assert 303 == (await browser.post(f"{path}/link", chosen)).status
    assert "Not this lead" in (await browser.get(path)).words
    other = await send(ask, "+447700900777")
    taken = await browser.post(f"/c/{other['conversation_id']}/link", chosen)
    assert taken.location.endswith(f"/merge?other={row['conversation_id']}")
    for wrong, status in (({"kind": "x"}, 400), ({"kind": "lead", "person_id": str(uuid4())}, 404)):
        assert status == (await browser.post(f"{path}/link", wrong)).status
    merged = await browser.post(f"{path}/merge", {"other": other["conversation_id"]})
    assert 303 == merged.status
    assert "Not theirs" in (await browser.get(path)).words
    apart = await browser.post(f"{path}/unlink", {"address": "+447700900777"})
    assert "done=apart" in apart.location
    assert 409 == (await browser.post(f"{path}/unlink", {"address": "+447700900777"})).status
    assert 303 == (await browser.post(f"{path}/link", {"kind": "lead"})).status
    assert "Say who this is" in (await browser.get(path)).words


async def test_suppressions_of_a_contact(inbox: Inbox, ask: Ask) -> None:
    """What was put on the list by hand anybody lifts; what they said themselves an owner does."""
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    for reason in ("manual", "stop"):
        await inbox.change(
            "INSERT INTO gateway.suppressions (organization_id, id, channel, address, reason,"
            " source) VALUES ($1, $2, 'sms', $3, $4, 'api')",
            inbox.gateway.a.organization_id, uuid4(), ANN, reason,
        )  # fmt: skip
    member, owner = await inbox.signed_in(MEMBER), await inbox.signed_in()
    page = await member.get(path)
    assert "Only they can take that back" in page.words
    assert 1 == page.words.count(f"Nothing goes to {ANN} here: ")  # before anything is written
    await setup.add_sender(
        inbox.gateway.database, inbox.gateway.a.account_id, Channel.CALL, "+15551230001",
        is_default=True, rate=None,
    )  # fmt: skip
    call = await reply(member, path, do="change", channel="call")
    assert "What is said on the phone" in call.text
    assert "Nothing goes to" not in call.words  # it is another channel's
    ids = re.findall(r'name="suppression_id" value="([^"]*)"', page.text)
    assert 1 == len(ids)
    assert 303 == (await member.post(f"{path}/lift", {"suppression_id": ids[0]})).status
    theirs = re.findall(r'name="suppression_id" value="([^"]*)"', (await owner.get(path)).text)
    assert 403 == (await member.post(f"{path}/lift", {"suppression_id": theirs[0]})).status
    assert 303 == (await owner.post(f"{path}/lift", {"suppression_id": theirs[0]})).status
    assert "Must not be written to" not in (await owner.get(path)).words
    assert "Nothing goes to" not in (await owner.get(path)).words
    assert 404 == (await owner.post(f"{path}/lift", {"suppression_id": "x"})).status
