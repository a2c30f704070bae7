"""What is written and not yet sent waits in its tab and conversation, for whoever wrote it."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import MEMBER, Visitors
from tests.browser.people import ADA
from tests.browser.scene import Scene

if TYPE_CHECKING:
    from playwright.async_api import Dialog, Page

api = pytest.importorskip("playwright.async_api")

BEN = "+447700900701"


async def nothing_waits(page: Page) -> None:
    """Not in this tab, at the latest when other tabs have told it what happened there."""
    waits = "Object.keys(sessionStorage).some((name) => name.startsWith('gateway'))"
    async with asyncio.timeout(30):
        # The page's policy has no eval, so it cannot wait itself.
        while await page.evaluate(waits):  # noqa: ASYNC110 - the browser's state has no event
            await asyncio.sleep(0.05)


async def test_a_draft_waits_in_its_conversation(visitors: Visitors) -> None:
    """Who opens another conversation finds what they wrote when they come back, with its channel,
    template and variables; once it is sent, nothing waits any more."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.template("whatsapp", "Reminder", "Hi {{ name }}, see you.", ["name"])
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    ben = await scene.conversation(await scene.said("sms", BEN, "Good morning"))
    page = await visitors.open(path=f"/c/{ada}")
    text, name = page.get_by_label("Your message"), page.get_by_label("name", exact=True)
    await text.fill("Dear Ada")
    await page.locator(f"#to-{ben}").click()
    await page.wait_for_url(f"**/c/{ben}")
    await api.expect(text).to_have_value("")
    await page.locator(f"#to-{ada}").click()
    await api.expect(text).to_have_value("Dear Ada")

    await page.get_by_label("Channel").last.select_option(label="WhatsApp")
    await page.get_by_label("Template").select_option(label="Reminder")
    await name.fill("Ada")
    await page.goto(f"/inbox/c/{ben}")
    await page.goto(f"/inbox/c/{ada}")
    await api.expect(name).to_have_value("Ada")
    await page.get_by_label("Template").select_option(label="No template")
    await page.get_by_label("Channel").last.select_option(label="SMS")
    await api.expect(text).to_be_enabled()
    await api.expect(text).to_have_value("Dear Ada")
    await text.press("Control+Enter")
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    visitors.complaints.clear()  # htmx writes down that it took a question back for a later one
    await page.reload()
    await api.expect(text).to_have_value("")
    await nothing_waits(page)


