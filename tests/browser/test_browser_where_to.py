"""An answer goes to the number that they wrote from last, also where the page is open already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from channels.model import Channel
from gateway.manage import setup
from tests.browser.conftest import Visitors
from tests.browser.people import ADA
from tests.browser.scene import OURS, Scene
from tests.browser.test_browser_talk import hear
from tests.browser.test_browser_waiting import slow

if TYPE_CHECKING:
    from uuid import UUID

    from playwright.async_api import Page

api = pytest.importorskip("playwright.async_api")

BEN = "+447700900701"
SECOND = "+15551230002"  # ours


async def two_numbers(visitors: Visitors) -> tuple[Page, UUID]:
    """The page of somebody with two numbers, who has written from BEN's last."""
    scene = Scene(visitors.stage)
    await scene.senders()
    gone = await scene.conversation(await scene.said("sms", ADA[0], "From my phone"))
    stays = await scene.conversation(await scene.said("sms", BEN, "From another"))
    page = await visitors.open(path=f"/c/{stays}/merge?other={gone}")
    await page.get_by_role("button", name="They are one person").click()
    await api.expect(page.locator("#messages")).to_contain_text("From my phone")
    return page, stays


@pytest.mark.parametrize("written", ["", "Dear Ada"])
async def test_an_open_page_follows_them(visitors: Visitors, written: str) -> None:
    """They write from their other number: what is written, or will be, goes there, and what was
    opened to see where it goes stays open."""
    page, _ = await two_numbers(visitors)
    stage, to = visitors.stage, page.locator("select[name=to]")
    text, more = page.get_by_label("Your message"), page.locator(".more-fields")
    await text.fill(written)
    await api.expect(to).to_have_value(BEN)
    await hear(stage, stage.a, OURS["sms"], ADA[0], "I am at my other number now")
    await api.expect(to).to_have_value(ADA[0])
    await api.expect(text).to_have_value(written)
    await api.expect(more).not_to_have_attribute("open", "")

    await page.locator("#composer summary").click()
    await text.fill("Good morning")
    await hear(stage, stage.a, OURS["sms"], BEN, "Back again")
    await api.expect(to).to_have_value(BEN)
    await api.expect(more).to_have_attribute("open", "")
    await api.expect(page.locator("#messages")).to_contain_text("Back again")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    async with stage.database.as_service() as db:
        sent = await db.fetch("SELECT to_address FROM messages WHERE body = 'Good morning'")
    assert [BEN] == [row["to_address"] for row in sent]


async def test_a_draft_goes_where_they_wrote_from_last(visitors: Visitors) -> None:
    """A draft that waited goes to the number that they write from by now; one for which another was
    chosen goes there, in sight."""
    page, where = await two_numbers(visitors)
    stage, to = visitors.stage, page.locator("select[name=to]")
    text, more = page.get_by_label("Your message"), page.locator(".more-fields")
    await text.fill("Dear Ada")
    await page.goto("about:blank")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "I am at my other number now")
    await page.goto(f"/inbox/c/{where}")
    await api.expect(text).to_have_value("Dear Ada")
    await api.expect(to).to_have_value(ADA[0])
    await api.expect(more).not_to_have_attribute("open", "")

    await page.locator("#composer summary").click()
    await to.select_option(BEN)
    await page.goto(f"/inbox/c/{where}")
    await api.expect(text).to_have_value("Dear Ada")
    await api.expect(to).to_have_value(BEN)
    await api.expect(more).to_have_attribute("open", "")


async def test_what_is_chosen_while_the_page_asks_where_to(visitors: Visitors) -> None:
    """Another number or a time, chosen while the page asks where they wrote from last, stays; what
    nobody chose follows them."""
    page, _ = await two_numbers(visitors)
    stage, composer = visitors.stage, page.locator("#composer")
    account = stage.a.account_id
    await setup.add_sender(
        stage.database, account, Channel.SMS, SECOND, is_default=False, rate=None
    )
    to, own = composer.locator("select[name=to]"), composer.locator("select[name=from]")
    later, text = composer.locator("input[name=send_at]"), page.get_by_label("Your message")
    await composer.locator("summary").click()
    await text.fill("Good morning")
    go_on = await slow(page, "**/compose")
    async with page.expect_request("**/compose"):
        await hear(stage, stage.a, SECOND, BEN, "To your other number")
    await to.select_option(ADA[0])
    await later.fill("2027-06-01T09:00")
    await text.focus()
    go_on.set()

    await api.expect(own).to_have_value(SECOND)
    await api.expect(to).to_have_value(ADA[0])
    await api.expect(later).to_have_value("2027-06-01T09:00")


async def test_the_page_asks_again(visitors: Visitors) -> None:
    """Where no answer came, and whatever has the focus; a chosen number stays, in sight."""
    page, _ = await two_numbers(visitors)
    stage, more = visitors.stage, page.locator(".more-fields")
    to, summary = page.locator("select[name=to]"), page.locator("#composer summary")
    await summary.focus()
    await page.route("**/compose", lambda route: route.fulfill(status=503), times=1)
    await hear(stage, stage.a, OURS["sms"], ADA[0], "I am at my other number now")
    await api.expect(to).to_have_value(ADA[0])

    await summary.click()
    await to.select_option(BEN)
    await summary.click()
    await api.expect(more).not_to_have_attribute("open", "")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "Do you hear me?")
    await api.expect(more).to_have_attribute("open", "")
    await api.expect(to).to_have_value(BEN)


async def test_a_channel_that_is_over(visitors: Visitors) -> None:
    """A form for a channel on which nobody can be written to any more gets no other's numbers."""
    scene, stage = Scene(visitors.stage), visitors.stage
    await scene.senders()
    await scene.lead("Ada", "Lovelace", ADA[0], email=ADA[1])
    await scene.said("sms", ADA[0], "Hello")
    where = await scene.conversation(await scene.said("email", ADA[1], "Hello", subject="Old"))
    page = await visitors.open(path=f"/c/{where}")
    to = page.locator("select[name=to]")
    await api.expect(to).to_have_value(ADA[1])
    async with stage.database.as_service() as db:
        await db.execute("UPDATE gateway.senders SET is_active = false WHERE channel = 'email'")
    async with page.expect_response("**/compose"):
        await hear(stage, stage.a, OURS["sms"], ADA[0], "By SMS")
    await page.evaluate("new Promise((done) => setTimeout(done, 300))")
    await api.expect(to).to_have_value(ADA[1])


async def test_what_is_chosen_while_a_preview_is_on_its_way(visitors: Visitors) -> None:
    """The number is there when the form comes back, also where it is the one that was offered."""
    page, _ = await two_numbers(visitors)
    to, preview = page.locator("select[name=to]"), page.locator("#do-check")
    await page.locator("#composer summary").click()
    await page.get_by_label("Your message").fill("Good morning")
    go_on = await slow(page, "**/reply")
    for number in (ADA[0], BEN):
        go_on.clear()
        await preview.click()
        await to.select_option(number)
        go_on.set()
        await api.expect(page.locator("#composer")).not_to_have_attribute("aria-busy", "true")
        await api.expect(page.get_by_text("This would be sent")).to_be_visible()
        await api.expect(to).to_have_value(number)
