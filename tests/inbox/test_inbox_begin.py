"""Staff begin to write: to a lead or client whom nobody has written to, and only to them."""

from __future__ import annotations

import asyncio
from html import unescape
from typing import Any
from uuid import UUID, uuid4

from channels.model import Channel
from gateway.manage import setup
from tests.inbox.conftest import Browser, Inbox, Shown
from tests.inbox.talk import ANN, Talk
from tests.inbox.talking import hidden, reply
from tests.inbox.test_inbox_contact import person
from tests.service.conftest import Ask
from tests.service.wires import connect

OTHER = "+447700900124"
MAIL = "ann@example.com"


async def sent(inbox: Inbox) -> list[dict[str, Any]]:
    """What went out, the oldest first."""
    async with inbox.gateway.database.as_service() as db:
        rows = await db.fetch(
            "SELECT id, channel, to_address, from_address, body, lead_id, conversation_id"
            " FROM messages WHERE direction = 'outbound' ORDER BY created_at, id"
        )
    return [dict(row) for row in rows]


def offered(shown: Shown) -> list[str]:
    """The channels that the form offers."""
    choice = shown.text.partition('id="by-channel"')[2].partition("</select>")[0]
    return [part.partition('"')[0] for part in choice.split('value="')[1:]]


async def mails(inbox: Inbox) -> None:
    """A can send e-mail, too."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL)


async def test_the_first_message(browser: Browser, inbox: Inbox) -> None:
    """Somebody is found by any of their names, nothing is made by looking, and the message begins
    their conversation; the same form again sends nothing more."""
    lead = await person(inbox, "leads", "Ann", last_name="Example", phone=ANN)
    path = f"/to/lead/{lead}"
    for words in ("exam", "ANN", "07700 900123"):
        found = await browser.get(f"/new?person={words}&status=all")
        assert f'href="/gw/inbox{path}?status=all"' in found.text, words

    shown = await browser.get(f"{path}?status=all")
    assert "Nothing has been said yet" in shown.words
    assert ["sms"] == offered(shown)
    assert 0 == await inbox.value("SELECT count(*) FROM gateway.conversations")

    form = {
        "key": hidden(shown, "key"), "do": "send", "channel": "sms", "to": ANN,
        "from": "+15551230001", "body": "Welcome!",
    }  # fmt: skip
    ways: list[dict[str, str]] = [{}, {}, {"HX_Request": "true"}]
    once = [browser.post(f"{path}/reply", form, **way) for way in ways]
    answers = [*await asyncio.gather(*once), await browser.post(f"{path}/reply", form)]
    (message,) = await sent(inbox)
    for answer in answers:
        here = f"/gw/inbox/c/{message['conversation_id']}?done=sent"
        assert here == answer.location or here == answer.headers["HX-Redirect"]

    assert ("Welcome!", ANN, UUID(lead)) == tuple(
        message[n] for n in ("body", "to_address", "lead_id")
    )
    again = await browser.get(f"{path}?status=all")
    assert (303, f"/gw/inbox/c/{message['conversation_id']}?status=all") == (
        again.status, again.location,
    )  # fmt: skip
    shown = await browser.get(f"/c/{message['conversation_id']}")
    assert "Lead Ann Example" in shown.words
    changed = await browser.post(f"{path}/reply", form | {"body": "Something else"})
    assert (422, True) == (changed.status, "Was sent already" in changed.words)
    assert 1 == len(await sent(inbox))


async def test_a_stop_before_anything_was_said(browser: Browser, inbox: Inbox) -> None:
    """Who tells a colleague that they want no messages is not written to, on the channel that they
    name; it can be lifted there, too. Nothing of it is of somebody else's address."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    path = f"/to/lead/{lead}"
    shown = await browser.get(path)
    assert f'value="sms {ANN}"' in shown.text
    form = {"way": f"sms {ANN}", "reason": "manual", "note": "Told Bob"}
    other = await browser.post(f"{path}/suppress", form | {"way": f"sms {OTHER}"})
    assert 409 == other.status

    done = await browser.post(f"{path}/suppress", form)

    assert (303, f"/gw/inbox{path}?done=suppressed") == (done.status, done.location)
    shown = await browser.get(f"{path}?done=suppressed")
    assert "Nothing goes to that address any more." in shown.words
    assert "Told Bob" in shown.words
    answer = await reply(browser, path, channel="sms", to=ANN, body="hi")
    assert (422, []) == (answer.status, await sent(inbox))

    lifted = await browser.post(f"{path}/lift", {"suppression_id": hidden(shown, "suppression_id")})
    assert f"/gw/inbox{path}?done=lifted" == lifted.location
    assert 303 == (await reply(browser, path, channel="sms", to=ANN, body="hi")).status
    assert 1 == len(await sent(inbox))


