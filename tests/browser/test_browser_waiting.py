"""While an answer is on its way, and where much happens: what is read out, kept, and focused."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import OWNER, Visitors
from tests.browser.people import ADA, furnish
from tests.browser.scene import OURS, Scene
from tests.browser.test_browser_talk import hear

if TYPE_CHECKING:
    from playwright.async_api import Page, Route

api = pytest.importorskip("playwright.async_api")


async def slow(page: Page, what: str) -> asyncio.Event:
    """Answers to such requests wait for what is given back."""
    go_on = asyncio.Event()

    async def wait(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await page.route(what, wait)
    return go_on


async def focused(page: Page) -> str:
    """The id of what has the focus."""
    found: str = await page.evaluate("document.activeElement.id")
    return found


async def test_sending_over_a_slow_network(visitors: Visitors) -> None:
    """A form whose answer is on its way is busy and takes no more text; then the new one has the
    focus, and what became of the message is read out."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    go_on = await slow(page, "**/reply")
    composer, text = page.locator("#composer"), page.get_by_label("Your message")
    await text.fill("On my way.")
    await page.get_by_role("button", name="Send", exact=True).focus()
    await page.keyboard.press("Enter")
    await api.expect(composer).to_have_attribute("aria-busy", "true")
    await text.press("x")
    await api.expect(text).to_have_value("On my way.")
    go_on.set()

    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    await api.expect(text).to_be_focused()
    await api.expect(text).to_have_value("")
    assert await composer.get_attribute("aria-busy") is None


async def test_a_refusal_leaves_the_focus(visitors: Visitors) -> None:
    """A form that comes back to be put right can be written in again, from the same button; where
    the server is not reached, too."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    text, send = (
        page.get_by_label("Your message"),
        page.get_by_role("button", name="Send", exact=True),
    )
    await send.focus()
    await page.keyboard.press("Enter")
    await api.expect(page.get_by_text("This was not sent.")).to_be_visible()
    await api.expect(send).to_be_focused()
    await page.route("**/reply", lambda route: route.abort())
    await text.fill("Hello")
    await text.press("Control+Enter")
    await api.expect(page.get_by_text("The server was not reached.")).to_be_visible()
    await text.press("x")
    await api.expect(text).to_have_value("Hellox")
    visitors.complaints.clear()  # htmx writes down that it got no answer


async def test_a_phone_that_was_offline(visitors: Visitors) -> None:
    """What says that the server was not reached covers no button, can be closed, and goes once what
    was to be sent is sent, not with other requests that are answered."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(phone=True, path=f"/c/{await scene.conversation(said)}")
    send, notice = page.get_by_role("button", name="Send", exact=True), page.locator("#problem")
    await page.route("**/reply", lambda route: route.abort())
    await page.get_by_label("Your message").fill("On my way.")
    await send.tap()
    await api.expect(notice).to_contain_text("The server was not reached.")
    await notice.get_by_role("button", name="Close").tap()
    await api.expect(notice).to_be_empty()
    await send.tap()
    await api.expect(notice).to_contain_text("The server was not reached.")
    async with page.expect_response(lambda answer: "/inbox" in answer.url):
        await page.evaluate("htmx.ajax('GET', location.pathname, {target: '#live', swap: 'none'})")
    await api.expect(notice).to_contain_text("The server was not reached.")
    await page.unroute("**/reply")
    await send.tap()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    await api.expect(notice).to_be_empty()
    visitors.complaints.clear()  # htmx writes down that it got no answer


async def test_what_is_typed_meanwhile(visitors: Visitors) -> None:
    """Who goes on writing while the form of another channel is on its way loses no letter of it;
    the choice keeps the focus."""
    where = await furnish(visitors.stage)
    page = await visitors.open(path=f"/c/{where['ada']}")
    go_on = await slow(page, "**/compose")
    channel, text = page.locator("#by-channel"), page.get_by_label("Your message")
    await text.fill("Dear Ada")
    await channel.select_option(label="E-mail")
    await text.press_sequentially(", see you")
    go_on.set()
    await api.expect(page.get_by_label("Subject")).to_be_visible()
    await api.expect(text).to_have_value("Dear Ada, see you")
    await api.expect(text).to_be_focused()

    await channel.focus()
    await channel.select_option(label="SMS")
    await api.expect(page.get_by_label("Subject")).to_have_count(0)
    assert "by-channel" == await focused(page)


