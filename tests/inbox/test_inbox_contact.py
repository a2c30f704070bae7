"""Who a conversation is with: linked, merged, parted, written to again; each by those who may."""

from __future__ import annotations

import re
from uuid import UUID, uuid4

from tests.inbox.conftest import Browser, Inbox
from tests.inbox.talk import ANN, Talk
from tests.inbox.talking import reply

OTHER = "+447700900124"


async def person(inbox: Inbox, table: str, name: str, **more: str | None) -> str:
    """A lead or client of A who is not linked to anything yet."""
    columns = {"first_name": name, "phone": None, "email": None} | more
    names, places = ", ".join(columns), ", ".join(f"${n}" for n in range(2, len(columns) + 2))
    made = await inbox.value(
        f"INSERT INTO {table} (organization_id, {names}) VALUES ($1, {places}) RETURNING id",  # noqa: S608
        inbox.gateway.a.organization_id,
        *columns.values(),
    )
    return str(made)


async def test_somebody_gets_a_name(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Looked for by name, mailbox or number, linked, shown with the lead's fields, and let go."""
    lead = await person(inbox, "leads", "Ann", email="ann@example.com", notes="Left-handed")
    where = await talk.conversation(await talk.hears("hello"))

    for words in ("an", "ANN@ex"):
        found = await browser.get(f"/c/{where}/link?person={words}")
        assert lead in found.text, words
    for words in ("%25", "_nn", "n"):
        found = await browser.get(f"/c/{where}/link?person={words}")
        assert "Nobody found" in found.words, words
    done = await browser.post(f"/c/{where}/link", {"kind": "lead", "person_id": lead})
    assert (303, f"/gw/inbox/c/{where}?done=saved") == (done.status, done.location)
    shown = await browser.get(f"/c/{where}?done=saved")
    assert "Saved." in shown.words
    assert "Lead Ann" in shown.words
    assert "Left-handed" in shown.words
    await browser.post(f"/c/{where}/link", {"kind": "lead"})
    assert "Left-handed" not in (await browser.get(f"/c/{where}")).words


async def test_odd_links_are_refused(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Nobody is linked whom there is not, or who is of another organization."""
    where = await talk.conversation(await talk.hears("hello"))
    stranger = await inbox.value(
        "INSERT INTO leads (organization_id, first_name) VALUES ($1, 'Hidden') RETURNING id",
        inbox.gateway.b.organization_id,
    )
    for person_id in (str(uuid4()), str(stranger), "nobody"):
        odd = await browser.post(f"/c/{where}/link", {"kind": "lead", "person_id": person_id})
        assert 404 == odd.status, person_id
    assert 400 == (await browser.post(f"/c/{where}/link", {"kind": "dog"})).status
    assert "Hidden" not in (await browser.get(f"/c/{where}/link?person=hid")).text


async def test_two_become_one(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Linking to somebody with a conversation asks whether both are one; then they are, and an
    address can be taken out again."""
    await person(inbox, "leads", "Ann", phone=ANN)
    where = await talk.conversation(await talk.hears("of the garden"))
    lead = await inbox.value("SELECT id FROM leads")
    other = await talk.conversation(await talk.hears("of the kitchen", OTHER))

    asked = await browser.post(f"/c/{other}/link", {"kind": "lead", "person_id": str(lead)})
    assert (303, f"/gw/inbox/c/{other}/merge?other={where}") == (asked.status, asked.location)
    question = await browser.get(f"/c/{other}/merge?other={where}")
    assert "Are these one person?" in question.words
    assert ANN in question.words
    for odd in (other, str(uuid4()), "x"):
        assert 404 == (await browser.get(f"/c/{other}/merge?other={odd}")).status
    assert 404 == (await browser.post(f"/c/{other}/merge", {"other": str(uuid4())})).status

    done = await browser.post(f"/c/{other}/merge", {"other": where})

    assert (303, f"/gw/inbox/c/{other}?done=merged&was={where}") == (done.status, done.location)
    shown = await browser.get(f"/c/{other}")
    assert "of the garden" in shown.words
    assert "of the kitchen" in shown.words
    moved = await browser.get(f"/c/{where}")
    assert (303, f"/gw/inbox/c/{other}?was={where}") == (moved.status, moved.location)
    assert 409 == (await browser.post(f"/c/{other}/merge", {"other": where})).status

    apart = await browser.post(f"/c/{other}/unlink", {"address": ANN})
    assert 303 == apart.status
    assert "done=apart" in apart.location
    parted = (await browser.get(apart.location.removeprefix("/gw/inbox"))).text
    assert "of the garden" in parted.partition('id="messages"')[2]
    assert "of the kitchen" not in parted.partition('id="messages"')[2]
    assert 409 == (await browser.post(f"/c/{other}/unlink", {"address": ANN})).status


async def test_the_only_address_of_a_merge_that_was_given_up(
    browser: Browser, talk: Talk, inbox: Inbox
) -> None:
    """It can be taken out while some of its messages are somewhere else already; others cannot."""
    where = await talk.conversation(await talk.hears("of the garden", ANN))
    other = await talk.conversation(await talk.hears("of the kitchen", OTHER))
    assert "Not theirs" not in (await browser.get(f"/c/{where}")).words

    async with inbox.gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.conversations SET merging_into = $2 WHERE id = $1", where, other
        )

    assert "Not theirs" in (await browser.get(f"/c/{where}")).words
    assert "Not theirs" not in (await browser.get(f"/c/{other}")).words


async def test_others_of_the_same_name(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """A second conversation of somebody of this name is offered, not joined."""
    await person(inbox, "leads", "Ann", phone=ANN)
    await person(inbox, "clients", "Ann", phone=OTHER, email="ann@example.com")
    where = await talk.conversation(await talk.hears("hello"))
    other = await talk.conversation(await talk.hears("hello", OTHER))

    shown = await browser.get(f"/c/{where}")

    assert where != other
    assert "Others with this name" in shown.words
    assert f"/c/{where}/merge?other={other}" in shown.text


async def test_suppressions_are_seen_and_lifted(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """A member lifts what a colleague put there; what they said themselves, only an owner."""
    where = await talk.conversation(await talk.hears("hello"))
    made = [
        await inbox.value(
            "INSERT INTO gateway.suppressions (organization_id, id,"
            " channel, address, reason, source)"
            " VALUES ($1, gen_random_uuid(), $2, $3, $4, 'api') RETURNING id",
            inbox.gateway.a.organization_id, channel, ANN, reason,
        )
        for channel, reason in (("sms", "manual"), ("whatsapp", "stop"))
    ]  # fmt: skip
    shown = await browser.get(f"/c/{where}")
    assert "Must not be written to" in shown.words
    assert "Put on the list by hand (SMS, +447700900123 )" in shown.words
    assert "They said stop (WhatsApp, +447700900123 )" in shown.words
    assert 1 == shown.text.count('name="suppression_id"')

    async def lift(who: Browser, found: UUID) -> int:
        return (await who.post(f"/c/{where}/lift", {"suppression_id": str(found)})).status

    assert [303, 403] == [await lift(browser, each) for each in made]
    assert 404 == (await browser.post(f"/c/{where}/lift", {"suppression_id": "x"})).status
    owner = await inbox.signed_in()
    assert 2 > (await owner.get(f"/c/{where}")).text.count('name="suppression_id"') > 0
    assert 303 == await lift(owner, made[1])
    assert "Must not be written to" not in (await browser.get(f"/c/{where}")).words


async def test_a_member_stops_writing_to_somebody(browser: Browser, talk: Talk) -> None:
    """On one channel, with reason and note, from the contact itself; what they said themselves only
    an owner or admin takes back."""
    where = await talk.conversation(await talk.hears("hello"))
    form = {"way": f"sms {ANN}", "reason": "manual", "note": "Moved <away>"}

    done = await browser.post(f"/c/{where}/suppress", form)

    assert (303, f"/gw/inbox/c/{where}?done=suppressed") == (done.status, done.location)
    shown = await browser.get(f"/c/{where}")
    assert "Put on the list by hand (SMS" in shown.words
    assert "Moved <away>" in shown.words
    answer = await reply(browser, f"/c/{where}", channel="sms", to=ANN, body="hi")
    assert 422 == answer.status
    held = re.search(r'name="suppression_id" value="([^"]*)"', shown.text)
    assert held is not None
    await browser.post(f"/c/{where}/lift", {"suppression_id": held[1]})
    assert "Moved" not in (await browser.get(f"/c/{where}")).words

    await browser.post(f"/c/{where}/suppress", form | {"reason": "unsubscribe"})
    shown = await browser.get(f"/c/{where}")
    assert "They unsubscribed (SMS" in shown.words
    assert "Only they can take that back" in shown.words
    assert "suppression_id" not in shown.text


async def test_only_theirs_is_stopped(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Not an address of somebody else's, nor for a reason that there is not."""
    where = await talk.conversation(await talk.hears("hello"))
    for way in ("", f"sms {OTHER}", f"email {ANN}", "sms"):
        odd = await browser.post(f"/c/{where}/suppress", {"way": way, "reason": "manual"})
        assert 409 == odd.status, way
    odd = await browser.post(f"/c/{where}/suppress", {"way": f"sms {ANN}", "reason": "x"})
    assert 422 == odd.status
    assert 0 == await inbox.value("SELECT count(*) FROM gateway.suppressions")


async def test_only_what_can_be_stopped_is_offered(browser: Browser, talk: Talk) -> None:
    """Each way that is offered is one that messages can go: no call to a number as WhatsApp alone
    writes it, and nothing is written to it by SMS."""
    where = await talk.conversation(await talk.hears("hola", "+5215512345678"))
    shown = await browser.get(f"/c/{where}")
    assert "There is no way to write to this contact" in shown.words
    assert 'id="by-channel"' not in shown.text
    ways = re.findall(r'<option value="(\w+ [^"]*)"', shown.text)
    assert ["whatsapp +5215512345678"] == ways
    done = await browser.post(f"/c/{where}/suppress", {"way": ways[0], "reason": "manual"})
    assert (303, f"/gw/inbox/c/{where}?done=suppressed") == (done.status, done.location)
    assert "Must not be written to" in (await browser.get(f"/c/{where}")).words


async def test_the_list_s_filters_stay(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Through linking and merging, from the first page to the last."""
    lead = await person(inbox, "leads", "Ann", phone=ANN)
    await talk.conversation(await talk.hears("of the garden", ANN))
    other = await talk.conversation(await talk.hears("of the kitchen", OTHER))
    kept = "status=all&who=me"

    shown = await browser.get(f"/c/{other}?{kept}")
    link = f"/c/{other}/link?status=all&amp;who=me"
    assert f'href="/gw/inbox{link}"' in shown.text
    found = await browser.get(f"/c/{other}/link?{kept}&person=ann")
    assert '<input type="hidden" name="who" value="me">' in found.text
    page = {"Referer": f"https://msg.example.org/gw/inbox/c/{other}/link?{kept}&person=ann"}
    asked = await browser.post(f"/c/{other}/link", {"kind": "lead", "person_id": lead}, **page)
    assert f"/gw/inbox/c/{other}/merge?{kept}&other=" in asked.location
    question = await browser.get(asked.location.removeprefix("/gw/inbox"))
    assert f'href="/gw/inbox/c/{other}?status=all&amp;who=me"' in question.text