async def test_a_stop_where_somebody_was_quicker(
    browser: Browser, talk: Talk, inbox: Inbox
) -> None:
    """Where they have written meanwhile, the notice of what was done is shown in their
    conversation."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    path = f"/to/lead/{lead}"
    await browser.get(path)
    where = await talk.conversation(await talk.hears("I am here already"))
    done = await browser.post(f"{path}/suppress", {"way": f"sms {ANN}", "reason": "manual"})
    assert done.location is not None
    led = await browser.get(done.location.removeprefix("/gw/inbox"))
    assert f"/gw/inbox/c/{where}?done=suppressed" == led.location
    shown = await browser.get(f"/c/{where}?done=suppressed")
    assert "Nothing goes to that address any more." in shown.words


async def test_somebody_was_quicker(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """What has been said since the page was opened is read before the message is sent."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    shown = await browser.get(f"/to/lead/{lead}")
    where = await talk.conversation(await talk.hears("I am here already"))
    form = {"key": hidden(shown, "key"), "do": "send", "channel": "sms", "to": ANN, "body": "Hi!"}

    answer = await browser.post(f"/to/lead/{lead}/reply", form)

    assert (422, True) == (answer.status, "they have a conversation by now" in answer.words)
    assert f'href="/gw/inbox/c/{where}"' in answer.text.partition('id="messages"')[2]
    assert "Hi!</textarea>" in answer.text
    led = await browser.post(f"/to/lead/{lead}/reply", form, HX_Request="true")
    assert f"/gw/inbox/c/{where}?done=meanwhile" == led.headers["HX-Redirect"]
    assert [] == await sent(inbox)
    assert f'data-lead="lead {lead}"' in (await browser.get(f"/c/{where}")).text


async def test_at_the_very_same_moment(browser: Browser, inbox: Inbox) -> None:
    """Of several who write first, to one lead or to two with one number, one does; the others are
    told, and what they wrote stays. The same form twice is one message, and no error."""
    leads = [await person(inbox, "leads", name, phone=ANN) for name in ("Ann", "Bob")]
    form = {"do": "send", "channel": "sms", "to": ANN, "from": "+15551230001"}
    keys = [str(uuid4()) for _ in range(4)]
    answers = await asyncio.gather(
        *(
            browser.post(f"/to/lead/{leads[n % 2]}/reply", {**form, "key": key, "body": f"By {n}"})
            for n, key in enumerate(keys)
            for _ in range(2)
        )
    )
    (message,) = await sent(inbox)
    here = f"/gw/inbox/c/{message['conversation_id']}?done=sent"
    first = int(message["body"].removeprefix("By "))
    for n, pair in enumerate(zip(answers[::2], answers[1::2], strict=True)):
        for answer in pair:
            if n == first:
                assert here == answer.location
            else:
                assert (422, True) == (answer.status, f"By {n}</textarea>" in answer.text)


async def test_their_only_address_is_another_s_meanwhile(
    browser: Browser, talk: Talk, inbox: Inbox
) -> None:
    """Nothing can be written to them any more: what was written stays, to be sent elsewhere."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    await person(inbox, "leads", "Bob", phone=ANN)
    shown = await browser.get(f"/to/lead/{lead}")
    await talk.hears("It is Bob")
    form = {"key": hidden(shown, "key"), "do": "send", "channel": "sms", "to": ANN, "body": "Hi!"}
    for way in ({}, {"HX_Request": "true"}):
        answer = await browser.post(f"/to/lead/{lead}/reply", form, **way)
        assert (422, True) == (answer.status, "There is no way to write to" in answer.words)
        assert "Hi!</textarea>" in answer.text
        assert "This was not sent." in answer.words
    assert [] == await sent(inbox)


async def test_of_two_with_one_number(browser: Browser, inbox: Inbox) -> None:
    """The one who was chosen is written to, though another lead with that number is newer."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    await person(inbox, "leads", "Bob", phone=ANN)

    answer = await reply(browser, f"/to/lead/{lead}", channel="sms", to=ANN, body="Hi Ann")

    assert 303 == answer.status
    (message,) = await sent(inbox)
    assert UUID(lead) == message["lead_id"]
    assert "Lead Ann" in (await browser.get(f"/c/{message['conversation_id']}")).words


