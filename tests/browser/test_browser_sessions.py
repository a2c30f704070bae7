"""Tabs of one browser, in which people sign out and in, while a page is open."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visitors
from tests.browser.people import ADA
from tests.browser.scene import OURS, Scene
from tests.browser.test_browser_talk import hear

if TYPE_CHECKING:
    from playwright.async_api import Page, Request, Route

api = pytest.importorskip("playwright.async_api")

# A page that does not learn by itself that somebody comes back to it.
STAY = """() => {
  for (const kind of ["focus", "visibilitychange"]) {
    const stop = (event) => { if (event.isTrusted) event.stopImmediatePropagation(); };
    window.addEventListener(kind, stop, true);
  }
}"""
LOOK = "window.dispatchEvent(new Event('focus'))"
WAITS = """(is) => is === Object.keys(sessionStorage).some(
  (name) => name.startsWith("gateway draft"))"""


async def sign_out(page: Page) -> None:
    """Press the button."""
    await page.get_by_label("Your account").click()
    await page.get_by_role("button", name="Sign out", exact=True).click(no_wait_after=True)


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_who_signs_out_and_in_again(visitors: Visitors, *, is_noticed: bool) -> None:
    """What they had written is a draft again as soon as their page is renewed: when they come back
    to it, or, where they have not left it, when it was refused once."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    await page.evaluate(STAY)
    text, send = (
        page.get_by_label("Your message"),
        page.get_by_role("button", name="Send", exact=True),
    )
    await text.fill("Half an hour's work.")
    await text.blur()  # which is a change, and keeps the draft
    other = await page.context.new_page()
    await other.goto("/inbox")
    await sign_out(other)
    await api.expect(other.get_by_text("You are signed out.")).to_be_visible()
    await page.wait_for_function(WAITS, arg=False)
    if is_noticed:
        await send.click()
        await api.expect(page.get_by_role("alert")).to_contain_text("Your session has ended")
    await stage.enter(other)
    await other.close()
    if is_noticed:
        await page.evaluate(LOOK)
    else:
        await send.click()
        await api.expect(page.get_by_role("alert")).to_contain_text("try again")
    await page.wait_for_function(WAITS, arg=True)
    if is_noticed:
        await page.reload()
    await api.expect(text).to_have_value("Half an hour's work.")
    await send.click()
    await api.expect(page.locator("#messages")).to_contain_text("Half an hour's work.")
    visitors.complaints.clear()  # htmx writes down that it was refused


@pytest.mark.parametrize("why", ["offline", "older"])
async def test_a_sign_out_that_does_not_happen(visitors: Visitors, why: str) -> None:
    """Who is still signed in still has what they wrote."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    other = await visitors.open()
    page = await other.context.new_page()
    if why == "older":
        await stage.enter(page)
    await page.goto(f"/inbox/c/{ada}")
    await page.get_by_label("Your message").fill("My draft")
    if why == "older":
        async with other.expect_response("**/sign-out"):
            await sign_out(other)
    else:
        await other.route("**/sign-out", lambda route: route.abort())
        async with other.expect_event("requestfailed"):
            await sign_out(other)
    await page.goto("/inbox")
    await page.goto(f"/inbox/c/{ada}")
    await api.expect(page.get_by_label("Your message")).to_have_value("My draft")
    visitors.complaints.clear()


async def test_an_open_page_does_not_keep_its_session(visitors: Visitors) -> None:
    """What a page does by itself, such as to mark as read what comes in while it has the focus, is
    no use of its session."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    said = await scene.said("whatsapp", ADA[0], "Hello?")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await api.expect(page.get_by_label("Your message")).to_be_disabled()
    counted: list[str] = []

    def note(request: Request) -> None:
        if "/live" not in request.url and request.headers.get("x-by-itself") != "1":
            counted.append(request.url)

    page.on("request", note)
    async with page.expect_response("**/read"):
        to, from_ = f"whatsapp:{OURS['whatsapp']}", f"whatsapp:{ADA[0]}"
        await hear(stage, stage.a, to, from_, "Are you there?")
    await api.expect(page.locator("#messages")).to_contain_text("Are you there?")
    await api.expect(page.get_by_label("Your message")).to_be_enabled()
    await page.evaluate(LOOK)

    assert [] == counted


async def test_a_page_of_one_organization_shows_no_other(visitors: Visitors) -> None:
    """Where somebody else signs in in another tab, it says so, and shows nothing of theirs."""
    stage = visitors.stage
    said = await Scene(stage).said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await Scene(stage).conversation(said)}")
    other = await page.context.new_page()
    await stage.enter(other, "owner@beta.example.com")
    await hear(stage, stage.b, "+15551230002", "+447700900555", "For Beta alone")
    async with page.expect_response(lambda answer: "/inbox?" in answer.url and answer.ok):
        await page.evaluate(
            "document.dispatchEvent(new CustomEvent('told', { detail: { type: 'look' } }))"
        )
    # It may have asked in between, when nobody was signed in: then it says that.
    words = re.compile("Somebody else has signed in|Your session has ended")
    await api.expect(page.get_by_role("alert")).to_contain_text(words)
    assert "Beta" not in await page.locator("#rows").inner_text()
    await api.expect(page.locator("#rows")).to_contain_text("Hello")
    await stage.enter(other)
    await other.close()
    await page.wait_for_function(
        f"() => {{ {LOOK}; return !document.getElementById('problem').children.length; }}"
    )
    visitors.complaints.clear()  # the browser writes down that a stream ended


async def test_a_renewed_page_hears_at_once(visitors: Visitors) -> None:
    """However long it waits before it asks again, once its person has signed in again it asks."""
    stage = visitors.stage
    said = await Scene(stage).said("sms", ADA[0], "Hello")
    page = await visitors.open()
    await page.clock.install()
    await page.goto(f"/inbox/c/{await Scene(stage).conversation(said)}")
    async with stage.database.as_service() as db:
        await db.execute("DELETE FROM gateway.staff_sessions")
    refused = asyncio.Event()

    async def refuse(route: Route) -> None:
        await route.fulfill(status=401, body="")
        refused.set()

    await page.context.route("**/inbox/live*", refuse)
    await asyncio.wait_for(refused.wait(), 30)
    await api.expect(page.locator("[data-signed-out]")).to_be_visible()
    await page.clock.pause_at(await page.evaluate("Date.now() + 60_000"))
    other = await page.context.new_page()
    await stage.enter(other)
    await other.close()
    await page.context.unroute("**/inbox/live*")
    async with page.expect_request("**/inbox/live*"):
        await page.evaluate(LOOK)
    await api.expect(page.get_by_role("alert")).to_be_empty()
    visitors.complaints.clear()  # the browser writes down what was refused
