"""Finding, writing and reading at the desk, and who sees what the moment it comes in."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import aiohttp
import pytest
from twilio.request_validator import RequestValidator

from tests.browser.conftest import MEMBER, Axe, Visitors
from tests.browser.people import ADA, furnish
from tests.browser.scene import OURS, Scene
from tests.service.conftest import AUTH_TOKEN

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

    from tests.browser.conftest import Stage
    from tests.service.conftest import Tenant

api = pytest.importorskip("playwright.async_api")

EVIL = """<h1>Hello</h1><script>top.document.title = "taken"</script>
<img src="https://pictures.example/seen.png" onerror="top.document.title = 'taken'">"""


async def hear(stage: Stage, tenant: Tenant, to: str, sender: str, body: str) -> None:
    """An SMS comes in, signed by Twilio."""
    url = f"{stage.url}/webhooks/twilio/{tenant.account_id}/message"
    fields = {
        "MessageSid": f"SM{secrets.token_hex(16)}",
        "AccountSid": "AC" + "a" * 32,
        "From": sender,
        "To": to,
        "Body": body,
        "NumMedia": "0",
    }
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, fields)
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=fields, headers={"X-Twilio-Signature": signature}) as answer,
    ):
        assert 200 == answer.status, await answer.text()


async def test_each_organization_hears_its_own(visitors: Visitors) -> None:
    """A signed SMS appears in its own organization's list and open thread, and in no other's."""
    stage = visitors.stage
    scene = Scene(stage)
    said = await scene.said("sms", ADA[0], "Good morning")
    place = f"/c/{await scene.conversation(said)}"
    ours, theirs = await visitors.open(path=place), await visitors.open("owner@beta.example.com")
    watching = await visitors.open(MEMBER)
    for page in (ours, watching):
        await api.expect(page.locator("#rows")).to_contain_text("Good morning")
    await api.expect(theirs.get_by_role("heading", name="All done")).to_be_visible()

    await hear(stage, stage.a, OURS["sms"], ADA[0], "For Alpha alone")

    await api.expect(ours.locator("#messages")).to_contain_text("For Alpha alone")
    await api.expect(ours.locator("#rows")).to_contain_text("For Alpha alone")
    await api.expect(watching.locator("#rows")).to_contain_text("For Alpha alone")
    await hear(stage, stage.b, "+15551230002", "+447700900555", "For Beta alone")
    await api.expect(theirs.locator("#rows")).to_contain_text("For Beta alone")
    await api.expect(theirs.locator(".conversations li")).to_have_count(1)
    await api.expect(theirs).to_have_title(re.compile(r"^\(1\) "))
    for page in (ours, watching):
        assert "Beta" not in await page.locator("#rows").inner_text()
    await theirs.goto(f"/inbox{place}")
    await api.expect(theirs.get_by_text("There is no such conversation")).to_be_visible()


async def test_found_by_name_and_by_word(visitors: Visitors) -> None:
    """A name, a word of a message and the filters narrow the list as one types; nothing found
    leads back to everything."""
    await furnish(visitors.stage)
    page = await visitors.open()
    search, rows = page.get_by_label("Search conversations"), page.locator(".conversations li")

    for typed, found in (("lovelace", "Ada Lovelace"), ("handset reach", ""), ("kneecap", "")):
        await search.fill(typed)
        if found:
            await api.expect(rows).to_have_count(1)
            await api.expect(rows).to_contain_text(found)
        else:
            await api.expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    await search.fill("half past")
    await api.expect(rows).to_have_count(1)
    await api.expect(rows).to_contain_text("Ada Lovelace")
    await search.fill("")
    await page.get_by_label("Unread", exact=True).check()
    await api.expect(rows).to_have_count(2)
    await page.get_by_label("Channel").first.select_option(label="Call")
    await api.expect(rows).to_have_count(1)
    await page.get_by_label("Mine").check()
    await page.get_by_role("link", name="all of them").click()
    await api.expect(rows.filter(has_text="Ada Lovelace")).to_be_visible()


async def test_a_filter_that_is_chosen_beside_a_conversation_stays(visitors: Visitors) -> None:
    """It is in the page's address: after a form, and for who comes back to the page."""
    scene = Scene(visitors.stage)
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    listed = page.get_by_role("region", name="Conversations")
    await listed.get_by_label("Channel").select_option(label="SMS")
    await listed.get_by_label("Status").select_option(label="All")
    await page.wait_for_url(f"**/c/{ada}?status=all&channel=sms")
    await page.get_by_role("button", name="Close", exact=True).click()
    await api.expect(page.get_by_text("Saved.")).to_be_visible()
    await page.wait_for_url(f"**/c/{ada}?channel=sms&status=all")  # a reload does not say it again
    await api.expect(listed.get_by_label("Channel")).to_have_value("sms")