async def test_the_key_that_replies(visitors: Visitors) -> None:
    """Where WhatsApp takes nothing but a template, it leads to that."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("whatsapp", ADA[0], "Hello?")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await page.keyboard.press("r")
    assert "by-template" == await focused(page)


async def test_earlier_messages_by_keyboard(visitors: Visitors) -> None:
    """While they come in their list is busy; the link that asked for them has the focus again, and
    where there is none any more, the messages have it."""
    scene = Scene(visitors.stage)
    for number in range(130):
        said = await scene.said("sms", ADA[0], f"Message number {number}.", minutes=20)
    page = await visitors.open()
    go_on = await slow(page, "**/c/*cursor=*")
    await page.goto(f"/inbox/c/{await scene.conversation(said)}")
    await page.get_by_label("Your message").fill("Not lost")
    for _ in range(3):
        await page.locator("#earlier").focus()
        await page.keyboard.press("Enter")
        await api.expect(page.locator("#messages")).to_have_attribute("aria-busy", "true")
        go_on.set()
        await api.expect(page.locator("#messages")).not_to_have_attribute("aria-busy", "true")
        go_on.clear()
    await api.expect(page.locator("#messages")).to_contain_text("Message number 0.")
    assert "thread" == await focused(page)
    await api.expect(page.get_by_label("Your message")).to_have_value("Not lost")


async def test_earlier_messages_at_once(visitors: Visitors) -> None:
    """What has come can be used from the moment on that its list is not busy any more."""
    scene = Scene(visitors.stage)
    for number in range(130):
        said = await scene.said("sms", ADA[0], f"Message number {number}.", minutes=20)
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await page.evaluate("""document.body.addEventListener(
      "htmx:afterRequest", () => document.getElementById("earlier")?.click())""")
    await page.evaluate("document.getElementById('earlier').click()")
    await api.expect(page.locator("#messages")).to_contain_text("Message number 0.")


async def test_who_writes_elsewhere_is_read_out(visitors: Visitors) -> None:
    """A message in another conversation is told by the name of whoever wrote it, one in this
    conversation by its text."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.lead("Grace", "Hopper", "+447700900555")
    await scene.said("sms", "+447700900555", "Good morning")
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await hear(stage, stage.a, OURS["sms"], "+447700900555", "Are you there?")
    await api.expect(page.locator("#live")).to_have_text("New: Grace Hopper")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "Or you?")
    await api.expect(page.locator("#live")).to_have_text("New message: Or you?")


BUSY = """() => setInterval(() => document.dispatchEvent(
  new CustomEvent("told", { detail: { type: "message.sent", conversation: "x" } })), 50)"""


async def test_a_busy_desk(visitors: Visitors) -> None:
    """However fast news come, the list is made anew; and what somebody has loaded further down in
    it stays."""
    stage = visitors.stage
    scene = Scene(stage)
    for number in range(90):
        await scene.said("sms", f"+4477009{number:05}", f"Number {number}")
    page = await visitors.open()
    rows = page.locator("#rows ul > li[id]")
    await api.expect(rows).to_have_count(40)
    await page.locator("#more-rows").scroll_into_view_if_needed()
    await api.expect(rows).to_have_count(80)
    await page.evaluate(BUSY)
    await hear(stage, stage.a, OURS["sms"], "+447700900555", "Are you there?")

    await api.expect(page.locator("#rows")).to_contain_text("Are you there?")
    await api.expect(rows).to_have_count(81)
    await page.locator("#more-rows").scroll_into_view_if_needed()
    await api.expect(rows).to_have_count(91)
    names = await rows.evaluate_all("all => all.map(each => each.id)")
    assert len(set(names)) == len(names)


