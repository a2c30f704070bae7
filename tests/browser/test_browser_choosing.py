"""Choosing another channel or template, and what is under way meanwhile."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visitors
from tests.browser.people import ADA
from tests.browser.scene import Scene

if TYPE_CHECKING:
    from playwright.async_api import Route

api = pytest.importorskip("playwright.async_api")


@pytest.mark.parametrize("what", ["a preview", "another form"])
async def test_a_message_is_sent_before_what_was_asked_for_comes(
    visitors: Visitors, what: str
) -> None:
    """It is sent, once, on the channel that is chosen, and the form says so and is empty."""
    scene = Scene(visitors.stage)
    await scene.senders()
    ada = await scene.conversation(await scene.said("sms", ADA[0], "Hello"))
    page = await visitors.open(path=f"/c/{ada}")
    asked: asyncio.Queue[asyncio.Event] = asyncio.Queue()

    async def hold(route: Route) -> None:
        go = asyncio.Event()
        await asked.put(go)
        await go.wait()
        await route.continue_()

    await page.route(re.compile("/compose$|/reply$"), hold)
    text = page.get_by_label("Your message")
    await text.fill("Hello there")
    if what == "a preview":
        await page.get_by_role("button", name="Preview").click()
    else:
        await page.locator("#by-channel").select_option(label="Call")
    first = await asyncio.wait_for(asked.get(), 30)
    await text.press("Control+Enter")
    sending = await asyncio.wait_for(asked.get(), 30)
    await text.press("Control+Enter")
    first.set()
    await page.evaluate("fetch('/inbox').then((answer) => answer.text())")
    sending.set()
    await api.expect(page.locator("#live")).to_have_text("Your message is on its way.")
    await api.expect(text).to_have_value("")

    channel = "sms" if what == "a preview" else "call"
    assert [(channel, "Hello there")] == [
        (row["channel"], row["body"]) for row in await visitors.stage.sent()
    ]
    assert asked.empty()
    visitors.complaints.clear()  # htmx writes down that it took a question back
