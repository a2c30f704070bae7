"""An open page: what comes late, out of turn, or after the server was away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import pytest

from tests.browser.conftest import MEMBER, PATIENCE, Visitors
from tests.browser.people import ADA
from tests.browser.scene import OURS, Scene
from tests.browser.test_browser_talk import hear

if TYPE_CHECKING:
    from playwright.async_api import Route

    from tests.browser.conftest import Stage

api = pytest.importorskip("playwright.async_api")


async def told(stage: Stage, message_id: UUID) -> None:
    """Something is told of a message of A's, as by a report."""
    async with stage.database.as_service() as db:
        await db.execute(
            "INSERT INTO gateway.message_events"
            " (organization_id, message_id, id, type, occurred_at, source, detail)"
            " VALUES ($1, $2, gen_random_uuid(), 'open', now(), 'sendgrid', '{}')",
            stage.a.organization_id,
            message_id,
        )


async def test_a_stream_that_is_refused_is_asked_for_again(visitors: Visitors) -> None:
    """Where a proxy answers in the server's place, the page says that it hears nothing, asks on,
    and then has everything that it missed."""
    stage = visitors.stage
    scene = Scene(stage)
    said = await scene.said("sms", ADA[0], "Good morning")
    page = await visitors.open()
    first, again = asyncio.Event(), asyncio.Event()

    async def refuse(route: Route) -> None:
        (again if first.is_set() else first).set()
        await route.fulfill(status=502, body="the gateway begins anew")

    await page.context.route("**/inbox/live*", refuse)
    await page.goto(f"/inbox/c/{await scene.conversation(said)}")
    await api.expect(page.get_by_role("alert")).to_contain_text("are not arriving just now")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "While you were away")
    await asyncio.wait_for(again.wait(), 30)
    await page.context.unroute("**/inbox/live*")

    await api.expect(page.locator("#messages")).to_contain_text("While you were away")
    await api.expect(page.get_by_role("alert")).to_be_empty()


SEEN = """(isSeen) => {
  window.isAway = !isSeen;
  document.dispatchEvent(new Event("visibilitychange"));
}"""


async def test_many_tabs(visitors: Visitors) -> None:
    """Tabs that nobody looks at hold no connection, of which a browser has six: as many as one
    likes can be opened. Who comes back to one sees what came meanwhile."""
    stage = visitors.stage
    said = await Scene(stage).said("sms", ADA[0], "Good morning")
    page = await visitors.open()
    await page.context.add_init_script(
        "window.isAway = true;"
        "Object.defineProperty(Document.prototype, 'hidden', { get: () => window.isAway });"
    )
    tabs = [await page.context.new_page() for _ in range(8)]
    place = f"/inbox/c/{await Scene(stage).conversation(said)}"
    for tab in tabs:
        await tab.goto(place)
        await api.expect(tab.locator("#messages")).to_contain_text("Good morning")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "While you were away")

    await tabs[0].evaluate(SEEN, True)
    await api.expect(tabs[0].locator("#messages")).to_contain_text("While you were away")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "And now")
    await api.expect(tabs[0].locator("#messages")).to_contain_text("And now")
    async with tabs[0].expect_event("requestfailed", lambda asked: "/live" in asked.url):
        await tabs[0].evaluate(SEEN, False)


async def test_many_windows(visitors: Visitors) -> None:
    """Windows that are all seen share the browser's six connections: none of them hangs, and each
    shows what comes in, those that have a stream at once and the others within seconds."""
    stage = visitors.stage
    said = await Scene(stage).said("sms", ADA[0], "Good morning")
    page = await visitors.open()
    place = f"/inbox/c/{await Scene(stage).conversation(said)}"
    windows = [page, *[await page.context.new_page() for _ in range(8)]]
    for window in windows:
        await window.goto(place)
        await api.expect(window.locator("#messages")).to_contain_text("Good morning")
    await hear(stage, stage.a, OURS["sms"], ADA[0], "Hello to all")
    for window in windows:
        await api.expect(window.locator("#messages")).to_contain_text("Hello to all")

    for window in windows[:4]:  # whose place others take
        await window.close()
    await hear(stage, stage.a, OURS["sms"], ADA[0], "And to the others")
    for window in windows[4:]:
        await api.expect(window.locator("#messages")).to_contain_text("And to the others")
    held = "async () => (await navigator.locks.query()).held.length === 3"
    await windows[-1].wait_for_function(held)


