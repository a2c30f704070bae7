"""The first message to somebody, and what was found far up, in a real browser."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import MEMBER, Axe, Visitors
from tests.browser.people import ADA
from tests.browser.scene import OURS, Scene
from tests.browser.test_browser_talk import hear

if TYPE_CHECKING:
    from playwright.async_api import Route

api = pytest.importorskip("playwright.async_api")


async def test_the_first_message_to_somebody(visitors: Visitors, axe: Axe) -> None:
    """With the keyboard, in a narrow window: found, chosen, written to once, however impatiently;
    what was begun for them waits for them alone, and is gone once it is sent."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.lead("Grace", "Hopper", "+447700900701", email="grace@hopper.example")
    await scene.lead("Alan", "Turing", "+447700900702")
    page = await visitors.open(MEMBER)
    await page.set_viewport_size({"width": 320, "height": 640})
    await page.keyboard.press("n")
    await api.expect(page.get_by_label("Lead or client")).to_be_focused()
    await page.keyboard.type("hopp")
    await page.keyboard.press("Enter")
    write = page.get_by_role("link", name="Write to Grace Hopper")
    await api.expect(write).to_be_visible()
    await axe(page)
    await write.focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Your message").fill("Dear Grace")
    await axe(page)
    begun = page.url
    await page.goto("/inbox/new?person=turing")
    await page.get_by_role("link", name="Write to Alan Turing").click()
    await api.expect(page.get_by_label("Your message")).to_have_value("")
    assert await page.evaluate("() => document.documentElement.scrollWidth") <= 320

    await page.goto(begun)
    await api.expect(page.get_by_label("Your message")).to_have_value("Dear Grace")
    await page.locator("#by-channel").select_option(label="E-mail")
    await page.get_by_label("Subject").fill("Hello")
    await page.get_by_role("button", name="Send", exact=True).dblclick()

    await page.wait_for_url(re.compile(r"/inbox/c/[0-9a-f-]{36}$"))
    await api.expect(page.locator("#messages")).to_contain_text("Dear Grace")
    await api.expect(page.get_by_text("Your message is on its way.")).to_be_visible()
    assert [("email", "Dear Grace")] == [
        (each["channel"], each["body"]) for each in await visitors.stage.sent()
    ]
    kept = await page.evaluate("() => Object.keys(sessionStorage)")
    assert [] == [each for each in kept if "draft" in each]


async def test_somebody_was_quicker(visitors: Visitors) -> None:
    """What was written to them waits in their conversation, which is read first."""
    stage, scene = visitors.stage, Scene(visitors.stage)
    lead = await scene.lead("Ada", None, ADA[0])
    page = await visitors.open(MEMBER, path=f"/to/lead/{lead}")
    await page.get_by_label("Your message").fill("Are you coming?")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "I am on my way")
    await api.expect(page.locator("#rows")).to_contain_text("I am on my way")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#messages")).to_contain_text("I am on my way")
    await api.expect(page.get_by_label("Your message")).to_have_value("Are you coming?")
    assert [] == await stage.sent()
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#messages")).to_contain_text("Are you coming?")
    assert 1 == len(await stage.sent())


@pytest.mark.parametrize("channel", ["SMS", "E-mail"])
async def test_who_was_linked_by_mistake(visitors: Visitors, channel: str) -> None:
    """What was begun for a lead waits where they are linked, also on another channel, whose form
    is then asked for; once that is taken back, it waits for them again, and not in a stranger's."""
    scene = Scene(visitors.stage)
    await scene.senders()
    lead = await scene.lead("Grace", "Hopper", "+447700900701", email="grace@hopper.example")
    stranger = await scene.conversation(await scene.said("sms", ADA[0], "Who are you?"))
    page = await visitors.open(MEMBER, path=f"/to/lead/{lead}")
    text, chosen = page.get_by_label("Your message"), page.locator("#by-channel option:checked")
    await page.locator("#by-channel").select_option(label=channel)
    await api.expect(page.get_by_label("Subject")).to_have_count(int(channel == "E-mail"))
    await text.fill("Dear Grace")
    await page.goto(f"/inbox/c/{stranger}/link?person=grace")
    await page.get_by_role("button", name="This one").click()
    await api.expect(chosen).to_have_text(channel)
    await api.expect(page.get_by_label("Subject")).to_have_count(int(channel == "E-mail"))
    await api.expect(text).to_have_value("Dear Grace")

    page.on("dialog", lambda dialog: dialog.accept())
    await page.get_by_role("button", name="Not this lead").click()

    await api.expect(page.locator("#contact")).not_to_contain_text("Hopper")
    await api.expect(text).to_have_value("")
    await page.goto(f"/inbox/to/lead/{lead}")
    await api.expect(text).to_have_value("Dear Grace")


