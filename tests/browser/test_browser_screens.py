"""How the desk looks: wide, on a phone, in the dark; nothing serious for axe on any page."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Axe, Shot, Visitors
from tests.browser.people import furnish

api = pytest.importorskip("playwright.async_api")


@pytest.mark.parametrize("look", ["wide", "phone", "dark"])
async def test_screens(visitors: Visitors, axe: Axe, shot: Shot, look: str) -> None:
    """List, conversations of every shape, composer, failure and why pass axe in every look."""
    where = await furnish(visitors.stage)
    page = await visitors.open(phone=look == "phone", dark=look == "dark")
    await axe(page)
    await shot(page, f"list-{look}")
    shots = {"ada": "conversation", "failed": "failure"}
    for name in ("ada", "failed", "long", "rtl", "unknown"):
        await page.goto(f"/inbox/c/{where[name]}")
        await api.expect(page.locator("#composer")).to_be_visible()
        unread = page.locator(".conversations [aria-current] .count")
        await api.expect(unread).to_have_count(0)
        await axe(page)
        await shot(page, f"{shots.get(name) or f'odd/{name}'}-{look}")
    await page.goto(f"/inbox/c/{where['failed']}")
    await page.locator('#composer select[name="template"]').select_option(label="Reminder")
    await page.get_by_label("name", exact=True).fill("Ben")
    await page.get_by_role("button", name="Send", exact=True).click()
    await api.expect(page.get_by_text("This was not sent.")).to_be_visible()
    await axe(page)
    await shot(page, f"composer-{look}")
    await page.get_by_role("link", name="Not delivered").first.click()
    await api.expect(page.get_by_role("heading", name="What happened")).to_be_visible()
    await axe(page)
    await shot(page, f"why-{look}")
    if look == "phone":
        await page.goto(f"/inbox/c/{where['ada']}#contact")
        await axe(page)
        await shot(page, f"contact-{look}")
