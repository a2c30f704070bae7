"""Files that somebody has chosen, which no server can give back to a form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visitors
from tests.browser.people import ADA
from tests.browser.scene import Scene

if TYPE_CHECKING:
    from playwright.async_api import Dialog, FilePayload, Page, Route

    from tests.browser.conftest import Stage

api = pytest.importorskip("playwright.async_api")

PLAN: FilePayload = {"name": "plan.txt", "mimeType": "text/plain", "buffer": b"Monday: walk"}
CHOSEN = "(field) => [...field.files].map((file) => file.name)"


async def with_files(stage: Stage) -> list[tuple[str, list[str]]]:
    """What was sent, with the names of its files."""
    return [
        (row["body"], [file["filename"] for file in json.loads(row["attachments"] or "[]")])
        for row in await stage.sent()
    ]


async def begun(visitors: Visitors, text: str) -> Page:
    """A page on which an SMS is written."""
    scene = Scene(visitors.stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    await page.get_by_label("Your message").fill(text)
    return page


async def test_a_file_waits_for_a_channel_that_takes_it(visitors: Visitors) -> None:
    """Who looks at a call's form is told that files do not go with it, is asked before they leave,
    and has the file on the channel they come back to; the next message has none."""
    page = await begun(visitors, "See the plan")
    channel, attach = page.locator("#by-channel"), page.get_by_label("Attach")
    send = page.get_by_role("button", name="Send", exact=True)
    asked: list[str] = []

    async def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        await dialog.dismiss()

    page.on("dialog", stay)
    await attach.set_input_files(PLAN)
    await channel.select_option(label="Call")
    await api.expect(page.get_by_text("Files do not go with a call.")).to_be_visible()
    async with page.expect_event("dialog"):
        await page.locator(".brand").click(no_wait_after=True)
    assert ["beforeunload"] == asked
    await channel.select_option(label="SMS")
    await api.expect(attach).to_be_visible()
    assert ["plan.txt"] == await attach.evaluate(CHOSEN)
    await send.click()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    assert [] == await attach.evaluate(CHOSEN)
    await page.get_by_label("Your message").fill("And more")
    await send.click()
    await api.expect(page.locator("#messages")).to_contain_text("And more")

    assert [("See the plan", ["plan.txt"]), ("And more", [])] == await with_files(visitors.stage)


async def test_a_file_that_was_added_to_what_was_sent(visitors: Visitors) -> None:
    """Where the answer to a message was lost and a file was added, the form asks, and has it."""
    page = await begun(visitors, "One")
    text, send = (
        page.get_by_label("Your message"),
        page.get_by_role("button", name="Send", exact=True),
    )

    async def lose(route: Route) -> None:
        await route.fetch()
        await route.abort()

    await page.route("**/reply", lose)
    await send.click()
    await api.expect(page.locator("#unreached")).to_be_visible()
    await page.unroute("**/reply")
    await page.get_by_label("Attach").set_input_files(PLAN)
    await text.fill("One, and the plan")
    await send.click()
    await api.expect(page.get_by_text("Was sent already")).to_be_visible()
    await send.click()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")

    assert [("One", []), ("One, and the plan", ["plan.txt"])] == await with_files(visitors.stage)
    visitors.complaints.clear()  # htmx writes down that it got no answer


IN_VIEW = """(name) => {
  const place = (at) => {
    const range = document.createRange();
    range.setStart(name.firstChild, at);
    range.setEnd(name.firstChild, at + 1);
    return range.getBoundingClientRect().left;
  };
  const all = [...name.textContent].map((one, at) => [place(at), one]);
  return all.sort((a, b) => a[0] - b[0]).map(([, one]) => one).join("");
}"""


@pytest.mark.parametrize("name", ["\u200fbill.pdf\u200f.exe", "\u05d0 bill.pdf \u05d1.exe"])
async def test_a_files_ending_is_seen_last(visitors: Visitors, name: str) -> None:
    """What is written from right to left in a name does not bring its ending to the front."""
    scene = Scene(visitors.stage)
    said = await scene.said("email", ADA[1], "See", files=((name, "application/x-odd", b"x"),))
    page = await visitors.open(path=f"/c/{await scene.conversation(said)}")
    seen = await page.locator(".file bdi").evaluate(IN_VIEW)
    assert seen.endswith(".exe"), seen
