"""What is tried again because the first time led nowhere."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Visitors
from tests.browser.people import ADA
from tests.browser.scene import Scene

if TYPE_CHECKING:
    from playwright.async_api import Dialog

api = pytest.importorskip("playwright.async_api")


async def test_after_staying_on_a_page(visitors: Visitors) -> None:
    """Who presses a button, and then stays after all because of a chosen file, can press it again
    some seconds later."""
    scene = Scene(visitors.stage)
    await scene.senders()
    at = datetime.now(UTC) + timedelta(1)
    said = await scene.said("sms", ADA[0], "Not yet", ours=True, status="pending", send_at=at)
    page = await visitors.open()
    await page.clock.install()
    await page.goto(f"/inbox/c/{await scene.conversation(said)}")

    async def stay(dialog: Dialog) -> None:
        await dialog.dismiss()

    page.on("dialog", stay)
    attach = page.get_by_label("Attach")
    await attach.set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"by bus"})
    cancel = page.get_by_role("button", name="Cancel")
    async with page.expect_event("dialog"):
        await cancel.click(no_wait_after=True)
    await attach.set_input_files([])
    await page.clock.fast_forward(10_000)
    async with page.expect_request("**/cancel"):
        await cancel.click()


async def test_a_conversation_that_could_not_be_marked_as_read(visitors: Visitors) -> None:
    """While the server refuses it, the page does not say that it is read; it tries again when
    somebody comes back to it."""
    scene = Scene(visitors.stage)
    said = await scene.said("sms", ADA[0], "Hello", unread=True)
    page = await visitors.open()
    place = f"/inbox/c/{await scene.conversation(said)}"
    badge = page.locator("[data-unread-badge]")
    await page.route("**/read", lambda route: route.fulfill(status=503, body="Restarting."))
    async with page.expect_response("**/read"):
        await page.goto(place)
    await api.expect(page.get_by_role("button", name="Mark as read")).to_be_visible()
    await api.expect(badge).to_have_text("1 unread")
    await page.unroute("**/read")
    await page.wait_for_function(
        """() => {
          window.dispatchEvent(new Event("focus"));
          return document.querySelector(".mark button").value === "unread";
        }"""
    )
    await api.expect(page.get_by_role("button", name="Mark as unread")).to_be_visible()
    await api.expect(badge).to_have_count(0)