async def test_news_of_an_old_message(visitors: Visitors) -> None:
    """What is told of a message that is further up than what is loaded does not bring it below what
    was said last; one that is loaded is shown at its place."""
    stage = visitors.stage
    scene = Scene(stage)
    first = await scene.said("sms", ADA[0], "The very first.", minutes=20)
    for number in range(60):
        said = await scene.said("sms", ADA[0], f"Message number {number}.", minutes=20)
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    messages = page.locator("#messages > li.message")
    await api.expect(messages.last).to_contain_text("Message number 59.")
    before = await messages.count()
    assert before < 61
    async with page.expect_response(f"**/m/{first}"):
        await told(stage, first)
    await page.evaluate("new Promise((done) => setTimeout(done, 200))")

    await api.expect(messages.last).to_contain_text("Message number 59.")
    assert before == await messages.count()

    between = await scene.said("sms", ADA[0], "In between.", minutes=-30)
    async with page.expect_response(f"**/m/{between}"):
        await told(stage, between)
    await api.expect(messages.nth(before - 2)).to_contain_text("In between.")
    days = await page.locator(".day").evaluate_all("all => all.map(each => each.dataset.day)")
    assert len(set(days)) == len(days)


async def test_an_answer_that_was_overtaken(visitors: Visitors) -> None:
    """Of two answers about one message the one that was asked for last stays, whichever is later:
    what is shown of it does not run backwards."""
    stage = visitors.stage
    scene = Scene(stage)
    said = await scene.said("sms", ADA[0], "We are here.", ours=True, status="sent")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    message = page.locator(f"#m-{said}")
    await api.expect(message).to_contain_text("Sent")
    held, go = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        answer = await route.fetch()
        if not held.is_set():
            held.set()
            await go.wait()
        await route.fulfill(response=answer)

    await page.context.route(f"**/m/{said}", hold)
    await told(stage, said)
    await held.wait()
    async with stage.database.as_service() as db:
        await db.execute("UPDATE messages SET status = 'delivered' WHERE id = $1", said)
    await told(stage, said)
    await api.expect(message).to_contain_text("Delivered")
    async with page.expect_response(f"**/m/{said}"):
        go.set()
    await page.evaluate("new Promise((done) => setTimeout(done, 200))")

    await api.expect(message).to_contain_text("Delivered")


TELL = """([ids, conversation]) => { for (const message of ids) document.dispatchEvent(
  new CustomEvent("told", { detail: { type: "message.sent", message, conversation } })); }"""


