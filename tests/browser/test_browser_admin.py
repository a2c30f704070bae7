"""Templates, senders and suppressions, as an owner looks after them."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Axe, Shot, Visitors

api = pytest.importorskip("playwright.async_api")

TOO_WIDE = """[...document.querySelectorAll('body *')]
  .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('nav, thead'))
  .map((e) => e.outerHTML.slice(0, 80))"""
LONG = "Ωmega " * 30


@pytest.mark.parametrize("how", ["with JavaScript", "without"])
async def test_a_template_is_written_tried_and_saved(
    visitors: Visitors, axe: Axe, shot: Shot, how: str
) -> None:
    """What is missing stands beside its field, what was typed stays, the preview is the mail."""
    js = how == "with JavaScript"
    page = await visitors.open(js=js, path="/templates")
    await page.get_by_role("link", name="New template").click()
    await page.get_by_role("link", name="E-mail").click()
    await page.get_by_label("Name").fill("welcome")
    await page.get_by_label("Subject").fill("Hello {{ first_name }}")
    await page.get_by_label("Text", exact=True).fill(
        '<h1 style="color: teal">Hello {{ first_name }}</h1><p>Your code is {{ code }}.</p>'
    )
    await page.get_by_role("button", name="Try it").click()
    await api.expect(page.get_by_text("Fill in the variables")).to_be_visible()
    await page.get_by_role("button", name="Try it").click()
    await api.expect(page.get_by_role("alert").first).to_contain_text("is missing")
    if js:
        await axe(page)
        await shot(page, "template-missing")

    await page.get_by_role("textbox", name="first_name").fill("<b>Žofie</b>")
    await page.get_by_role("textbox", name="code").fill("1234")
    await page.get_by_role("button", name="Try it").click()
    mail = page.frame_locator("iframe.mail")
    await api.expect(mail.get_by_role("heading")).to_have_text("Hello <b>Žofie</b>")
    await api.expect(mail.get_by_role("heading")).to_have_css("color", "rgb(0, 128, 128)")
    if js:
        await axe(page)
        await shot(page, "template-preview")

    await page.get_by_role("button", name="Save").click()
    await api.expect(page.get_by_text("The template is saved.")).to_be_visible()
    await page.get_by_role("link", name="Templates").first.click()
    await api.expect(page.get_by_role("row", name="welcome")).to_contain_text("code, first_name")

    await page.get_by_role("link", name="welcome").click()
    await page.get_by_role("link", name="Delete …").click()
    await page.get_by_role("button", name="Delete").click()
    await api.expect(page.get_by_text("The template is deleted.")).to_be_visible()


async def test_senders_and_suppressions_by_keyboard(visitors: Visitors, axe: Axe) -> None:
    """An owner adds a sender and lifts a suppression without a mouse."""
    page = await visitors.open(path="/senders/new")
    await page.get_by_label("Account", exact=True).focus()
    await page.keyboard.press("Tab")
    await page.keyboard.type("SMS")
    await page.keyboard.press("Tab")
    await page.keyboard.type("+15551230077")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Space")
    await page.keyboard.press("Tab")
    await page.keyboard.type("2.5")
    await page.keyboard.press("Enter")
    row = page.get_by_role("row", name="+15551230077")
    await api.expect(row).to_contain_text("2.5 a second")
    await api.expect(row).to_contain_text("Default")
    await axe(page)

    await page.goto("/inbox/suppressions/new")
    await page.get_by_label("Address").fill("no address")
    await page.keyboard.press("Enter")
    await api.expect(page.get_by_role("alert").first).to_contain_text("Address")
    await api.expect(page.get_by_label("Address")).to_have_value("no address")
    await axe(page)
    await page.get_by_label("Address").fill("Somebody@Example.com")
    await page.get_by_label("Note for colleagues").fill("asked on the phone")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name="somebody@example.com").press("Enter")
    await axe(page)
    await page.get_by_role("button", name="Lift").press("Enter")
    await page.get_by_role("checkbox").press("Space")
    await page.get_by_role("button", name="Lift").press("Enter")
    await api.expect(page.get_by_text("The suppression is lifted.")).to_be_visible()


async def test_screens(visitors: Visitors, axe: Axe, shot: Shot) -> None:
    """Each page is accessible and fits, also on a phone and in the dark."""
    paths = (
        "templates",
        "templates/new",
        "templates/new?channel=whatsapp",
        "senders",
        "senders/new",
        "suppressions",
        "suppressions/new",
    )
    page = await visitors.open(path="/suppressions/new")
    await page.get_by_label("Channel").select_option("SMS")
    await page.get_by_label("Address").fill("+447700900123")
    await page.get_by_label("Note for colleagues").fill(LONG)
    await page.get_by_role("button", name="Add").click()
    for name in ("wide", "phone", "dark"):
        page = await visitors.open(phone=name == "phone", dark=name == "dark")
        for path in paths:
            await page.goto(f"/inbox/{path}")
            await axe(page)
            await shot(page, f"admin-{path.replace('/', '-').partition('?')[0]}-{name}")
            assert await page.evaluate(TOO_WIDE) == [], path


async def test_no_page_is_hidden_on_a_tablet(visitors: Visitors) -> None:
    """The names of all pages fit beside the organization's and one's own, or have a line."""
    page = await visitors.open(path="/templates")
    for width in (770, 800, 880, 900):
        await page.set_viewport_size({"width": width, "height": 900})
        cut = "(each) => each.scrollWidth > each.clientWidth"
        assert not await page.get_by_role("navigation").evaluate(cut), width