async def test_a_session_that_ends_while_one_writes(visitors: Visitors) -> None:
    """What is written stays; who signs in again in another tab sends it from here, and not somebody
    else who signs in there."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    text, send = (
        page.get_by_label("Your message"),
        page.get_by_role("button", name="Send", exact=True),
    )
    problem = page.get_by_role("alert")
    async with stage.database.as_service() as db:
        await db.execute("DELETE FROM gateway.staff_sessions")
    await text.fill("Half an hour's work.")
    await send.click()
    await api.expect(problem).to_contain_text("what you have written stays here")
    for email, is_same in (("member@alpha.example.com", False), (OWNER, True)):
        other = await page.context.new_page()
        await other.goto(await stage.link(email))
        await other.get_by_role("button", name="Sign in").click()
        await other.wait_for_url("**/inbox")
        await other.close()
        look = "window.dispatchEvent(new Event('focus'))"
        if is_same:
            await page.evaluate(look)  # it may have looked when the other tab was closed
        else:
            async with page.expect_response(lambda answer: answer.url.endswith("/inbox")):
                await page.evaluate(look)
            await api.expect(problem).to_contain_text("Your session has ended")

    await api.expect(problem).to_be_empty()
    await api.expect(text).to_have_value("Half an hour's work.")
    await send.click()
    await api.expect(page.locator("#messages")).to_contain_text("Half an hour's work.")
    visitors.complaints.clear()  # htmx writes down that it was refused


LOOK = """document.dispatchEvent(new CustomEvent("told", { detail: { type: "look" } }))"""


async def test_a_refusal_that_comes_after_signing_in_again(visitors: Visitors) -> None:
    """What a page asked by itself while nobody was signed in does not say so once somebody is: it
    is asked again."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    problem, held, go_on = page.get_by_role("alert"), asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        if answer.status == 401:
            held.set()
            await go_on.wait()
        await route.fulfill(response=answer)

    await page.route("**/inbox?*", hold)
    async with stage.database.as_service() as db:
        await db.execute("DELETE FROM gateway.staff_sessions")
    await page.evaluate(LOOK)
    await asyncio.wait_for(held.wait(), 30)
    await page.get_by_label("Your message").fill("Half an hour's work.")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(problem).to_contain_text("Your session has ended")
    other = await page.context.new_page()
    await other.goto(await stage.link(OWNER))
    await other.get_by_role("button", name="Sign in").click()
    await other.wait_for_url("**/inbox")
    await other.close()
    await page.evaluate("window.dispatchEvent(new Event('focus'))")
    await api.expect(problem).to_be_empty()
    async with page.expect_response(lambda answer: 200 == answer.status and "?" in answer.url):
        go_on.set()

    await api.expect(problem).to_be_empty()
    visitors.complaints.clear()  # htmx writes down that it was refused


async def test_a_file_over_a_slow_network(visitors: Visitors) -> None:
    """A reply may take as long as its files need, and longer than what else is asked for."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await page.evaluate("htmx.config.timeout = 1500")
    go_on = await slow(page, "**/reply")
    await page.get_by_label("Your message").fill("With a file.")
    await page.get_by_label("Attach").set_input_files(
        {"name": "plan.txt", "mimeType": "text/plain", "buffer": b"Monday: walk"}
    )
    await page.get_by_role("button", name="Send", exact=True).click()
    await page.evaluate("new Promise((done) => setTimeout(done, 3000))")
    go_on.set()
    await api.expect(page.locator("#messages")).to_contain_text("With a file.")
    await api.expect(page.get_by_role("alert")).to_be_empty()


async def test_a_window_that_opens(visitors: Visitors) -> None:
    """Who writes on WhatsApp while the page is open can be answered freely at once."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    said = await scene.said("whatsapp", ADA[0], "Hello?")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    text = page.get_by_label("Your message")
    await api.expect(text).to_be_disabled()
    to, from_ = f"whatsapp:{OURS['whatsapp']}", f"whatsapp:{ADA[0]}"
    await hear(stage, stage.a, to, from_, "And now?")
    await api.expect(text).to_be_enabled()


async def test_a_page_that_is_open_for_days(visitors: Visitors) -> None:
    """What was said today is yesterday's on the next day, and has its date after that."""
    stage = visitors.stage
    said = await Scene(stage).said("sms", ADA[0], "Hello")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "And today")
    page = await visitors.open()
    await page.clock.install()
    await page.goto(f"/inbox/c/{await Scene(stage).conversation(said)}")
    day = page.locator("#messages .day").last
    date = await day.get_attribute("data-day")
    assert date is not None
    names = [await day.inner_text()]
    for _ in range(2):
        await page.clock.fast_forward("24:00:00")
        names.append(await day.inner_text())

    assert ["Today", "Yesterday"] == names[:2]
    assert names[2].startswith(f"{datetime.fromisoformat(date):%A}")


