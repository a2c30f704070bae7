"""Templates in the inbox: one form to write, try and save them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.inbox.conftest import Inbox
from tests.inbox.fields import field, typed
from tests.service.conftest import Ask

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{ 7*7 }}"
LISTING = "Hi {{ name }}{% for x in list %} {{ x }}{% endfor %} 🙂"
HX1 = {"options.content_sid": "HX" + "1" * 32}
# Every channel's form, filled in, and what it means to /v1.
FORMS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "email": (
        {"subject": "Hi {{ name }}", "options.reply_to": "desk@clinic.example"},
        {
            "subject": "Hi {{ name }}",
            "options": {"unsubscribe": False, "reply_to": "desk@clinic.example"},
        },
    ),
    "sms": ({}, {"subject": None, "options": None}),
    "whatsapp": (
        {
            "options.name": "hello",
            "options.language": "en_GB",
            "options.variables": "1 = {{ name }}\r\n\r\n2={{ day }} = x",
            "options.parameters": "2",
            "options.components": '[{"type": "header"}]',
        },
        {
            "options": {
                "name": "hello",
                "language": "en_GB",
                "variables": {"1": "{{ name }}", "2": "{{ day }} = x"},
                "parameters": 2,
                "components": [{"type": "header"}],
            }
        },
    ),
    "call": (
        {
            "options.voice": "Polly.Amy",
            "options.language": "en-GB",
            "options.play": "https://x.example/a.mp3",
            "options.repeat": "2",
            "options.confirm": "1",
            "options.timeout": "30",
            "options.detect_machine": "true",
        },
        {
            "options": {
                "voice": "Polly.Amy",
                "language": "en-GB",
                "play": "https://x.example/a.mp3",
                "repeat": 2,
                "confirm": "1",
                "timeout": 30,
                "detect_machine": True,
            }
        },
    ),
}
COMMON = {
    "name": " welcome ",
    "content": "Hello {{ name }}\r\nsee you",
    "description": "for new ones",
    "category": "intake",
    "tags": "a, b,,",
    "is_active": "true",
}


async def templates(ask: Ask) -> list[dict[str, Any]]:
    """What /v1 has."""
    found: list[dict[str, Any]] = (await ask("GET", "/v1/templates")).body["data"]
    return found


@pytest.mark.parametrize("channel", FORMS)
async def test_a_template_of_each_channel(inbox: Inbox, ask: Ask, channel: str) -> None:
    """The form means what /v1 takes, shows it again as it is, and saves it unchanged."""
    browser = await inbox.signed_in()
    fields, meant = FORMS[channel]

    empty = await browser.get(f"/templates/new?channel={channel}")
    saved = await browser.post("/templates/new", {"type": channel, **COMMON, **fields})
    (row,) = await templates(ask)
    shown = await browser.get(f"/templates/{row['id']}?done=saved")
    again = await browser.post(f"/templates/{row['id']}", typed(shown))
    (same,) = await templates(ask)

    assert 200 == empty.status
    assert (303, f"/gw/inbox/templates/{row['id']}?done=saved") == (saved.status, saved.location)
    assert {
        "name": "welcome",
        "type": channel,
        "content": "Hello {{ name }}\nsee you",
        "description": "for new ones",
        "category": "intake",
        "tags": ["a", "b"],
        "is_active": True,
        **meant,
    } == {name: row[name] for name in (
        "name", "type", "content", "description", "category", "tags", "is_active", *meant,
    )}  # fmt: skip
    assert "The template is saved." in shown.words
    assert 303 == again.status
    assert row | {"updated_at": ""} == same | {"updated_at": ""}


DEEP = '[{"a": ' + "[" * 300 + "]" * 300 + "}]"
WRONG: list[tuple[str, dict[str, str], str]] = [
    ("sms", {"name": ""}, "name"),
    ("sms", {"content": ""}, "content"),
    ("sms", {"content": "{{ name"}, "content"),
    ("sms", {"name": "x" * 201}, "name"),
    ("sms", {"category": "x" * 1001}, "category"),
    ("sms", {"tags": "x" * 256}, "tags"),
    ("email", {"subject": ""}, "subject"),
    ("email", {"subject": "{% x %}"}, "subject"),
    ("email", {"options.reply_to": "x" * 1001}, "options.reply_to"),
    ("whatsapp", {"options.language": "en"}, "options.content_sid"),
    ("whatsapp", {**HX1, "options.variables": "x"}, "options.variables"),
    ("whatsapp", {**HX1, "options.variables": "1 = {{"}, "options.variables"),
    ("whatsapp", {**HX1, "options.components": "{"}, "options.components"),
    ("whatsapp", {**HX1, "options.components": "[1]"}, "options.components"),
    ("whatsapp", {**HX1, "options.components": DEEP}, "options.components"),
    ("whatsapp", {**HX1, "options.components": '[{"a": NaN}]'}, "options.components"),
    ("whatsapp", {**HX1, "options.parameters": "two"}, "options.parameters"),
    ("call", {"options.repeat": "9"}, "options.repeat"),
    ("call", {"options.repeat": "1.5"}, "options.repeat"),
    ("call", {"options.confirm": "12"}, "options.confirm"),
    ("call", {"options.timeout": "soon"}, "options.timeout"),
]  # fmt: skip


async def test_what_is_wrong_stands_beside_its_field(inbox: Inbox, ask: Ask) -> None:
    """And above the form, with a way to it; what was typed stays; nothing is stored."""
    browser = await inbox.signed_in()
    for channel, given, wrong in WRONG:
        fields = {"type": channel, "subject": "Hi", **COMMON, **given}

        shown = await browser.post("/templates/new", fields)
        tried = await browser.post("/templates/new", {**fields, "name": "x", "do": "try"})

        assert 422 == shown.status, given
        assert field(shown, wrong), given
        assert f'href="#f-{wrong.replace(".", "-")}"' in shown.text
        kept = typed(shown)
        for name, text in fields.items():
            if name in kept:
                assert text == kept[name], (given, name)
        if wrong != "name":
            assert field(tried, wrong), given
        assert [] == await templates(ask), given


async def test_names_are_unique_on_a_channel(inbox: Inbox) -> None:
    """The second one is told so beside the name."""
    browser = await inbox.signed_in()
    fields = {"type": "sms", **COMMON}
    await browser.post("/templates/new", fields)

    shown = await browser.post("/templates/new", fields)

    assert 422 == shown.status
    assert "already" in field(shown, "name")


async def test_a_preview_shows_what_would_be_sent(inbox: Inbox, ask: Ask) -> None:
    """With its variables, and for SMS with what it costs; nothing is stored."""
    browser = await inbox.signed_in()
    sms = {
        "type": "sms",
        "content": LISTING,
        "do": "try",
    }

    asks = await browser.post("/templates/new", sms)
    empty = await browser.post("/templates/new", {**sms, "variables.name": ""})
    values = {"variables.name": "Ada", "variables.list": "[1, 2]"}
    shown = await browser.post("/templates/new", {**sms, **values})
    words = await browser.post("/templates/new", {**sms, **values, "variables.list": "[nonsense"})
    mail = {
        "type": "email",
        "subject": "{{ a }}",
        "content": "<p onclick=x>{{ a }}</p>",
        "do": "try",
    }
    html = await browser.post("/templates/new", {**mail, "variables.a": HOSTILE})
    provider = await browser.post(
        "/templates/new",
        {
            "type": "whatsapp",
            "content": "x",
            **HX1,
            "options.variables": "1 = {{ a }}",
            "variables.a": "<i>",
            "do": "try",
        },
    )

    assert (200, False) == (asks.status, "is missing" in asks.words)
    assert "" == field(asks, "variables.name")
    assert "Fill in the variables, and try it again." in asks.words
    assert (422, True) == (empty.status, "is missing" in field(empty, "variables.name"))
    assert "is missing" not in field(empty, "variables.list")
    assert "Hi Ada 1 2 🙂" in shown.words
    assert "1 segment, UCS-2, because of 🙂" in shown.words
    assert "Hi Ada [ n o n" in words.words
    assert 200 == html.status
    assert "<script>alert" not in html.text
    assert "<img" not in html.text
    assert "sandbox" in html.text
    assert "script-src" not in html.headers["Content-Security-Policy"]
    assert "style-src 'self' 'unsafe-inline'" in html.headers["Content-Security-Policy"]
    assert "unsafe-inline" not in shown.headers["Content-Security-Policy"]
    assert "HX1" in provider.words
    assert [] == await templates(ask)


async def test_a_template_is_changed_turned_off_and_deleted(inbox: Inbox, ask: Ask) -> None:
    """A box without its tick is off; deleting asks first."""
    browser = await inbox.signed_in()
    await browser.post("/templates/new", {"type": "sms", **COMMON})
    (row,) = await templates(ask)
    fields = {key: value for key, value in COMMON.items() if key != "is_active"}

    await browser.post(f"/templates/{row['id']}", {**fields, "content": "{{ day }}"})
    (changed,) = await templates(ask)
    listed = await browser.get("/templates?use=inactive&channel=sms&name=welcome")
    none = await browser.get("/templates?use=active")
    asked = await browser.get(f"/templates/{row['id']}/delete")
    gone = await browser.post(f"/templates/{row['id']}/delete")

    assert (False, ["day"], "sms") == (changed["is_active"], changed["variables"], changed["type"])
    assert "welcome" in listed.words
    assert "No template matches" in none.words
    assert "Delete the template?" in asked.words
    assert "/gw/inbox/templates?done=deleted" == gone.location
    assert "The template is deleted." in (await browser.get("/templates?done=deleted")).words
    assert [] == await templates(ask)


async def test_options_that_a_form_cannot_show(inbox: Inbox, ask: Ask) -> None:
    """Options too large to be read are not lost when something else is saved."""
    browser = await inbox.signed_in()
    await browser.post("/templates/new", {"type": "whatsapp", **COMMON, **HX1})
    (row,) = await templates(ask)
    await inbox.change(
        """UPDATE message_templates SET options = options || jsonb_build_object(
          'variables', jsonb_build_object('1', repeat('x', 5000000))) WHERE organization_id = $1""",
        inbox.gateway.a.organization_id,
    )

    saved = await browser.post(f"/templates/{row['id']}", {**COMMON, "description": "for all"})

    assert 422 == saved.status
    assert "cannot be read as they are stored" in saved.words
    async with inbox.gateway.database.as_service() as db:
        size = await db.fetchval("SELECT octet_length(options::text) FROM message_templates")
    assert 5_000_000 < size


async def test_a_form_of_no_channel(inbox: Inbox) -> None:
    """It was not made here."""
    browser = await inbox.signed_in()

    shown = await browser.post("/templates/new", {"type": "fax"})

    assert 422 == shown.status
    assert "New template" in shown.words
    assert "For which channel?" in (await browser.get("/templates/new?channel=fax")).words


async def test_lists_have_pages(inbox: Inbox) -> None:
    """Older rows are a link away, and the filters stay."""
    browser = await inbox.signed_in()
    await inbox.change(
        "INSERT INTO message_templates (organization_id, name, type, content)"
        " SELECT $1, 'number ' || n, 'sms', 'x' FROM generate_series(1, 51) n",
        inbox.gateway.a.organization_id,
    )

    first = await browser.get("/templates?channel=sms")
    (path,) = re.findall(r'href="/gw/inbox(/templates\?[^"]*cursor=[^"]*)"', first.text)
    second = await browser.get(path.replace("&amp;", "&"))

    assert "channel=sms" in path
    assert (50, 1) == tuple(each.text.count(">number ") for each in (first, second))
    assert "Older" not in second.words
    assert 404 == (await browser.get("/templates?cursor=x")).status