async def test_what_was_typed_is_kept(visitors: Visitors) -> None:
    """A template without one of its values says so at the field, and the others stay."""
    where = await furnish(visitors.stage)
    page = await visitors.open(path=f"/c/{where['failed']}")
    await page.locator('#composer select[name="template"]').select_option(label="Reminder")
    await page.get_by_label("name", exact=True).fill("Ben")
    await page.get_by_role("button", name="Send", exact=True).click()

    await api.expect(page.get_by_text("This was not sent.")).to_be_visible()
    day = page.get_by_label("day", exact=True)
    await api.expect(day).to_have_attribute("aria-invalid", "true")
    await api.expect(page.get_by_label("name", exact=True)).to_have_value("Ben")
    await day.fill("Monday")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#messages")).to_contain_text(
        "Hi Ben, see you on Monday at nine."
    )


async def test_later_with_a_file_and_not_at_all(visitors: Visitors) -> None:
    """A reply with a file waits for its time, and is taken back before it."""
    where = await furnish(visitors.stage)
    page = await visitors.open(path=f"/c/{where['ada']}")
    await page.locator('#composer select[name="channel"]').select_option(label="E-mail")
    await page.get_by_label("Subject").fill("Your plan")
    await page.get_by_label("Your message").fill("Here it is.")
    await page.get_by_label("Attach").set_input_files(
        {"name": "plan ü.txt", "mimeType": "text/plain", "buffer": b"Monday: walk"}
    )
    await page.locator("#composer summary").click()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    await page.get_by_label("Send later").fill(tomorrow.strftime("%Y-%m-%dT%H:%M"))
    await page.get_by_role("button", name="Send", exact=True).click()

    message = page.locator("li.ours").filter(has_text="Here it is.")
    await api.expect(message).to_contain_text("plan ü.txt")
    await message.get_by_role("button", name="Cancel").click()
    await api.expect(message).to_contain_text("Canceled")
    await api.expect(message.get_by_role("button", name="Cancel")).to_have_count(0)


async def test_a_file_stays_chosen(visitors: Visitors) -> None:
    """What was refused for another reason is sent with its file when it is put right; the next
    message has none."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.template("sms", "Plan", "See you {{ day }}.", ["day"])
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await page.get_by_label("Attach").set_input_files(
        {"name": "plan.txt", "mimeType": "text/plain", "buffer": b"Monday: walk"}
    )
    await page.locator('#composer select[name="template"]').select_option(label="Plan")
    await api.expect(page.get_by_label("day", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.get_by_text("This was not sent.")).to_be_visible()
    await page.get_by_label("day", exact=True).fill("Monday")
    await page.get_by_role("button", name="Send", exact=True).click()

    message = page.locator("li.ours").filter(has_text="See you Monday.")
    await api.expect(message).to_contain_text("plan.txt")
    await api.expect(page.get_by_label("Attach")).to_have_value("")


async def test_whatsapp_outside_its_window(visitors: Visitors) -> None:
    """Who wrote more than a day ago is written to with a template alone."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("whatsapp", ADA[0], "Hello?")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")

    await api.expect(page.get_by_text("it accepts only a template")).to_be_visible()
    await api.expect(page.get_by_label("Your message")).to_be_disabled()


async def test_older_messages_keep_the_place(visitors: Visitors) -> None:
    """What is older comes in above while one scrolls up, and what one reads stays where it was."""
    scene = Scene(visitors.stage)
    for number in range(130):
        said = await scene.said("sms", ADA[0], f"Message number {number}.", minutes=20)
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    last = page.locator("#messages > li.message").last
    await api.expect(last).to_be_in_viewport()
    before = await page.locator("#messages > li.message").count()
    assert before < 130
    first = await page.locator("#messages > li.message").first.get_attribute("id")

    await page.locator("#thread").hover()
    await page.mouse.wheel(0, -100_000)

    await api.expect(page.locator("#messages")).to_contain_text(
        f"Message number {130 - before - 1}."
    )
    await api.expect(page.locator(f"#{first}")).to_be_in_viewport()
    days = await page.locator(".day").evaluate_all("all => all.map(each => each.dataset.day)")
    assert len(set(days)) == len(days)


async def test_a_designed_mail_stays_in_its_frame(visitors: Visitors) -> None:
    """It is shown when asked, runs nothing, and loads nothing from elsewhere until asked again."""
    scene = Scene(visitors.stage)
    said = await scene.said("email", ADA[1], "Hello", subject="A picture", html_body=EVIL)
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    title = await page.title()
    fetched: list[str] = []

    async def fetch(route: Route) -> None:
        fetched.append(route.request.url)
        await route.fulfill(status=204)

    await page.context.route("https://pictures.example/**", fetch)
    await page.get_by_text("Show as it was designed").click()
    frame = page.frame_locator("iframe.mail")
    await api.expect(frame.get_by_role("heading", name="Hello")).to_be_visible()
    assert [] == fetched

    async with page.expect_response("https://pictures.example/seen.png"):
        await page.get_by_role("link", name="Load pictures from elsewhere").click()
    await api.expect(frame.get_by_role("heading", name="Hello")).to_be_visible()
    assert ["https://pictures.example/seen.png"] == fetched
    assert title == await page.title()
    # Chromium also tells of a picture that the policy stopped before it was fetched.
    assert all("pictures.example" in each or "sandboxed" in each for each in visitors.complaints)
    visitors.complaints.clear()


