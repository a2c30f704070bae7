"""Every path of the inbox, whoever adds it: nothing of another organization, nothing by strangers.

Walks the table of routes, so that a page of tomorrow is in the test today. A path with an id of a
kind that is not in `rows` fails until it is.
"""

from __future__ import annotations

import re

import pytest

from gateway.inbox.routes import ROUTES, Route
from tests.inbox.conftest import Inbox
from tests.service.conftest import Ask

OWNER_B, MEMBER = "owner@beta.example.com", "member@alpha.example.com"
SECRETS = ("Alpha", "alpha.example.com", "hidden-of-a", "+447700900123", "+15551230001")
CLOSED = [route for route in ROUTES if not route.is_open]


@pytest.fixture
async def rows(inbox: Inbox, ask: Ask) -> dict[str, str]:
    """A row of A of each kind that paths name, by the first word of the path."""
    template = {"name": "hidden-of-a", "type": "sms", "content": "hidden-of-a"}
    listed = {"channel": "sms", "address": "+447700900123", "note": "hidden-of-a"}
    owner = {"key": inbox.gateway.a.owner}
    file = {"content": "eA==", "filename": "hidden-of-a.txt", "content_type": "text/plain"}
    sms = {"channel": "sms", "to": "+447700900123", "body": "hidden-of-a", "attachments": [file]}
    message = (await ask("POST", "/v1/messages", sms)).body
    lead = {"first_name": "hidden-of-a", "email": "ann@alpha.example.com"}
    return {
        "to": f"lead/{(await ask('POST', '/v1/leads', lead)).body['id']}",
        "c": message["conversation_id"],
        "m": message["id"],
        "media": message["attachments"][0]["url"].rpartition("/")[2],
        "templates": (await ask("POST", "/v1/templates", template)).body["id"],
        "suppressions": (await ask("POST", "/v1/suppressions", listed)).body["id"],
        "senders": (await ask("GET", "/v1/senders", **owner)).body["data"][0]["id"],
    }


def path_of(route: Route, rows: dict[str, str]) -> str:
    """The path with an id of A in it."""
    if "{" not in route.path:
        return route.path
    kind = route.path.split("/")[1]
    assert kind in rows, f"{route.path}: name a row of A for it in the fixture `rows`"
    return re.sub(r"\{.*\}", rows[kind], route.path)


async def test_another_organization_finds_nothing(
    inbox: Inbox, rows: dict[str, str], ask: Ask
) -> None:
    """Its owner gets 404 for every id of A, and not a byte of A on any page."""
    browser = await inbox.signed_in(OWNER_B)
    before = await stored(inbox)
    for route in CLOSED:
        path = path_of(route, rows)
        if route.path in ("/sign-out-everywhere", "/live"):  # the second is a stream: see its test
            continue
        shown = await (browser.get(path) if route.method == "GET" else browser.post(path))
        if "{" in route.path:
            assert 404 == shown.status, (route.method, route.path)
        for secret in SECRETS:
            assert secret not in shown.text, (route.method, route.path)
    assert before == await stored(inbox)
    assert 200 == (await ask("GET", f"/v1/templates/{rows['templates']}")).status


async def stored(inbox: Inbox) -> list[str]:
    """Everything of A, as text."""
    tables = (
        "messages", "message_templates", "leads", "clients", "gateway.senders",
        "gateway.suppressions", "gateway.conversations", "gateway.consent_events",
        "gateway.conversation_addresses", "gateway.media", "gateway.queue",
    )  # fmt: skip
    return [
        await inbox.value(
            f"SELECT coalesce(string_agg(t::text, '|' ORDER BY t::text), '') FROM {table} t"  # noqa: S608
            " WHERE organization_id = $1",
            inbox.gateway.a.organization_id,
        )
        for table in tables
    ]


async def test_nobody_is_led_to_the_sign_in(inbox: Inbox, rows: dict[str, str]) -> None:
    """Without a session no page shows and no form does anything."""
    browser, before = inbox.browser(), await stored(inbox)
    for route in CLOSED:
        path = path_of(route, rows)
        shown = await (browser.get(path) if route.method == "GET" else browser.post(path))
        assert (303, True) == (shown.status, "/inbox/sign-in" in shown.location), route.path
        assert not shown.text
    assert before == await stored(inbox)


async def test_forms_need_their_token(inbox: Inbox, rows: dict[str, str]) -> None:
    """Every form is refused without it, and from another site even with it."""
    browser, before = await inbox.signed_in(), await stored(inbox)
    csrf = browser.csrf
    for route in CLOSED:
        if route.method == "POST":
            browser.csrf = ""
            bare = await browser.post(path_of(route, rows))
            foreign = await browser.post(
                path_of(route, rows), {"csrf": csrf}, Origin="https://evil.example"
            )
            assert (403, 403) == (bare.status, foreign.status), route.path
    assert before == await stored(inbox)
    assert 200 == (await browser.get("")).status


async def test_members_open_no_page_of_owners(inbox: Inbox, rows: dict[str, str]) -> None:
    """403, also for what is not there."""
    browser, before = await inbox.signed_in(MEMBER), await stored(inbox)
    for route in CLOSED:
        if route.admin:
            path = path_of(route, rows)
            shown = await (browser.get(path) if route.method == "GET" else browser.post(path))
            assert 403 == shown.status, route.path
            assert "hidden-of-a" not in shown.text
    assert before == await stored(inbox)


def test_what_is_open_is_for_signing_in() -> None:
    """Nobody opens a path to everybody by accident."""
    assert {
        "/sign-in", "/sign-in/link", "/sign-in/password", "/session", "/link/{token}", "/sign-out",
    } == {route.path for route in ROUTES if route.is_open}  # fmt: skip