async def test_another_s_address(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """What belongs to a conversation with somebody else is written to there, not from here."""
    where = await talk.conversation(await talk.hears("It is Bob"))
    await inbox.change("UPDATE gateway.conversations SET is_linked = true")
    lead = await person(inbox, "leads", "Ann", phone=ANN, email=MAIL)
    await mails(inbox)

    shown = await browser.get(f"/to/lead/{lead}")
    assert f'href="/gw/inbox/c/{where}"' in shown.text.partition('id="messages"')[2]
    assert "write to it there" in shown.words
    assert ["email"] == offered(shown)
    for to in (ANN, OTHER):
        odd = await reply(browser, f"/to/lead/{lead}", channel="sms", to=to, body="Hi Ann")
        assert (422, True) == (odd.status, "Hi Ann" in odd.text)
    assert [] == await sent(inbox)


async def test_what_holds_for_every_message(browser: Browser, inbox: Inbox, ask: Ask) -> None:
    """A STOP and WhatsApp's window are known before, and refuse the message; the text stays."""
    client = await person(inbox, "clients", "Ann", phone=ANN, email=MAIL)
    await ask("POST", "/v1/suppressions", {"channel": "sms", "address": ANN, "reason": "stop"})
    await setup.add_sender(
        inbox.gateway.database, inbox.gateway.a.account_id, Channel.WHATSAPP, "+15551230001",
        is_default=True, rate=None,
    )  # fmt: skip
    path = f"/to/client/{client}"

    shown = await browser.get(path)
    assert f"Nothing goes to {ANN} here" in shown.words
    answer = await reply(browser, path, channel="sms", to=ANN, body="Hello")
    assert (422, True) == (answer.status, "Hello</textarea>" in answer.text)
    part = await browser.post(f"{path}/compose", {"channel": "whatsapp"}, HX_Request="true")
    assert "it accepts only a template" in part.words
    assert f'id="by-to" name="to" hx-post="/gw/inbox{path}/compose"' in part.text  # has its window
    answer = await reply(browser, path, channel="whatsapp", to=ANN, body="Hello")
    assert 422 == answer.status
    assert [] == await sent(inbox)


async def test_nobody_there(browser: Browser, inbox: Inbox) -> None:
    """Of another organization, of no kind, or without an address: said, never an error."""
    stranger = await inbox.value(
        "INSERT INTO leads (organization_id, first_name, phone) VALUES ($1, 'Hidden', $2)"
        " RETURNING id",
        inbox.gateway.b.organization_id,
        OTHER,
    )
    for path in (
        f"/to/lead/{stranger}",
        f"/to/client/{stranger}",
        f"/to/dog/{stranger}",
        "/to/lead/x",
    ):
        assert 404 == (await browser.get(path)).status, path
        assert 404 == (await browser.post(f"{path}/compose", {"channel": "sms"})).status, path
        form = {"do": "send", "channel": "sms", "to": OTHER, "body": "Hi"}
        assert 404 == (await browser.post(f"{path}/reply", form)).status, path
    assert "Hidden" not in (await browser.get("/new?person=hid")).text
    lead = await person(inbox, "leads", "Ann")
    assert (
        "There is no way to write to this contact" in (await browser.get(f"/to/lead/{lead}")).words
    )
    assert 422 == (await browser.post(f"/to/lead/{lead}/reply", form)).status
    assert [] == await sent(inbox)


async def test_hostile_names_stay_words(browser: Browser, inbox: Inbox) -> None:
    """Whatever a lead is called, and whatever is looked for."""
    evil = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>"
    lead = await person(inbox, "leads", evil, phone=ANN, email=MAIL, notes=evil)
    for path in (f"/to/lead/{lead}", "/new?person=%2B447700900123", f"/new?person={evil}&q={evil}"):
        shown = await browser.get(path)
        assert 200 == shown.status
        assert "<script>alert" not in shown.text
        assert "<img src=x" not in shown.text
        assert evil in unescape(shown.text)


async def test_an_address_that_was_not_used_yet(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Whom one knows by number is written to at the lead's mailbox as well, in the same thread."""
    await person(inbox, "leads", "Ann", phone=ANN, email=MAIL)
    await mails(inbox)
    where = await talk.conversation(await talk.hears("hello"))
    shown = await browser.get(f"/c/{where}")
    assert {"sms", "email"} == set(offered(shown))
    assert f"{MAIL} not used yet" in shown.words
    form = {"way": f"email {MAIL}", "reason": "manual"}
    assert 303 == (await browser.post(f"/c/{where}/suppress", form)).status
    part = await browser.post(f"/c/{where}/compose", {"channel": "email"}, HX_Request="true")
    assert f"Nothing goes to {MAIL} here" in part.words
    await inbox.change("DELETE FROM gateway.suppressions")

    answer = await reply(browser, f"/c/{where}", channel="email", to=MAIL, subject="A", body="Hi")

    assert 303 == answer.status
    (message,) = await sent(inbox)
    assert (MAIL, where) == (message["to_address"], str(message["conversation_id"]))
    assert "not used yet" not in (await browser.get(f"/c/{where}")).words
    # but not one that somebody else writes from
    other = await talk.conversation(await talk.hears("of the kitchen", OTHER))
    await inbox.change(
        "UPDATE gateway.conversations SET is_linked = true WHERE id = $1", UUID(other)
    )
    await person(inbox, "clients", "Ann", phone=OTHER, email="a@example.org")
    await inbox.change(
        "UPDATE gateway.conversations SET client_id = (SELECT id FROM clients) WHERE id = $1",
        UUID(where),
    )
    shown = await browser.get(f"/c/{where}")
    assert "a@example.org not used yet" in shown.words
    assert OTHER not in shown.text.partition('id="composer"')[2].partition("</form>")[0]


async def test_a_lost_answer_to_the_first_message(browser: Browser, inbox: Inbox) -> None:
    """Who does not learn that it was sent finds it in the conversation that it has begun, where
    their draft with its key waits, too: sent from there, it is not sent again."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    shown = await browser.get(f"/to/lead/{lead}")
    form = {
        "key": hidden(shown, "key"), "do": "send", "channel": "sms", "to": ANN,
        "from": "+15551230001", "body": "Welcome!",
    }  # fmt: skip
    await browser.post(f"/to/lead/{lead}/reply", form)
    (message,) = await sent(inbox)
    path = f"/c/{message['conversation_id']}"

    again = await browser.post(f"{path}/reply", form)

    assert (303, f"/gw/inbox{path}?done=sent") == (again.status, again.location)
    assert 1 == len(await sent(inbox))
    other = await browser.post(f"{path}/reply", form | {"body": "Welcome back!"})
    assert 422 == other.status


async def test_an_address_that_was_not_used_yet_is_seen(
    browser: Browser, talk: Talk, inbox: Inbox
) -> None:
    """Of a lead and a client with one number the mailbox may be the other's: who chooses e-mail
    sees where it goes, and need not look for it under More."""
    await person(inbox, "leads", "Ann", phone=ANN)
    await person(inbox, "clients", "Bob", phone=ANN, email=MAIL)
    await mails(inbox)
    where = await talk.conversation(await talk.hears("It is Ann"))

    part = await browser.post(f"/c/{where}/compose", {"channel": "email"}, HX_Request="true")
    assert f"<option>{MAIL}" in part.text
    assert '<details class="more-fields" open>' in part.text
    part = await browser.post(f"/c/{where}/compose", {"channel": "sms"}, HX_Request="true")
    assert '<details class="more-fields">' in part.text


async def test_somebody_without_a_name(browser: Browser, inbox: Inbox) -> None:
    """Is called by their number, as in the list of conversations."""
    lead = await inbox.value(
        "INSERT INTO leads (organization_id, phone) VALUES ($1, $2) RETURNING id",
        inbox.gateway.a.organization_id,
        ANN,
    )
    shown = await browser.get(f"/to/lead/{lead}")
    assert f">{ANN}</h2>" in shown.text
    assert "Write to Unknown" not in shown.text