async def test_a_newsletter_has_the_whole_width(visitors: Visitors, axe: Axe) -> None:
    """Most are 600 pixels wide: an open one takes all there is, and is legible in the dark."""
    scene = Scene(visitors.stage)
    html = '<table width="600"><tr><td>Autumn</td></tr></table>'
    said = await scene.said("email", ADA[1], "Autumn", subject="News", html_body=html)
    page = await visitors.open(dark=True, path=f"/c/{await scene.conversation(said)}")
    await page.get_by_text("Show as it was designed").click()
    frame = page.locator("iframe.mail")
    await api.expect(frame).to_be_visible()
    widths = "(each) => [each.offsetWidth, document.querySelector('#messages').offsetWidth]"
    width, room = await frame.evaluate(widths)
    assert room - width < 30
    await axe(page)


async def test_a_channel_is_said_once(visitors: Visitors) -> None:
    """The sign of a channel has a name, and the word beside it is for the eyes alone."""
    scene = Scene(visitors.stage)
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    message = await page.locator(f"#m-{said} footer").aria_snapshot()
    assert 1 == message.count("SMS"), message


async def _overflows(page: Page) -> bool:
    wide: bool = await page.evaluate("document.scrollingElement.scrollWidth > innerWidth")
    return wide


async def test_nothing_is_wider_than_a_phone(visitors: Visitors) -> None:
    """No page scrolls sideways at 390 or 320 pixels, whatever names and messages are on it."""
    where = await furnish(visitors.stage)
    page = await visitors.open(phone=True)
    pages = ["", "?q=nothing-like-this", "/templates", "/templates/new", "/senders"]
    pages += ["/suppressions", *(f"/c/{each}" for each in where.values())]
    pages += [f"/c/{where['long']}#contact", f"/c/{where['long']}/link"]
    wide = []
    for path in pages:
        await page.goto(f"/inbox{path}")
        for width in (390, 320):
            await page.set_viewport_size({"width": width, "height": 844})
            if await _overflows(page):
                wide.append((path, width))
    assert wide == []


async def test_panes_scroll_and_the_page_does_not(visitors: Visitors) -> None:
    """However long a thread and a list are, there is nothing below the composer."""
    scene = Scene(visitors.stage)
    await scene.senders()
    for number in range(30):
        await scene.said("sms", f"+4477009{number:05}", "Hello")
        said = await scene.said("sms", ADA[0], "Good morning")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    for path in ("", f"/c/{await scene.conversation(said)}"):
        await page.goto(f"/inbox{path}")
        await page.evaluate("scrollTo(0, 10000)")
        assert 0 == await page.evaluate("scrollY"), path


async def test_a_low_window(visitors: Visitors) -> None:
    """On a phone that lies on its side, and with letters twice as large, a thread can be read, and
    what is below it reached by scrolling over it."""
    where = await furnish(visitors.stage)
    page = await visitors.open()
    await page.set_viewport_size({"width": 640, "height": 400})
    await page.goto(f"/inbox/c/{where['long']}")
    box = await page.locator("#thread").bounding_box()
    assert box is not None
    assert box["height"] > 200
    await page.mouse.move(box["x"] + 50, box["y"] + 50)
    await page.mouse.wheel(0, 3000)
    await page.mouse.wheel(0, 3000)
    await api.expect(page.get_by_role("button", name="Send", exact=True)).to_be_in_viewport()


async def test_without_javascript(visitors: Visitors) -> None:
    """Filters, older messages, another channel and closing need pages and forms alone."""
    scene = Scene(visitors.stage)
    await scene.senders()
    await scene.lead("Ada", "Lovelace", ADA[0], email=ADA[1])
    await scene.said("email", ADA[1], "By mail.", subject="A place")
    for number in range(70):
        said = await scene.said("sms", ADA[0], f"Message number {number}.", minutes=20)
    page = await visitors.open(js=False)
    await page.get_by_label("Channel").select_option(label="WhatsApp")
    await page.get_by_role("button", name="Show", exact=True).click()
    await api.expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    await page.goto(f"/inbox/c/{await scene.conversation(said)}")
    await api.expect(
        page.locator("#messages").get_by_text("Message number 69.")
    ).to_be_in_viewport()
    await page.locator("#messages .more a").click()
    await api.expect(page.get_by_text("Message number 0.", exact=True)).to_be_attached()
    await page.locator('#composer select[name="channel"]').select_option(label="E-mail")
    await page.get_by_role("button", name="Change").click()
    await api.expect(page.get_by_label("Subject")).to_be_visible()
    await page.get_by_role("button", name="Close", exact=True).click()
    await api.expect(page.get_by_text("Closed", exact=True).first).to_be_attached()
