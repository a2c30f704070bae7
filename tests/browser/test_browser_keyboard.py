"""What the inbox does beside its pages: keys, the viewer's zone, a server that is away."""

from __future__ import annotations

import asyncio

import pytest

from tests.browser.conftest import Axe, Visitors

api = pytest.importorskip("playwright.async_api")


async def test_the_way_by_keyboard(visitors: Visitors, axe: Axe) -> None:
    """First comes the way around the navigation; every stop is visible; Escape closes the menu."""
    page = await visitors.open(path="/templates")
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await api.expect(skip).to_be_focused()
    await api.expect(skip).to_be_in_viewport()
    await page.keyboard.press("Enter")
    await api.expect(page.locator("main")).to_be_focused()

    await page.goto("/inbox/templates")
    for name in ("Alpha", "Conversations", "Templates", "Senders", "Suppressions"):
        while not await page.evaluate(
            "(name) => document.activeElement.textContent.trim() === name", name
        ):
            await page.keyboard.press("Tab")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", name
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await api.expect(page.get_by_role("button", name="Sign out everywhere")).to_be_visible()
    await axe(page)
    await page.keyboard.press("Escape")
    await api.expect(page.get_by_role("button", name="Sign out everywhere")).to_be_hidden()
    await api.expect(page.locator("summary")).to_be_focused()


async def test_times_are_in_the_viewers_zone(visitors: Visitors) -> None:
    """The browser tells its zone once; without JavaScript it stays the organization's, or UTC."""
    told = await visitors.open(timezone_id="America/New_York")
    silent = await visitors.open(js=False, timezone_id="America/New_York")

    await api.expect(told.get_by_text("Times are in America/New_York.")).to_be_visible()
    await api.expect(silent.get_by_text("Times are in UTC.")).to_be_visible()


async def test_what_htmx_is_refused_is_said(visitors: Visitors, axe: Axe) -> None:
    """A part of a page that cannot be had says why, where a screen reader hears it; so does a
    server that is not reached; and who is signed out elsewhere is asked to sign in."""
    page = await visitors.open(path="/templates")
    ask = "(path) => htmx.ajax('GET', document.body.dataset.inbox + path, 'main').catch(() => null)"

    await page.evaluate(ask, "/nothing")
    problem = page.get_by_role("alert")
    await api.expect(problem).to_contain_text("There is no page at this address.")
    await api.expect(page.get_by_role("heading", name="Templates")).to_be_visible()
    await axe(page)
    await page.get_by_role("button", name="Close").click()
    await api.expect(problem).to_be_empty()

    await page.context.set_offline(True)
    await page.evaluate(ask, "/senders")
    await api.expect(problem).to_contain_text("The server was not reached.")
    await page.keyboard.press("Escape")
    await api.expect(problem).to_be_empty()
    await page.context.set_offline(False)

    async with visitors.stage.database.as_service() as db:
        await db.execute("DELETE FROM gateway.staff_sessions")
    await page.evaluate(ask, "/senders")
    await api.expect(problem).to_contain_text("Your session has ended.")
    await api.expect(page.get_by_role("heading", name="Templates")).to_be_visible()
    # htmx writes down what it was refused.
    assert all(each.startswith("console: ") for each in visitors.complaints)
    visitors.complaints.clear()


async def test_nothing_runs_that_is_not_ours(visitors: Visitors) -> None:
    """The policy of the page stops a script that came into it by any way, and says so."""
    page = await visitors.open()

    ran = await page.evaluate(
        """() => {
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.body.append(script);
          return window.ran === true;
        }"""
    )

    assert not ran
    for _ in range(1000):  # the console may be told a moment later
        if visitors.complaints:
            break
        await asyncio.sleep(0.01)
    (complaint,) = visitors.complaints
    assert "Content Security Policy" in complaint
    visitors.complaints.clear()
