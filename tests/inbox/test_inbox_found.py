"""What was looked for is led to, wherever in the conversation it was said."""

from __future__ import annotations

from uuid import uuid4

from tests.inbox.conftest import Inbox
from tests.inbox.talking import MEMBER, hidden, stored


async def test_a_found_word_far_up_is_led_to(inbox: Inbox) -> None:
    """From the list of what was found to the message itself, with what was said around it, and from
    there to the latest ones; what is at the end anyway is shown as ever."""
    browser = await inbox.signed_in(MEMBER)
    zebra = None
    for number in range(60):
        row = await stored(inbox, body="a zebra" if number == 9 else f"line {number:02}.")
        zebra = zebra or (row["id"] if number == 9 else None)
    path = f"/c/{row['conversation_id']}"

    listed = await browser.get("?q=zebra&status=all")
    assert f'href="/gw/inbox{path}/found?q=zebra&amp;status=all"' in listed.text
    found = await browser.get(f"{path}/found?q=zebra&status=all")
    there = f"/gw/inbox{path}?q=zebra&status=all&at={zebra}"
    assert (303, f"{there}#m-{zebra}") == (found.status, found.location)
    shown = await browser.get(there.removeprefix("/gw/inbox"))
    thread = shown.text.partition('id="messages"')[2]
    assert f'id="m-{zebra}"' in thread
    assert ("line 00." in thread, "line 19." in thread, "line 20." in thread) == (True, True, False)
    assert "Latest messages" in shown.words
    assert f'name="seen" value="{row["id"]}"' in shown.text
    form = {"channel": "sms", "body": "hi", "do": "send", "key": hidden(shown, "key")}
    page = {"Referer": f"https://msg.example.org{there}", "HX_Request": "true"}
    sent = await browser.post(f"{path}/reply", form, **page)
    assert f"/gw/inbox{path}?q=zebra&status=all&done=sent" == sent.headers["HX-Redirect"]

    shown = await browser.get(f"{path}?at={row['id']}")
    assert "Latest messages" not in shown.words
    for q in ("absent", "%22", "hi", ""):
        plain = await browser.get(f"{path}/found?q={q}")
        assert f"/gw/inbox{path}" == plain.location.partition("?")[0], q
        assert "at=" not in plain.location
    for odd in ("x", str(uuid4())):
        assert "line 59." in (await browser.get(f"{path}?at={odd}")).text


async def test_what_came_after_it_is_long(inbox: Inbox) -> None:
    """The message itself is on the page, though fewer than a page came after it."""
    browser = await inbox.signed_in(MEMBER)
    zebra = await stored(inbox, body="a zebra")
    for _ in range(20):
        row = await stored(inbox, channel="email", body="line", html_body="x" * 2**20)
    path = f"/c/{row['conversation_id']}"

    found = await browser.get(f"{path}/found?q=zebra")
    shown = await browser.get(found.location.removeprefix("/gw/inbox"))

    assert f'id="m-{zebra["id"]}"' in shown.text
    assert "Latest messages" in shown.words


async def test_it_was_merged(inbox: Inbox) -> None:
    """A list may be older: from what it found one is led on, and so is what was written there."""
    browser = await inbox.signed_in(MEMBER)
    gone = (await stored(inbox, body="a zebra"))["conversation_id"]
    kept = (await stored(inbox, from_address="+447700900124"))["conversation_id"]
    form = {"other": str(gone)}
    assert 303 == (await browser.post(f"/c/{kept}/merge", form)).status

    for q in ("zebra", "absent"):
        found = await browser.get(f"/c/{gone}/found?q={q}")
        assert found.location.startswith(f"/gw/inbox/c/{kept}?q={q}&was={gone}")
