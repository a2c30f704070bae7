"""The button "Send again": one more message for a failed one, however often it is pressed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.inbox.conftest import ORIGIN, Browser, Inbox
from tests.inbox.talking import ANN, MEMBER, send
from tests.service.conftest import Ask


async def failed(inbox: Inbox, ask: Ask) -> dict[str, Any]:
    """A message out of tenant A that did not arrive."""
    sent = await send(ask)
    await inbox.change("UPDATE messages SET status = 'failed' WHERE id = $1", sent["id"])
    return sent


async def retries(ask: Ask, message_id: str) -> list[dict[str, Any]]:
    """What was sent in place of a message, newest first."""
    page = (await ask("GET", "/v1/messages")).body["data"]
    return [each for each in page if each["retry_of"] == message_id]


async def can_retry(browser: Browser, message: dict[str, Any]) -> bool:
    """Whether the thread has a button for a message, which the message alone has, too."""
    action = f"/m/{message['id']}/retry"
    thread = await browser.get(f"/c/{message['conversation_id']}")
    part = await browser.get(f"/m/{message['id']}", HX_Request="true")
    assert (action in thread.text) is (action in part.text)
    return action in thread.text


async def test_pressed_twice_it_is_sent_once(inbox: Inbox, ask: Ask) -> None:
    """Who presses twice, or at once with a colleague, sends one message, and each is told so."""
    message = await failed(inbox, ask)
    path = f"/m/{message['id']}/retry"
    one, two = await inbox.signed_in(MEMBER), await inbox.signed_in()
    answers = [
        *await asyncio.gather(one.post(path), two.post(path), one.post(path)),
        await two.post(path),
    ]
    assert {(303, "done=again")} == {(a.status, a.location[-10:]) for a in answers}
    assert 1 == len(await retries(ask, message["id"]))


async def test_which_of_both_was_sent_again(inbox: Inbox, ask: Ask) -> None:
    """The failed message says that it was sent again, the one in its place that it is a new try:
    also where that has failed."""
    message = await failed(inbox, ask)
    browser = await inbox.signed_in(MEMBER)
    assert "Sent again" not in (await browser.get(f"/m/{message['id']}", HX_Request="true")).words
    await browser.post(f"/m/{message['id']}/retry")
    await inbox.change("UPDATE messages SET status = 'failed'")
    (again,) = await retries(ask, message["id"])
    shown = [
        (await browser.get(f"/m/{each['id']}", HX_Request="true")).words
        for each in (message, again)
    ]
    assert [True, False] == ["Sent again" in words for words in shown]
    assert [True, False] == ["It was sent again: that one is" in words for words in shown]
    assert [False, True] == ["A new try" in words for words in shown]
    for one, other in ((message, again), (again, message)):  # each leads to the other
        why = (await browser.get(f"/m/{one['id']}/why")).text
        assert f'/m/{other["id"]}/why">That message</a>' in why


async def test_what_was_sent_again_has_no_button(inbox: Inbox, ask: Ask) -> None:
    """The button goes to the message that was sent again, where that one fails, too."""
    message = await failed(inbox, ask)
    browser = await inbox.signed_in(MEMBER)
    assert await can_retry(browser, message)
    await browser.post(f"/m/{message['id']}/retry")
    assert not await can_retry(browser, message)
    (again,) = await retries(ask, message["id"])
    assert not await can_retry(browser, again)
    await inbox.change("UPDATE messages SET status = 'failed' WHERE id = $1", again["id"])
    assert not await can_retry(browser, message)
    assert await can_retry(browser, again)
    await browser.post(f"/m/{again['id']}/retry")
    assert 1 == len(await retries(ask, again["id"]))


async def test_what_was_canceled_is_sent_once_more(inbox: Inbox, ask: Ask) -> None:
    """Where what was sent again is canceled before it goes out, the button is there again."""
    message = await failed(inbox, ask)
    browser = await inbox.signed_in(MEMBER)
    for count in (1, 2):
        for _ in range(2):
            await browser.post(f"/m/{message['id']}/retry")
        newest, *others = await retries(ask, message["id"])
        assert (count - 1, "pending") == (len(others), newest["status"])
        assert not await can_retry(browser, message)
        await browser.post(f"/m/{newest['id']}/cancel")
        assert await can_retry(browser, message)


async def test_what_was_refused_can_be_tried_again(inbox: Inbox, ask: Ask) -> None:
    """Where nothing was stored nothing was sent again: once it is possible, it is."""
    message = await failed(inbox, ask)
    browser = await inbox.signed_in(MEMBER)
    stop = (await ask("POST", "/v1/suppressions", {"channel": "sms", "address": ANN})).body
    thread = f"/c/{message['conversation_id']}"
    for _ in range(2):
        refused = await browser.post(f"/m/{message['id']}/retry", Referer=f"{ORIGIN}/inbox{thread}")
        assert 422 == refused.status
        assert "This address was put on the list of addresses not to write to." in refused.words
        assert f'href="/inbox{thread}"' in refused.text
        assert [] == await retries(ask, message["id"])
        assert await can_retry(browser, message)
    await ask("DELETE", f"/v1/suppressions/{stop['id']}")
    answer = await browser.post(f"/m/{message['id']}/retry")
    assert (303, 1) == (answer.status, len(await retries(ask, message["id"])))


async def test_what_was_followed_has_no_button(inbox: Inbox, ask: Ask) -> None:
    """Where something else was sent instead, the thread says so, and offers no second one."""
    message = await failed(inbox, ask)
    browser = await inbox.signed_in(MEMBER)
    await inbox.change(
        "INSERT INTO gateway.message_events"
        " (organization_id, message_id, id, type, occurred_at, source)"
        " SELECT organization_id, id, gen_random_uuid(), 'fallback', now(), 'worker' FROM messages"
        " WHERE id = $1",
        message["id"],
    )
    assert not await can_retry(browser, message)
    shown = await browser.get(f"/m/{message['id']}", HX_Request="true")
    assert "Something else was sent instead" in shown.words


async def test_of_a_test_key(inbox: Inbox, ask: Ask) -> None:
    """What a test key sent is shown as such: nobody got it."""
    message = await send(ask)
    await inbox.change(
        "UPDATE messages SET status = 'delivered', metadata = jsonb_build_object('provider',"
        " jsonb_build_object('test', true)) WHERE id = $1",
        message["id"],
    )
    browser = await inbox.signed_in(MEMBER)
    shown = await browser.get(f"/m/{message['id']}", HX_Request="true")
    assert "Test: delivered to nobody" in shown.words


@pytest.mark.parametrize(
    ("send_at", "waiting"),
    [({}, "waiting to be sent"), ({"send_at": "2090-01-01T12:00:00Z"}, "scheduled")],
)
async def test_of_a_test_key_from_the_beginning(
    inbox: Inbox, ask: Ask, send_at: dict[str, str], waiting: str
) -> None:
    """While it waits, and where it has failed, too; it has no button that would send it to
    somebody."""
    request = {"channel": "sms", "to": ANN, "body": "Hello"} | send_at
    message = (await ask("POST", "/v1/messages", request, key=inbox.gateway.a.test_key)).body
    browser = await inbox.signed_in(MEMBER)
    shown = await browser.get(f"/m/{message['id']}", HX_Request="true")
    assert f"Test: {waiting}" in shown.words
    await inbox.change("UPDATE messages SET status = 'failed', error_code = 'expired'")
    shown = await browser.get(f"/m/{message['id']}", HX_Request="true")
    assert "Test: not delivered" in shown.words
    assert "A test key sent it: nobody was to get it." in shown.words
    assert "Send it again" not in shown.words
    assert not await can_retry(browser, message)
    assert 409 == (await browser.post(f"/m/{message['id']}/retry")).status
    assert [] == await retries(ask, message["id"])
