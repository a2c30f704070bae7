"""Signing in and out, as a person does it."""

from __future__ import annotations

import pytest

from tests.browser.conftest import MEMBER, OWNER, Axe, Shot, Visitors

api = pytest.importorskip("playwright.async_api")


@pytest.mark.parametrize("how", ["with JavaScript", "without"])
async def test_a_link_signs_in_and_the_button_out(visitors: Visitors, axe: Axe, how: str) -> None:
    """From the link to the inbox and out again, with JavaScript and without."""
    js = how == "with JavaScript"
    page = await visitors.open(None, js=js, path="/sign-in")
    await api.expect(page.get_by_role("heading", name="Sign in", exact=True)).to_be_visible()
    if js:
        await axe(page)

    await page.goto(await visitors.stage.link(MEMBER))
    await api.expect(page.get_by_text(MEMBER)).to_be_visible()
    if js:
        await axe(page)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/inbox")
    if js:
        await axe(page)

    await page.get_by_label("Your account").click()
    await page.get_by_role("button", name="Sign out", exact=True).click()
    await api.expect(page.get_by_text("You are signed out.")).to_be_visible()
    await page.goto("/inbox")
    assert page.url == f"{visitors.stage.url}/inbox/sign-in"


async def test_screens(visitors: Visitors, axe: Axe, shot: Shot) -> None:
    """The ways in look right on a phone and in the dark, too."""
    for name in ("wide", "phone", "dark"):
        phone, dark = name == "phone", name == "dark"
        page = await visitors.open(None, path="/sign-in", phone=phone, dark=dark)
        await axe(page)
        await shot(page, f"sign-in-{name}")
        page = await visitors.open(OWNER, phone=phone, dark=dark)
        await axe(page)
        await shot(page, f"home-{name}")
        await page.goto("/inbox/nothing")
        await axe(page)
        await shot(page, f"nothing-{name}")
