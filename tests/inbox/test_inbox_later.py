"""What is sent later, is sent at the time that the form names, wherever its writer is by then."""

from __future__ import annotations

import pytest

from tests.inbox.conftest import Inbox
from tests.inbox.talking import MEMBER, hidden, send
from tests.service.conftest import Ask

ZONE, AT = "America/New_York", "2090-01-01T20:00"


@pytest.mark.parametrize("by_then", ["Asia/Tokyo", None])
async def test_the_zone_that_the_form_names(inbox: Inbox, ask: Ask, by_then: str | None) -> None:
    """A time is meant in the zone beside it, also where another tab has named another since; the
    form keeps it when it comes back, and the next one has the new zone."""
    path = f"/c/{(await send(ask))['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    browser.cookies["gateway_zone"] = ZONE
    page = await browser.get(path)
    typed = {"key": hidden(page, "key"), "zone": hidden(page, "zone"), "channel": "sms"}
    typed |= {"send_at": AT, "body": "later"}
    browser.cookies.pop("gateway_zone")
    if by_then is not None:
        browser.cookies["gateway_zone"] = by_then
    again = await browser.post(f"{path}/compose", typed, HX_Request="true")
    assert f"In {ZONE}" in page.words
    assert (ZONE, True) == (hidden(again, "zone"), f"In {ZONE}" in again.words)

    answers = [
        await browser.post(f"{path}/reply", typed | {"do": "send"}, HX_Request="true")
        for _ in range(2)
    ]
    rows = (await ask("GET", "/v1/messages")).body["data"]
    assert ["2090-01-02T01:00:00Z", None] == [row["send_at"] for row in rows]
    assert [by_then or "UTC"] * 2 == [hidden(each, "zone") for each in answers]


async def test_a_zone_that_there_is_not(inbox: Inbox, ask: Ask) -> None:
    """A form that names none, or no zone, means the viewer's."""
    path = f"/c/{(await send(ask))['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    browser.cookies["gateway_zone"] = "Asia/Tokyo"
    for zone in ({}, {"zone": "Mars/Olympus"}, {"zone": "../etc/passwd"}, {"zone": "a" * 70}):
        fields = {"do": "send", "channel": "sms", "body": "later", "send_at": AT, **zone}
        assert 303 == (await browser.post(f"{path}/reply", fields)).status
        row = (await ask("GET", "/v1/messages")).body["data"][0]
        assert "2090-01-01T11:00:00Z" == row["send_at"]
