"""A working day at the desk, in a real browser, with a worker and providers that answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from tests.browser.conftest import PATIENCE, WIDE, Axe
from tests.browser.conftest import PHONE as PHONE_SIZE
from tests.browser.desk import Desk, opened

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

api = pytest.importorskip("playwright.async_api")
LONDON = ZoneInfo("Europe/London")


@pytest_asyncio.fixture(loop_scope="session")
async def desk(database: str, tmp_path: Path, chromium: Browser) -> AsyncIterator[Desk]:
    """A desk that is open, with Ada among its leads."""
    async with opened(database, tmp_path, chromium) as made:
        await made.ada()
        yield made


async def seat(desk: Desk, **more: Any) -> Page:
    """Somebody of the staff sits down at it."""
    context = await desk.browser.new_context(
        **({"viewport": WIDE, "timezone_id": "Europe/London"} | more)
    )
    context.set_default_timeout(PATIENCE)
    page = await context.new_page()
    await desk.enter(page)
    return page


async def test_a_conversation_over_all_channels(desk: Desk) -> None:
    """What she writes appears by itself, replies leave on each channel, their fate is seen as it
    comes, and the title counts what is unread."""
    began = datetime.now(LONDON).date()
    page = await seat(desk)
    await api.expect(page.get_by_role("heading", name="All done")).to_be_visible()

    await desk.hears("sms", "Is there a place on Monday?")

    row = page.locator(".conversations li").filter(has_text="Is there a place on Monday?")
    await api.expect(row).to_contain_text("1 unread")
    await api.expect(page).to_have_title("(1) Conversations · Riverside Clinic")
    await row.get_by_role("link").click()
    await api.expect(page).to_have_title("Ada Lovelace · Riverside Clinic")
    await api.expect(page.get_by_role("button", name="Mark as unread")).to_be_visible()

    thread = page.locator("#messages")
    await desk.hears("whatsapp", "Or on Tuesday?")
    await desk.hears("email", "Or on Wednesday?", params={"subject": "A place"})
    for words in ("Or on Tuesday?", "Or on Wednesday?"):
        await api.expect(thread).to_contain_text(words)
    await api.expect(page.locator("#live")).to_contain_text("New message: Or on")

    for channel, fate in (
        ("SMS", "Delivered"), ("WhatsApp", "Delivered"), ("E-mail", "Delivered"),
        ("Call", "Call ended"),
    ):  # fmt: skip
        await page.locator("#composer").evaluate("form => { form.dataset.old = '' }")
        await page.get_by_label("Channel").last.select_option(label=channel)
        await api.expect(page.locator("#composer[data-old]")).to_have_count(0)
        send = page.get_by_role("button", name="Call" if channel == "Call" else "Send", exact=True)
        await api.expect(send).to_be_visible()
        if channel == "E-mail":
            await api.expect(page.get_by_label("Subject")).to_have_value("Re: A place")
        if channel == "SMS":
            await page.get_by_label("Your message").fill("☎" * 71)
            await api.expect(page.locator("#measure")).to_contain_text("2 segments, UCS-2")
        if channel == "WhatsApp":
            await api.expect(
                page.get_by_text("WhatsApp accepts free text for another 23 h")
            ).to_be_visible()
        await page.get_by_label("Your message").fill(f"Tuesday is fine, said by {channel}.")
        await send.click()
        message = thread.locator("li.ours").filter(has_text=f"said by {channel}.")
        await api.expect(message).to_contain_text(fate)
        await api.expect(page.get_by_label("Your message")).to_have_value("")
    assert 4 == await thread.locator("li.ours").count()
    days = {began, datetime.now(LONDON).date()}  # two at midnight
    assert 1 <= await thread.locator(".day").count() <= len(days)
    await page.context.close()


async def test_a_failure_is_explained(desk: Desk, axe: Axe) -> None:
    """Where a message fails while one looks, it says why and what to do; more is on its page."""
    await desk.plan(outcome="undelivered", error_code=30003)
    await desk.hears("sms", "Call me.")
    page = await seat(desk)
    await page.get_by_role("link", name="Ada Lovelace").click()
    await page.get_by_label("Your message").fill("We tried.")
    await page.get_by_role("button", name="Send", exact=True).click()

    message = page.locator("li.ours").filter(has_text="We tried.")
    await api.expect(message).to_contain_text("The phone could not be reached")
    await api.expect(page.locator("#live")).to_have_text("A message was not delivered.")
    await axe(page)
    await message.get_by_role("link", name="Not delivered").click()
    await api.expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    assert await page.locator(".timeline > li").count() > 2
    await axe(page)
    await page.context.close()


async def test_by_keyboard_alone(desk: Desk, axe: Axe) -> None:
    """Found, opened, answered and put away without a mouse, wherever the focus is seen."""
    await desk.hears("sms", "About the kitchen")
    await desk.hears("sms", "About the garden", **{"from": "+15557650000"})
    page = await seat(desk)
    key = page.keyboard.press
    await key("?")
    await api.expect(page.get_by_role("dialog")).to_be_visible()
    await axe(page)
    await key("Escape")
    await api.expect(page.get_by_role("dialog")).to_be_hidden()
    await key("j")
    await api.expect(page.locator(".conversations a").first).to_be_focused()
    outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    await key("j")
    await api.expect(page.locator(".conversations a").last).to_be_focused()
    await key("k")
    await key("/")
    await page.keyboard.type("kitchen")
    await api.expect(page.locator(".conversations li")).to_have_count(1)
    await key("Escape")
    await key("j")
    await key("Enter")
    await api.expect(
        page.get_by_role("heading", name="Ada Lovelace", level=2).first
    ).to_be_visible()
    await key("r")
    await page.keyboard.type("Of course r j k / ?")
    await key("Control+Enter")
    sent = page.locator("li.ours").filter(has_text="Of course r j k / ?")
    await api.expect(sent).to_contain_text("Delivered")
    await api.expect(page.get_by_label("Your message")).to_be_focused()
    await page.context.close()


async def test_on_a_phone(desk: Desk, axe: Axe) -> None:
    """One pane at a time, with a way back from each, and nothing wider than the screen."""
    await desk.hears("sms", "x" * 300)
    page = await seat(desk, viewport=PHONE_SIZE, has_touch=True)
    await page.get_by_role("link", name="Ada Lovelace").click()
    await api.expect(page.get_by_label("Your message")).to_be_visible()
    await api.expect(page.locator(".pane.list")).to_be_hidden()
    await page.get_by_role("link", name="Contact").click()
    await api.expect(page.get_by_role("heading", name="Addresses")).to_be_visible()
    await api.expect(page.get_by_label("Your message")).to_be_hidden()
    await axe(page)
    await page.get_by_role("link", name="Back to the messages").click()
    await api.expect(page.get_by_label("Your message")).to_be_visible()
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    assert not await page.evaluate(wide)
    await page.get_by_role("link", name="Back to the list").click()
    await api.expect(page.get_by_role("link", name="Ada Lovelace")).to_be_visible()
    await page.context.close()


async def test_without_javascript(desk: Desk) -> None:
    """Read, marked as read, found and answered with pages and forms alone."""
    await desk.hears("sms", "About the kitchen")
    page = await seat(desk, java_script_enabled=False)
    await page.get_by_label("Search conversations").fill("kitchen")
    await page.get_by_role("button", name="Show").click()
    await page.get_by_role("link", name="Ada Lovelace").click()
    await api.expect(page.get_by_text("1 unread", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Mark as read").click()
    await api.expect(page.get_by_role("button", name="Mark as unread")).to_be_visible()
    await page.get_by_label("Your message").fill("It is ready.")
    await page.get_by_role("button", name="Preview").click()
    await api.expect(page.get_by_text("This would be sent: 1 segment, GSM-7")).to_be_visible()
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.get_by_text("Your message is on its way.")).to_be_visible()
    await api.expect(page.locator("li.ours")).to_contain_text("It is ready.")
    await page.context.close()
