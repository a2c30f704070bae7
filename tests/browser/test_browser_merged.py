"""What was written in two conversations that a colleague makes one."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.browser.conftest import MEMBER, Visitors
from tests.browser.people import ADA
from tests.browser.scene import Scene
from tests.browser.test_browser_waiting import slow

if TYPE_CHECKING:
    from playwright.async_api import Page

api = pytest.importorskip("playwright.async_api")

BEN = "+447700900701"


async def two(scene: Scene) -> tuple[UUID, UUID]:
    """Two conversations: the first will go into the second."""
    gone = await scene.conversation(await scene.said("sms", ADA[0], "From my phone"))
    return gone, await scene.conversation(await scene.said("sms", BEN, "From another"))


async def merge(visitors: Visitors, page: Page, gone: UUID, stays: UUID) -> None:
    """A colleague does it; the page was told so."""
    colleague = await visitors.open(MEMBER)
    await colleague.goto(f"/inbox/c/{stays}/merge?other={gone}")
    await colleague.get_by_role("button", name="They are one person").click()
    await api.expect(page.locator("#messages")).to_contain_text("From my phone")
    await api.expect(page.locator("#messages")).to_contain_text("From another")


@pytest.mark.parametrize("is_open", ["gone", "stays"])
async def test_while_a_message_is_being_sent(visitors: Visitors, is_open: str) -> None:
    """What waits in the other one comes into the form once that is empty, and is not sent."""
    scene = Scene(visitors.stage)
    await scene.senders()
    gone, stays = await two(scene)
    here, there = (gone, stays) if is_open == "gone" else (stays, gone)
    page = await visitors.open(path=f"/c/{there}")
    text = page.get_by_label("Your message")
    await text.fill("What waits there")
    await page.goto(f"/inbox/c/{here}")
    await text.fill("A short answer")
    go_on = await slow(page, "**/reply")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#composer")).to_have_attribute("aria-busy", "true")
    await merge(visitors, page, gone, stays)
    await api.expect(text).to_have_value("A short answer")
    go_on.set()

    await api.expect(page.locator("#messages")).to_contain_text("A short answer")
    await api.expect(text).to_have_value("What waits there")
    await page.goto(f"/inbox/c/{stays}")
    await api.expect(text).to_have_value("What waits there")
    assert ["A short answer"] == [row["body"] for row in await visitors.stage.sent()]


@pytest.mark.parametrize("is_open", ["gone", "stays"])
async def test_with_what_a_template_is_filled_with(visitors: Visitors, is_open: str) -> None:
    """Where one of the two drafts fills a template, what it is filled with stands in the text."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.template("sms", "Plan", "Dear {{ name }}", ["name"])
    gone, stays = await two(scene)
    here, there = (gone, stays) if is_open == "gone" else (stays, gone)
    page = await visitors.open(path=f"/c/{there}")
    text = page.get_by_label("Your message")
    await page.get_by_label("Template").select_option(label="Plan")
    await page.get_by_label("name", exact=True).fill("Ada Lovelace")
    await page.goto(f"/inbox/c/{here}")
    await text.fill("A short answer")
    await merge(visitors, page, gone, stays)

    both = ["A short answer", "Ada Lovelace"]
    await api.expect(text).to_have_value("\n\n".join(both if is_open == "stays" else both[::-1]))


@pytest.mark.parametrize("has_own", [True, False])
async def test_with_a_subject_and_a_time(visitors: Visitors, *, has_own: bool) -> None:
    """A subject that somebody wrote, and when it is to leave, come along; beside a subject of the
    other draft it stands in the text."""
    scene = Scene(visitors.stage)
    await scene.senders()
    gone, stays = [
        await scene.conversation(await scene.said("email", theirs, body, subject="Old"))
        for theirs, body in ((ADA[1], "From my phone"), ("ben@example.com", "From another"))
    ]
    page = await visitors.open(path=f"/c/{gone}")
    text, subject = page.get_by_label("Your message"), page.get_by_label("Subject")
    later = page.locator("input[name=send_at]")
    await subject.fill("Offer 4711, accepted")
    await page.locator("#composer summary").click()
    await later.fill("2027-06-01T09:00")
    await page.goto(f"/inbox/c/{stays}")
    await text.fill("Dear Ada")
    await subject.fill("A plan" if has_own else "Re: Old")
    await merge(visitors, page, gone, stays)

    both = "Dear Ada\n\nOffer 4711, accepted" if has_own else "Dear Ada"
    await api.expect(text).to_have_value(both)
    await api.expect(subject).to_have_value("A plan" if has_own else "Offer 4711, accepted")
    await api.expect(later).to_have_value("2027-06-01T09:00")
