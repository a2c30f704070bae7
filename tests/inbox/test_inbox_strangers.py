"""Hostile words, and people who may not: nothing of theirs happens."""

from __future__ import annotations

import re

import pytest

from tests.inbox.conftest import Inbox, Shown
from tests.service.conftest import Ask
from tests.service.wires import suppressed

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{ 7*191919191919 }}"
TEMPLATE = {"type": "sms", "name": "welcome", "content": "Hello"}


async def test_hostile_words_stay_words(inbox: Inbox, ask: Ask) -> None:
    """Whatever somebody calls their organization, staff, templates, senders, accounts, notes."""
    browser = await inbox.signed_in()
    organization_id = inbox.gateway.a.organization_id
    for statement in (
        "UPDATE organizations SET name = $1 WHERE id = $2",
        "UPDATE auth_users SET full_name = $1 WHERE organization_id = $2",
        "UPDATE gateway.provider_accounts SET name = $1 WHERE organization_id = $2",
        "UPDATE gateway.senders SET address = $1 WHERE organization_id = $2",
        """INSERT INTO message_templates (organization_id, type, name, description, category, tags,
          variables, content) SELECT $2, 'sms', $1, $1, $1, ARRAY[$1], ARRAY[$1], $1""",
        """INSERT INTO gateway.suppressions (organization_id, id, channel, address, reason, source,
          evidence) SELECT $2, gen_random_uuid(), 'sms', $1, 'manual', $1,
          jsonb_build_object('note', $1::text, $1::text, $1::text)""",
    ):
        await inbox.change(statement, HOSTILE, organization_id)
    template, sender, suppression = [
        await inbox.value(f"SELECT id FROM {table} WHERE organization_id = $1", organization_id)  # noqa: S608
        for table in ("message_templates", "gateway.senders", "gateway.suppressions")
    ]
    paths = [
        "", "/templates", f"/templates/{template}", f"/templates/{template}/delete", "/senders",
        "/senders/new", f"/senders/{sender}", f"/senders/{sender}/delete", "/suppressions",
        f"/suppressions/{suppression}", await inbox.link("member@alpha.example.com"),
    ]  # fmt: skip
    for path in paths:
        shown = await browser.get(path)
        assert 200 == shown.status, path
        assert "alert(1)" in shown.text, path
        assert_harmless(shown)
    template_form = {"type": "email", "name": HOSTILE, "subject": HOSTILE, "content": "{{"}
    sender_form = dict.fromkeys(("account_id", "channel", "address", "rate"), HOSTILE)
    suppression_form = {"channel": "sms", "reason": HOSTILE, "address": HOSTILE, "note": HOSTILE}
    for form, path in (
        (template_form, "/templates/new"),
        (sender_form, "/senders/new"),
        (suppression_form, "/suppressions/new"),
        ({"email": HOSTILE}, "/sign-in/link"),
    ):
        shown = await browser.post(path, form)
        assert 422 == shown.status, path
        assert_harmless(shown)
    assert_harmless(await browser.get(f"/templates?name={HOSTILE}&channel={HOSTILE}"))
    assert_harmless(await browser.get(f"/suppressions?address={HOSTILE}&reason={HOSTILE}"))
    assert_harmless(await browser.get(f"/sign-in?next={HOSTILE}"))
    assert [] == (await ask("GET", "/v1/messages")).body["data"]


def assert_harmless(shown: Shown) -> None:
    """No tag and no attribute of theirs is one of the page's."""
    assert not re.search(r"<script>|<img", shown.text)
    assert "1343434343433" not in shown.text


@pytest.mark.parametrize("who", ["member@alpha.example.com", "owner@beta.example.com"])
async def test_who_may_not(inbox: Inbox, ask: Ask, who: str) -> None:
    """A member opens none of it (403); an owner of another organization finds none of it (404)."""
    owner, other = await inbox.signed_in(), await inbox.signed_in(who)
    await owner.post("/templates/new", TEMPLATE)
    await owner.post(
        "/suppressions/new", {"channel": "sms", "address": "+447700900123", "reason": "manual"}
    )
    (template,) = (await ask("GET", "/v1/templates")).body["data"]
    (listed,) = (await ask("GET", "/v1/suppressions")).body["data"]
    (sender,) = (await ask("GET", "/v1/senders", key=inbox.gateway.a.owner)).body["data"]
    one = [
        f"/templates/{template['id']}",
        f"/senders/{sender['id']}",
        f"/suppressions/{listed['id']}",
    ]
    expected = 403 if who.startswith("member") else 404

    for path in one:
        for each in (path, f"{path}/delete"):
            if "suppressions" not in each or each == path:
                assert expected == (await other.get(each)).status, each
            shown = await other.post(
                each, {"sure": "true", "is_active": "true", **TEMPLATE, "content": "stolen"}
            )
            assert shown.status in (expected, 404), each
    pages = [await other.get(f"/{name}") for name in ("templates", "senders", "suppressions")]
    with_account = await other.post(
        "/senders/new",
        {
            "account_id": str(inbox.gateway.a.account_id),
            "channel": "sms",
            "address": "+15551239999",
        },
    )

    assert {403} == {page.status for page in pages} or {200} == {page.status for page in pages}
    assert (403 if expected == 403 else 422) == with_account.status
    for page in pages:
        for secret in ("welcome", "+15551230001", "+447700900123"):
            assert secret not in page.text
    assert [template] == (await ask("GET", "/v1/templates")).body["data"]
    assert 1 == len(await suppressed(ask))
    senders = (await ask("GET", "/v1/senders", key=inbox.gateway.a.owner)).body["data"]
    assert [sender] == senders


async def test_names_without_end(inbox: Inbox, ask: Ask) -> None:
    """Of a name only the beginning is shown: pages show some of them several times."""
    phone = "+447700900777"
    await ask("POST", "/v1/leads", {"first_name": "Ada", "phone": phone})
    lead = (await ask("POST", "/v1/leads", {"first_name": "Grace"})).body
    sms = {"channel": "sms", "to": phone, "body": "Hello"}
    message = (await ask("POST", "/v1/messages", sms)).body
    browser = await inbox.signed_in()
    for change in (
        "UPDATE leads SET first_name = repeat('x', 1000000) WHERE organization_id = $1",
        "UPDATE leads SET tags = array_fill('x'::text, ARRAY[100000]) WHERE organization_id = $1",
        "UPDATE organizations SET name = repeat('x', 1000000) WHERE id = $1",
        "UPDATE auth_users SET full_name = repeat('x', 1000000) WHERE organization_id = $1",
        """UPDATE organizations SET settings = jsonb_build_object('timezone', name, 'country', name)
          WHERE id = $1""",
    ):
        await inbox.change(change, inbox.gateway.a.organization_id)
    for path in ("", f"/c/{message['conversation_id']}", f"/to/lead/{lead['id']}"):
        shown = await browser.get(path)
        assert 200 == shown.status
        assert "x" * 1000 in shown.text
        assert 200_000 > len(shown.text), path
