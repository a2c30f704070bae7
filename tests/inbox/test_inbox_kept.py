"""What was typed is given back where it cannot be taken: a page without script has it no more."""

from __future__ import annotations

import io
import re
from html import unescape
from uuid import uuid4

from tests.inbox.conftest import ORIGIN, Inbox, Shown
from tests.inbox.test_inbox_sessions import MEMBER, OWNER

TEXT = 'Dear Ann,\n\n<b>see you</b> "there" & then'
REPLY = {"do": "send", "channel": "sms", "to": "+447700900123", "body": TEXT, "key": str(uuid4())}
AREA = re.compile(
    r'<label for="(kept-\d+)">(.*?)</label>\s*<textarea id="\1"[^>]*>\n(.*?)</textarea>', re.DOTALL
)


def kept(shown: Shown) -> dict[str, str]:
    """What a page gives back, by its labels."""
    return {unescape(label): unescape(text) for _, label, text in AREA.findall(shown.text)}


async def test_a_reply_after_the_session_ended(inbox: Inbox) -> None:
    """Who is signed out while writing reads that nothing was sent, and has the text to copy."""
    browser = await inbox.signed_in(MEMBER)
    cookies = dict(browser.cookies)
    await inbox.change("DELETE FROM gateway.staff_sessions")

    shown = await browser.post(f"/c/{uuid4()}/reply", REPLY)

    assert 401 == shown.status
    assert {"Body": TEXT, "To": "+447700900123"} == kept(shown)
    assert "nothing of it was stored or sent" in shown.words
    assert 'href="/gw/inbox/sign-in" target="_blank"' in shown.text
    assert "<b>see you</b>" not in shown.text
    assert cookies == browser.cookies  # by then it may be that of a newer session


async def test_a_template_from_a_page_of_another_session(inbox: Inbox) -> None:
    """Who signed in anew beside the page that they were writing on has their text, too; it is
    not taken, since the form is not of this session."""
    browser = await inbox.signed_in(OWNER)
    browser.csrf = ""
    typed = {"name": "greeting", "type": "sms", "content": TEXT, "options.voice": "x"}
    typed |= {"options.unsubscribe": "true", "is_active": "true"}

    shown = await browser.post("/templates/new", {"csrf": "00" * 32, **typed})
    button = await browser.post("/sign-out", {"csrf": "00" * 32})

    assert (403, 403) == (shown.status, button.status)
    assert {"Name": "greeting", "Text": TEXT, "Voice": "x"} == kept(shown)
    assert "000000" not in shown.text
    assert {} == kept(button)
    assert "reload it" in button.words
    assert 0 == await inbox.gateway.count("message_templates")


async def test_texts_of_other_sites_are_not_shown(inbox: Inbox) -> None:
    """What another site's page sends is refused, and its words stand on no page of ours."""
    for browser in (inbox.browser(), await inbox.signed_in(MEMBER)):
        shown = await browser.post(f"/c/{uuid4()}/reply", REPLY, Origin="https://evil.example")
        assert 403 == shown.status
        assert {} == kept(shown)
        assert "see you" not in shown.text


async def test_a_reply_while_the_database_is_away(inbox: Inbox) -> None:
    """What cannot be stored just now is given back beside the reason; a part of a page, whose form
    stays as it is, is told the reason alone."""
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{uuid4()}/reply"
    async with inbox.gateway.database._pool.acquire() as connection:
        await connection.execute("ALTER TABLE gateway.conversations RENAME TO elsewhere")

    shown = await browser.post(path, REPLY)
    part = await browser.post(path, REPLY, HX_Request="true")
    secret = await browser.post("/sign-in/password", {"email": "", "password": "hush hush"})

    assert (503, 503) == (shown.status, part.status)
    assert {"Body": TEXT, "To": "+447700900123"} == kept(shown)
    assert "lacks migrations" in shown.words
    assert ({}, {}) == (kept(part), kept(secret))
    assert "hush" not in secret.text


async def test_a_form_that_is_too_large(inbox: Inbox) -> None:
    """Of what was too large to be read nothing is shown but that, and what to do."""
    browser = await inbox.signed_in(MEMBER)
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Cookie": "; ".join(f"{name}={value}" for name, value in browser.cookies.items()),
        "Origin": ORIGIN,
    }
    body = io.BytesIO(b"body=" + b"x" * (11 * 2**20))

    async with inbox.http.post(f"/inbox/c/{uuid4()}/reply", data=body, headers=headers) as answer:
        text = await answer.text()

    assert 413 == answer.status
    assert "too large" in text
    assert "choose fewer or smaller files" in text
    assert "<textarea" not in text
