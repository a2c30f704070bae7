"""Another channel or template is chosen, and then the first: what was written is there again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visitors
from tests.browser.people import ADA
from tests.browser.scene import Scene
from tests.browser.test_browser_drafts import nothing_waits
from tests.browser.test_browser_waiting import slow

if TYPE_CHECKING:
    from playwright.async_api import Page

api = pytest.importorskip("playwright.async_api")


async def ada(visitors: Visitors) -> Page:
    """The page of somebody who has written an e-mail last; there is a template for SMS."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.template("sms", "Plan", "Dear {{ name }}", ["name"])
    await scene.lead("Ada", "Lovelace", ADA[0], email=ADA[1])
    await scene.said("sms", ADA[0], "Hello")
    said = await scene.said("email", ADA[1], "Hello", subject="Old")
    return await visitors.open(path=f"/c/{await scene.conversation(said)}")


async def test_a_subject_and_variables_come_back(visitors: Visitors) -> None:
    """A subject is there after another channel, a variable after another template; a subject that
    nobody changed is that of their last mail."""
    page = await ada(visitors)
    channel, template = page.locator("#by-channel"), page.locator("#by-template")
    subject, name = page.get_by_label("Subject"), page.get_by_label("name", exact=True)
    await api.expect(subject).to_have_value("Re: Old")
    await channel.select_option("sms")
    await api.expect(subject).to_have_count(0)
    await api.expect(page.locator("#composer [name=subject]")).to_have_value("")
    await channel.select_option("email")
    await api.expect(subject).to_have_value("Re: Old")

    await subject.fill("Thought about")
    await channel.select_option("sms")
    await api.expect(subject).to_have_count(0)
    await template.select_option(label="Plan")
    await name.fill("Ada")
    await template.select_option("")
    await api.expect(name).to_have_count(0)
    await channel.select_option("email")
    await api.expect(subject).to_have_value("Thought about")
    await channel.select_option("sms")
    await api.expect(subject).to_have_count(0)
    await template.select_option(label="Plan")
    await api.expect(name).to_have_value("Ada")


async def test_late_letters(visitors: Visitors) -> None:
    """What is typed while the form of a template or another channel is on its way is there when one
    comes back from it."""
    page = await ada(visitors)
    channel, template = page.locator("#by-channel"), page.locator("#by-template")
    subject, name = page.get_by_label("Subject"), page.get_by_label("name", exact=True)
    text = page.get_by_label("Your message")
    go_on = await slow(page, "**/compose")
    await subject.fill("Thought")
    await channel.select_option("sms")
    await subject.press_sequentially(" about")
    go_on.set()
    await api.expect(subject).to_have_count(0)

    go_on.clear()
    await text.fill("First")
    await template.select_option(label="Plan")
    await text.press_sequentially(", second")
    go_on.set()
    await api.expect(name).to_be_visible()
    await template.select_option("")
    await api.expect(text).to_have_value("First, second")
    await channel.select_option("email")
    await api.expect(subject).to_have_value("Thought about")
    await api.expect(text).to_have_value("First, second")


async def test_a_subject_alone_is_a_draft(visitors: Visitors) -> None:
    """It waits in its conversation, also behind another channel; what nobody wrote does not."""
    page = await ada(visitors)
    subject = page.get_by_label("Subject")
    await page.locator("#composer select[name=from]").dispatch_event("change")
    await nothing_waits(page)
    await subject.fill("Thought about")
    await page.locator("#by-channel").select_option("sms")
    await api.expect(subject).to_have_count(0)
    await page.reload()
    await api.expect(subject).to_have_count(0)
    await page.locator("#by-channel").select_option("email")
    await api.expect(subject).to_have_value("Thought about")


async def test_variables_of_a_message_that_is_being_sent(visitors: Visitors) -> None:
    """They take no more text meanwhile: it would be in no message."""
    page = await ada(visitors)
    await page.locator("#by-channel").select_option("sms")
    await api.expect(page.get_by_label("Subject")).to_have_count(0)
    await page.locator("#by-template").select_option(label="Plan")
    name = page.get_by_label("name", exact=True)
    await name.fill("Ada")
    go_on = await slow(page, "**/reply")
    await page.locator("#do-send").click()
    await api.expect(name).to_have_attribute("readonly", "")
    go_on.set()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
