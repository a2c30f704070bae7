"""Where an answer goes, and from which sender: as their last message came, or as was chosen."""

from __future__ import annotations

import re

import pytest

from channels.model import Channel
from gateway.manage import setup
from tests.inbox.conftest import Browser, Inbox, Shown
from tests.inbox.talking import ANN, MEMBER, hidden, stored
from tests.service.conftest import Ask

OTHER = "+447700900701"


def way(shown: Shown) -> tuple[str, bool]:
    """The address that the form goes to, and whether that is in sight."""
    form = shown.text[shown.text.index('id="composer"') :]
    options = re.search(r'<select id="by-to" name="to"[^>]*>(.*?)</select>', form)
    assert options is not None
    found = re.search(r"<option selected>([^<]*)<", options[1])
    found = found or re.search(r"<option>([^<]*)<", options[1])
    assert found is not None
    return found[1].replace("&#43;", "+"), '<details class="more-fields" open>' in form


@pytest.fixture
async def both(inbox: Inbox) -> tuple[Browser, str]:
    """A browser, and the path of somebody with two numbers who wrote from `ANN` last."""
    other, ann = await stored(inbox, from_address=OTHER), await stored(inbox)
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{ann['conversation_id']}"
    merged = await browser.post(f"{path}/merge", {"other": str(other["conversation_id"])})
    assert 303 == merged.status
    return browser, path


async def test_a_form_begins_where_they_wrote_from_last(
    inbox: Inbox, ask: Ask, both: tuple[Browser, str]
) -> None:
    """After a message the next form begins anew: what was chosen for one is not kept for another,
    nor where they wrote from before."""
    browser, path = both
    page = await browser.get(path)
    await stored(inbox, from_address=OTHER)
    sent = {"key": hidden(page, "key"), "do": "send", "channel": "sms", "body": "x", "to": ANN}
    after = await browser.post(f"{path}/reply", sent, HX_Request="true")
    assert (ANN, False) == way(page)
    assert ((200, "sent"), (OTHER, False)) == (
        (after.status, after.headers["HX-Trigger-After-Settle"]),
        way(after),
    )
    assert (
        ANN == (await ask("GET", "/v1/messages?direction=outbound")).body["data"][0]["to_address"]
    )


async def test_what_was_left_as_it_was_offered(inbox: Inbox, both: tuple[Browser, str]) -> None:
    """An open form follows them to the number that they write from; a choice stays, in sight."""
    browser, path = both
    page = await browser.get(path)
    left = {"channel": "sms", "to": way(page)[0], "offered.to": hidden(page, "offered.to")}
    await stored(inbox, from_address=OTHER)
    again = await browser.post(f"{path}/compose", left, HX_Request="true")
    chosen = await browser.post(f"{path}/compose", left | {"offered.to": OTHER}, HX_Request="true")
    assert (OTHER, False) == way(again)
    assert (ANN, True) == way(chosen)


@pytest.mark.parametrize("channel", ["call", "whatsapp"])
async def test_the_filter_of_the_list_is_not_the_answers_channel(
    inbox: Inbox, both: tuple[Browser, str], channel: str
) -> None:
    """Who found them among the calls answers in writing; a text that a link brings is there."""
    browser, path = both
    await setup.add_sender(
        inbox.gateway.database, inbox.gateway.a.account_id, Channel(channel), "+15551230001",
        is_default=True, rate=None,
    )  # fmt: skip
    page = await browser.get(f"{path}?channel={channel}&body=begun")
    form = page.text[page.text.index('id="composer"') :]
    assert '<option value="sms" selected>' in form
    assert f'<option value="{channel}">' in form
    assert ">\nbegun</textarea>" in form


async def test_another_channel_goes_where_they_are(inbox: Inbox, both: tuple[Browser, str]) -> None:
    """Where nothing was said on a channel yet, it goes to the number that they wrote from last."""
    browser, path = both
    await setup.add_sender(
        inbox.gateway.database, inbox.gateway.a.account_id, Channel.CALL, "+15551230001",
        is_default=True, rate=None,
    )  # fmt: skip
    for last in (OTHER, ANN):
        await stored(inbox, from_address=last)
        call = await browser.post(f"{path}/compose", {"channel": "call"}, HX_Request="true")
        assert (last, False) == way(call)