async def test_a_conversation_that_is_merged(visitors: Visitors) -> None:
    """Who looks at one of two that a colleague makes one sees what is said in both, what comes in
    then, and still has what they were writing."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    gone = await scene.conversation(await scene.said("sms", ADA[0], "From my phone"))
    kept = await scene.conversation(await scene.said("sms", "+447700900124", "From another"))
    page, colleague = await visitors.open(path=f"/c/{gone}"), await visitors.open(MEMBER)
    await page.get_by_label("Your message").fill("Dear Ada")
    await colleague.goto(f"/inbox/c/{kept}/merge?other={gone}")
    await colleague.get_by_role("button", name="They are one person").click()

    for said in ("From my phone", "From another"):
        await api.expect(page.locator("#messages")).to_contain_text(said)
    await hear(stage, stage.a, OURS["sms"], ADA[0], "It is me")
    await api.expect(page.locator("#messages")).to_contain_text("It is me")
    await page.goto(f"/inbox/c/{gone}")
    await api.expect(page.get_by_label("Your message")).to_have_value("Dear Ada")


async def test_much_at_once_in_one_conversation(visitors: Visitors) -> None:
    """A page asks for few messages at a time, however many have news; for one that it did not get
    because the server was away, once more."""
    scene = Scene(visitors.stage)
    said = [str(await scene.said("sms", ADA[0], f"Number {n}")) for n in range(60)]
    place = str(await scene.conversation(UUID(said[-1])))
    page = await visitors.open(path=f"/c/{place}")
    most = [0]
    under_way: set[Route] = set()
    refused: set[Route] = set()

    async def ask(route: Route) -> None:
        under_way.add(route)
        most[0] = max(most[0], len(under_way))
        await asyncio.sleep(0.01)
        if route.request.url.endswith(said[-1]) and not refused:
            refused.add(route)
            await route.fulfill(status=503)
        else:
            await route.continue_()
        under_way.discard(route)

    await page.route("**/inbox/m/*", ask)
    async with visitors.stage.database.as_service() as db:
        await db.execute("UPDATE messages SET body = 'Changed'")
    await page.evaluate(TELL, [said, place])
    changed = page.locator("#messages .text").filter(has_text="Changed")
    await api.expect(changed).to_have_count(40, timeout=4 * PATIENCE)  # sixty answers in two lanes
    assert refused
    assert most[0] <= 2


async def test_who_reads_further_up_is_told_of_what_comes(visitors: Visitors) -> None:
    """What comes in below moves nothing, and a button says so, until they are there: then it is
    read."""
    stage = visitors.stage
    scene = Scene(stage)
    for number in range(30):
        said = await scene.said("sms", ADA[0], f"Number {number}", minutes=1)
    ada = await scene.conversation(said)
    page = await visitors.open(path=f"/c/{ada}")
    thread, below = page.locator("#thread"), page.get_by_role("button", name="New messages")
    unread = page.locator(f"#c-{ada} .count")
    read: list[str] = []
    page.on("request", lambda asked: read.append(asked.url) if "/read" in asked.url else None)
    await api.expect(page.locator("#messages li.message").last).to_be_in_viewport()
    await hear(stage, stage.a, OURS["sms"], ADA[0], "At the end")
    await api.expect(page.get_by_text("At the end", exact=True).last).to_be_in_viewport()
    await api.expect(below).to_be_hidden()

    await thread.hover()
    await page.mouse.wheel(0, -100_000)
    await page.wait_for_function("() => !document.querySelector('#thread').scrollTop")
    await api.expect(unread).to_have_count(0)
    read.clear()
    await hear(stage, stage.a, OURS["sms"], ADA[0], "Are you there?")
    await api.expect(below).to_be_in_viewport()
    await api.expect(unread).to_be_visible()
    assert (0, []) == (await thread.evaluate("(each) => each.scrollTop"), read)
    await below.click()
    await api.expect(unread).to_have_count(0)
    last = page.locator("#messages li.message").last
    await api.expect(last).to_contain_text("Are you there?")
    await api.expect(last).to_be_in_viewport()
    await api.expect(below).to_be_hidden()
    await api.expect(thread).to_be_focused()


async def test_what_has_failed_is_not_on_its_way(visitors: Visitors) -> None:
    """Once a message has failed, the form says no longer that it is on its way."""
    stage = visitors.stage
    scene = Scene(stage)
    await scene.senders()
    said = await scene.said("sms", ADA[0], "Hello")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    await page.get_by_label("Your message").fill("Hello, Ada")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.locator("#composer > .notice.good")).to_be_visible()
    async with stage.database.as_service() as db:
        sent = await db.fetchval("SELECT id FROM messages WHERE body = 'Hello, Ada'")
        await db.execute("UPDATE messages SET status = 'failed' WHERE id = $1", sent)
    await told(stage, sent)
    await api.expect(page.locator(f"#m-{sent}")).to_contain_text("Not delivered")
    await api.expect(page.locator("#composer > .notice.good")).to_have_count(0)


async def test_news_of_a_message_that_somebody_is_at(visitors: Visitors) -> None:
    """The link that has the focus keeps it; a recording that is being played plays on."""
    stage = visitors.stage
    scene = Scene(stage)
    said = await scene.said("sms", ADA[0], "We are here.", ours=True, status="sent")
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    message = page.locator(f"#m-{said}")
    link = message.locator("a.status")
    await link.focus()
    async with stage.database.as_service() as db:
        await db.execute("UPDATE messages SET status = 'delivered' WHERE id = $1", said)
    await told(stage, said)
    await api.expect(message).to_contain_text("Delivered")
    await api.expect(link).to_be_focused()

    await message.evaluate(
        """item => {
          const sound = document.createElement("audio");
          Object.defineProperty(sound, "paused", { value: false, configurable: true });
          item.append(sound);
        }"""
    )
    async with stage.database.as_service() as db:
        await db.execute("UPDATE messages SET status = 'read' WHERE id = $1", said)
    async with page.expect_response(f"**/m/{said}"):
        await told(stage, said)
    await page.evaluate("new Promise((done) => setTimeout(done, 200))")
    await api.expect(message).to_contain_text("Delivered")
    await message.locator("audio").evaluate(
        """sound => {
          Object.defineProperty(sound, "paused", { value: true });
          sound.dispatchEvent(new Event("pause"));
        }"""
    )
    await api.expect(message).to_contain_text("Read")


@pytest.mark.parametrize("policy", ["unsafe-none", "same-origin"])
async def test_a_link_of_a_mail_opens_a_whole_page(visitors: Visitors, policy: str) -> None:
    """What somebody links to in a mail runs as anywhere else, and knows nothing of the inbox."""
    scene = Scene(visitors.stage)
    html = '<a href="https://elsewhere.example/x">there</a>'
    said = await scene.said("email", ADA[1], "Hello", subject="A link", html_body=html)
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")

    async def answer(route: Route) -> None:
        await route.fulfill(
            content_type="text/html",
            headers={"Cross-Origin-Opener-Policy": policy},
            body="<p></p><script>document.querySelector('p').textContent = "
            "`ran ${window.opener} ${document.referrer}.`</script>",
        )

    await page.context.route("https://elsewhere.example/**", answer)
    await page.get_by_text("Show as it was designed").click()
    async with page.context.expect_page() as opened:
        await page.frame_locator("iframe.mail").get_by_role("link", name="there").click()
    there = await opened.value

    await api.expect(there.locator("p")).to_have_text("ran null .")