async def test_a_draft_is_nobody_elses(visitors: Visitors) -> None:
    """It is gone from every tab with whoever signs out, and where somebody else signs in after a
    session that ended by itself; the one who wrote it has it again."""
    scene = Scene(visitors.stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    other = await page.context.new_page()
    await other.goto(f"/inbox/c/{ada}")
    for each in (page, other):
        await each.get_by_label("Your message").fill("A secret")
    await page.context.clear_cookies()  # their session has ended
    await page.goto(await visitors.stage.link("owner@alpha.example.com"))
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/inbox")
    await page.goto(f"/inbox/c/{ada}")
    await api.expect(page.get_by_label("Your message")).to_have_value("A secret")

    await page.get_by_label("Your account").click()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await api.expect(page.get_by_text("You are signed out.")).to_be_visible()
    await nothing_waits(page)
    await nothing_waits(other)

    await page.goto(await visitors.stage.link("owner@alpha.example.com"))
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/inbox")
    await page.goto(f"/inbox/c/{ada}")
    await page.get_by_label("Your message").fill("Another")
    await page.context.clear_cookies()
    await page.goto(await visitors.stage.link(MEMBER))
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/inbox")
    await nothing_waits(page)
    visitors.complaints.clear()  # a tab whose session has ended may measure a text once more


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_draft_in_a_conversation_that_is_merged(
    visitors: Visitors, *, is_open: bool
) -> None:
    """What was written in either of two that a colleague makes one is there, whichever is open."""
    scene = Scene(visitors.stage)
    await scene.senders()
    gone = await scene.conversation(await scene.said("sms", ADA[0], "From my phone"))
    stays = await scene.conversation(await scene.said("sms", BEN, "From another"))
    page, colleague = await visitors.open(path=f"/c/{stays}"), await visitors.open(MEMBER)
    text = page.get_by_label("Your message")
    await text.fill("Dear Ben")
    await page.goto(f"/inbox/c/{gone}")
    await text.fill("Dear Ada" if is_open else "")
    await colleague.goto(f"/inbox/c/{stays}/merge?other={gone}")
    await colleague.get_by_role("button", name="They are one person").click()

    await api.expect(page.locator("#messages")).to_contain_text("From another")
    both = "Dear Ben\n\nDear Ada" if is_open else "Dear Ben"
    await api.expect(text).to_have_value(both)
    for each in (gone, stays):
        await page.goto(f"/inbox/c/{each}")
        await api.expect(text).to_have_value(both)


async def test_a_draft_that_is_found_after_a_merge(visitors: Visitors) -> None:
    """Who was elsewhere meanwhile finds it at the address where they left it."""
    scene = Scene(visitors.stage)
    await scene.senders()
    gone = await scene.conversation(await scene.said("sms", ADA[0], "From my phone"))
    stays = await scene.conversation(await scene.said("sms", BEN, "From another"))
    page, colleague = await visitors.open(path=f"/c/{gone}"), await visitors.open(MEMBER)
    await page.get_by_label("Your message").fill("Dear Ada")
    await page.goto("about:blank")
    await colleague.goto(f"/inbox/c/{stays}/merge?other={gone}")
    await colleague.get_by_role("button", name="They are one person").click()
    await api.expect(colleague.locator("#messages")).to_contain_text("From my phone")

    await page.goto(f"/inbox/c/{gone}")
    await api.expect(page.get_by_label("Your message")).to_have_value("Dear Ada")


async def test_a_draft_whose_form_does_not_come(visitors: Visitors) -> None:
    """Who comes back while the server begins anew is told so, has everything that they wrote, and
    can send it; what fails after that is told, too."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.template("sms", "Plan", "Dear {{ name }}", ["name"])
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    problem = page.get_by_role("alert")
    send = page.get_by_role("button", name="Send", exact=True)
    await page.get_by_label("Template").select_option(label="Plan")
    await page.get_by_label("name", exact=True).fill("Ada Lovelace")
    await page.context.route(
        re.compile("/compose$|/reply$"), lambda route: route.fulfill(status=503, body="Restarting.")
    )
    await page.reload()
    await api.expect(problem).to_have_text("Restarting.")
    await problem.evaluate("problem => problem.replaceChildren()")
    await send.click()
    await api.expect(problem).to_have_text("Restarting.")
    await page.reload()
    await api.expect(problem).to_have_text("Restarting.")

    await page.context.unroute(re.compile("/compose$|/reply$"))
    await send.click()
    await api.expect(page.locator("#messages")).to_contain_text("Dear Ada Lovelace")
    visitors.complaints.clear()  # htmx writes down what was refused


async def test_a_draft_whose_template_is_of_another_channel(visitors: Visitors) -> None:
    """Where its form does not come, it still has its template, whatever is typed then."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.template("whatsapp", "Reminder", "Hi {{ name }}, see you.", ["name"])
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    text, name = page.get_by_label("Your message"), page.get_by_label("name", exact=True)
    await page.get_by_label("Channel").last.select_option(label="WhatsApp")
    await page.get_by_label("Template").select_option(label="Reminder")
    await name.fill("Ada")
    await page.route("**/compose", lambda route: route.fulfill(status=503, body="Restarting."))
    await page.reload()
    await api.expect(page.get_by_role("alert")).to_have_text("Restarting.")
    await text.fill("A word more")
    await page.unroute("**/compose")
    await page.reload()
    await api.expect(name).to_have_value("Ada")
    visitors.complaints.clear()  # htmx writes down what was refused


async def test_who_signs_out_everywhere_after_their_session_has_ended(visitors: Visitors) -> None:
    """Nothing that they wrote waits in the browser."""
    scene = Scene(visitors.stage)
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    await page.get_by_label("Your message").fill("A secret")
    await page.context.clear_cookies()
    await page.get_by_label("Your account").click()
    await page.get_by_role("button", name="Sign out everywhere").click()
    await page.wait_for_url("**/sign-in*")
    await nothing_waits(page)
    visitors.complaints.clear()  # a tab whose session has ended may measure a text once more


async def test_a_notice_is_not_of_the_next_one(visitors: Visitors) -> None:
    """That a message is on its way is not said of the next one, which was not sent."""
    scene = Scene(visitors.stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    text, notice = page.get_by_label("Your message"), page.locator("#composer > .notice")
    await text.fill("One")
    await text.press("Control+Enter")
    await api.expect(notice).to_have_text("Your message is on its way.")
    await text.fill("Two")
    await page.context.set_offline(True)
    await text.press("Control+Enter")
    await api.expect(page.locator("#problem")).not_to_be_empty()
    await api.expect(notice).to_have_count(0)
    await api.expect(text).to_have_value("Two")
    await page.context.set_offline(False)
    visitors.complaints.clear()  # the browser writes down that it was offline


async def test_files_are_not_left_behind(visitors: Visitors) -> None:
    """Who leaves a conversation with files chosen is asked first: a browser gives no files back."""
    scene = Scene(visitors.stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    ben = await scene.conversation(await scene.said("sms", BEN, "Good morning"))
    page = await visitors.open(path=f"/c/{ada}")
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    page.on("dialog", stay)
    files = page.get_by_label("Attach")
    await files.set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"by bus"})
    async with page.expect_event("dialog"):
        await page.locator(f"#to-{ben}").click()
    await page.wait_for_timeout(50)
    assert (["beforeunload"], True) == (asked, page.url.endswith(str(ada)))
    await files.set_input_files([])
    await page.locator(f"#to-{ben}").click()
    await page.wait_for_url(f"**/c/{ben}")


async def test_a_draft_that_travels(visitors: Visitors) -> None:
    """A draft for later keeps the zone in which its time was typed, and says so; one without a time
    has the zone where its writer is."""
    scene = Scene(visitors.stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    text, zone = page.get_by_label("Your message"), page.locator("#composer input[name=zone]")
    for at, expected in (("2090-01-01T20:00", "Europe/London"), ("", "Asia/Tokyo")):
        if not await page.locator(".more-fields").evaluate("more => more.open"):
            await page.locator("#composer summary").click()
        await text.fill("Dear Ada")
        await page.get_by_label("Send later").fill(at)
        await page.context.add_cookies(
            [{"name": "gateway_zone", "value": "Asia/Tokyo", "url": f"{visitors.stage.url}/inbox"}]
        )
        await page.reload()
        await api.expect(text).to_have_value("Dear Ada")
        await api.expect(zone).to_have_value(expected)
        await api.expect(page.locator("#composer .its-zone")).to_have_text(expected)