async def test_what_was_found_far_up_is_in_view(visitors: Visitors) -> None:
    """It is marked, what comes in meanwhile is not shown as if it came next and is not read, and
    the latest messages are a click away."""
    stage, scene = visitors.stage, Scene(visitors.stage)
    zebra = await scene.said("sms", ADA[0], "about the zebra crossing")
    for number in range(45):
        await scene.said("sms", ADA[0], f"line {number} of the usual talk", minutes=1)
    page = await visitors.open(path="?q=zebra&status=all")
    await page.locator("#rows li a").click()
    found = page.locator(f"#m-{zebra}")
    await api.expect(found).to_be_in_viewport()
    assert "solid" == await found.locator("article").evaluate(
        "e => getComputedStyle(e).outlineStyle"
    )

    await hear(stage, stage.a, OURS["sms"], ADA[0], "And one more thing")
    await api.expect(page.locator("#rows")).to_contain_text("And one more thing")
    await api.expect(page.locator("#rows .count")).to_contain_text("1")
    await api.expect(page.locator("#messages")).not_to_contain_text("And one more thing")
    await page.get_by_role("link", name="Latest messages").click()
    await api.expect(page.locator("#messages")).to_contain_text("And one more thing")
    await api.expect(page.locator("#rows .count")).to_have_count(0)


async def test_a_first_message_whose_answer_was_lost(visitors: Visitors) -> None:
    """It is on its way, though nobody was told: the draft that waits in their conversation is it,
    and sends nothing more."""
    stage, scene = visitors.stage, Scene(visitors.stage)
    lead = await scene.lead("Ada", None, ADA[0])
    page = await visitors.open(MEMBER, path=f"/to/lead/{lead}")

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await page.route("**/reply", lose)
    text, send = (
        page.get_by_label("Your message"),
        page.get_by_role("button", name="Send", exact=True),
    )
    await text.fill("Are you coming?")
    await send.click()
    await api.expect(page.get_by_text("The server was not reached.")).to_be_visible()
    await page.unroute("**/reply")
    await page.reload()
    await api.expect(page.locator("#messages")).to_contain_text("Are you coming?")
    await api.expect(text).to_have_value("Are you coming?")
    await send.click()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    assert 1 == len(await stage.sent())
    visitors.complaints.clear()  # htmx writes down that it got no answer


async def test_another_filter_beside_what_was_found(visitors: Visitors) -> None:
    """The page still ends before the latest messages: what is sent from it leads to them."""
    stage, scene = visitors.stage, Scene(visitors.stage)
    zebra = await scene.said("sms", ADA[0], "about the zebra crossing")
    for number in range(45):
        await scene.said("sms", ADA[0], f"line {number} of the usual talk", minutes=1)
    where = await scene.conversation(zebra)
    page = await visitors.open(path=f"/c/{where}?q=zebra&at={zebra}#m-{zebra}")
    await page.locator(".find").get_by_label("Status").select_option(label="All")
    await page.wait_for_url(f"**/c/{where}?q=zebra&status=all&at={zebra}#m-{zebra}")
    await page.get_by_label("Your message").fill("Mind the zebra")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#messages")).to_contain_text("Mind the zebra")
    assert 1 == len(await stage.sent())


async def test_what_is_below_what_was_found_is_not_read(visitors: Visitors) -> None:
    """Where both are on one page, it is until somebody goes there."""
    scene = Scene(visitors.stage)
    zebra = await scene.said("sms", ADA[0], "about the zebra crossing")
    for number in range(25):
        await scene.said("sms", ADA[0], f"line {number} of the usual talk", minutes=1)
    await scene.said("sms", ADA[0], "Where are you?", unread=True)
    where = await scene.conversation(zebra)
    page = await visitors.open(path=f"/c/{where}?at={zebra}#m-{zebra}")
    await api.expect(page.locator(f"#m-{zebra}")).to_be_in_viewport()
    below, badge = page.locator("#below"), page.locator("[data-unread-badge]")
    await api.expect(below).to_be_visible()
    await page.evaluate("() => window.dispatchEvent(new Event('focus'))")
    await api.expect(badge).to_have_text("1 unread")
    async with page.expect_response("**/read"):
        await below.click()
    await api.expect(page.locator("#messages").get_by_text("Where are you?")).to_be_in_viewport()
    await api.expect(badge).to_have_count(0)


async def test_their_only_address_is_another_s_meanwhile(visitors: Visitors) -> None:
    """What was written stays, though there is no way left to send it, and waits there."""
    stage, scene = visitors.stage, Scene(visitors.stage)
    lead = await scene.lead("Ada", None, ADA[0])
    await scene.lead("Ben", None, ADA[0])
    page = await visitors.open(MEMBER, path=f"/to/lead/{lead}")
    text = page.get_by_label("Your message")
    await text.fill("Are you coming?")
    await page.locator("#composer summary").click()
    await hear(stage, stage.a, OURS["sms"], ADA[0], "It is Ben")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.get_by_text("There is no way to write to this contact")).to_be_visible()
    await api.expect(text).to_have_value("Are you coming?")
    await page.reload()
    await api.expect(page.get_by_text("write to it there")).to_be_visible()
    kept = await page.evaluate("() => Object.values(sessionStorage).join()")
    assert "Are you coming?" in kept
    assert [] == await stage.sent()
