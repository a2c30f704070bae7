"""Who is signed in to the inbox, and until when."""

from __future__ import annotations

from tests.inbox.conftest import Inbox


async def test_a_link_signs_in_once(inbox: Inbox) -> None:
    """Opening the link changes nothing, its button signs in, and then it works no more."""
    browser, path = inbox.browser(), await inbox.link("member@alpha.example.com")

    opened = [await browser.get(path) for _ in range(2)]
    used = await browser.post(path)
    again = await inbox.browser().post(path)
    home = await browser.get("")

    assert [200, 200] == [shown.status for shown in opened]
    assert "member@alpha.example.com" in opened[0].words
    assert (303, "/gw/inbox") == (used.status, used.location)
    assert 410 == again.status
    assert {} == dict(again.cookies)
    assert 200 == home.status
    assert "Alpha" in home.words