BACK = """() => {
  window.isOld = true;
  window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
  window.dispatchEvent(new PageTransitionEvent("pageshow", { persisted: true }));
}"""


async def test_a_page_that_the_browser_kept(visitors: Visitors) -> None:
    """Who goes back to a page finds what was written on it, and hears what is new; who is not
    signed in any more finds the sign-in."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    text = page.get_by_label("Your message")
    await text.fill("Half a")
    await page.evaluate(BACK)
    await hear(stage, stage.a, OURS["sms"], ADA[0], "Are you there?")
    await api.expect(page.locator("#messages")).to_contain_text("Are you there?")
    await api.expect(text).to_have_value("Half a")
    assert await page.evaluate("window.isOld")

    async with stage.database.as_service() as db:
        await db.execute("DELETE FROM gateway.staff_sessions")
    await page.evaluate(BACK)
    await page.wait_for_url("**/sign-in*")
    visitors.complaints.clear()  # the browser writes down what was refused before it went there


async def test_a_refusal_goes_with_its_cause(visitors: Visitors) -> None:
    """What says that a message was refused goes once it is sent, or its form says what is wrong."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    send, notice = page.get_by_role("button", name="Send", exact=True), page.locator("#problem")
    text = page.get_by_label("Your message")
    refused = '<div class="notice bad"><strong>That is too large</strong></div>'
    await page.route("**/reply", lambda route: route.fulfill(status=413, body=refused))
    await text.fill("See the plan.")
    await send.click()
    await api.expect(notice).to_contain_text("That is too large")
    await page.unroute("**/reply")
    await text.fill("")
    await send.click()
    await api.expect(page.get_by_text("This was not sent.")).to_be_visible()
    await api.expect(notice).to_be_empty()
    async with visitors.stage.database.as_service() as db:
        await db.execute("DELETE FROM gateway.staff_sessions")
    other = await page.context.new_page()
    await visitors.stage.enter(other)
    await other.close()
    await text.fill("No plan.")
    await send.click()
    await api.expect(notice).to_contain_text("This page is older than your session")
    await api.expect(page.locator("[data-older]")).to_have_count(0)
    await send.click()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    await api.expect(notice).to_be_empty()
    visitors.complaints.clear()  # htmx writes down what it was refused


async def test_a_refusal_stays_while_nothing_is_sent(visitors: Visitors) -> None:
    """Neither the form for another channel nor news of the connection take it away; what was
    closed once does not hold what comes later."""
    scene = Scene(visitors.stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open()
    await page.context.route("**/inbox/live*", lambda route: route.fulfill(status=502))
    await page.goto(f"/inbox/c/{await scene.conversation(said)}")
    send, notice = page.get_by_role("button", name="Send", exact=True), page.locator("#problem")
    channel, deaf = page.locator("#by-channel"), page.locator("#deaf")
    await api.expect(deaf).to_be_visible()
    await page.route("**/reply", lambda route: route.abort())
    await page.get_by_label("Your message").fill("On my way.")
    await send.click()
    await api.expect(notice).to_contain_text("The server was not reached.")
    await api.expect(deaf).to_be_visible()
    await api.expect(notice).to_contain_text("The server was not reached.")
    await page.context.unroute("**/inbox/live*")
    await api.expect(deaf).to_have_count(0)
    await channel.select_option(label="Call")
    await api.expect(page.get_by_role("button", name="Call", exact=True)).to_be_visible()
    await api.expect(notice).to_contain_text("The server was not reached.")

    await notice.get_by_role("button", name="Close").click()
    await page.route("**/compose", lambda route: route.abort())
    await channel.select_option(label="SMS")
    await api.expect(notice).to_contain_text("The server was not reached.")
    await page.unroute("**/compose")
    await channel.select_option(label="Call")
    await api.expect(notice).to_be_empty()
    visitors.complaints.clear()  # the browser writes down what it got no answer to
