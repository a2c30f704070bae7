"""Who a conversation is with: cards, namesakes, clients, and forms that come too late."""

from __future__ import annotations

import re
from uuid import uuid4

from tests.inbox.conftest import Inbox
from tests.inbox.talking import ANN, MEMBER, send, stored
from tests.service.conftest import Ask

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


async def test_cards_of_lead_and_client(inbox: Inbox, ask: Ask) -> None:
    """What is known of them, in words; what is not is left out, and nothing of it runs."""
    lead = {
        "first_name": "Ann", "last_name": HOSTILE, "phone": ANN, "source": "website",
        "tags": ["hot", "<i>x"], "notes": "n" * 598 + "\n" + "n" * 2000,
    }  # fmt: skip
    await ask("POST", "/v1/leads", lead)
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    await inbox.change("UPDATE leads SET last_contacted_at = '2026-01-31T15:30:00Z'")
    browser = await inbox.signed_in(MEMBER)
    browser.cookies["gateway_zone"] = "Asia/Tokyo"
    page = await browser.get(path)
    for words in ("Source website", "Tags hot, <i>x", "Not this lead"):
        assert words in page.words, words
    assert re.search(r"\b1 February(?: 2026)?, 00:30\b", page.words)  # other years are named
    assert "n" * 598 + "\nn…<" in page.text
    for harm in ("<script>alert", "<img src=x", "<i>x"):
        assert harm not in page.text

    bea = {"first_name": "Bea", "email": "bea@c.example"}
    client = (await ask("POST", "/v1/clients", bea)).body
    found = await browser.get(f"{path}/link?person=bea")
    assert f'name="person_id" value="{client["id"]}"' in found.text
    chosen = {"kind": "client", "person_id": client["id"]}
    assert 303 == (await browser.post(f"{path}/link", chosen)).status
    both = await browser.get(path)
    assert ("Not this lead" in both.words, "Not this client" in both.words) == (True, True)
    assert "Link another lead or client" in both.words
    await inbox.change("DELETE FROM clients")
    assert "Not this client" not in (await browser.get(path)).words


async def test_others_of_this_name(inbox: Inbox, ask: Ask) -> None:
    """Namesakes are shown with a way to say that they are one; other organizations' are not."""
    paths = []
    for n in range(2):
        phone = f"+44770090010{n}"
        await ask("POST", "/v1/leads", {"first_name": "Ann", "last_name": "Smith", "phone": phone})
        paths.append(f"/c/{(await send(ask, phone))['conversation_id']}")
    key = inbox.gateway.b.key
    await ask(
        "POST", "/v1/leads", {"first_name": "Ann", "last_name": "Smith", "phone": ANN}, key=key
    )
    theirs = await ask("POST", "/v1/messages", {"channel": "sms", "to": ANN, "body": "x"}, key=key)
    browser = await inbox.signed_in(MEMBER)
    page = await browser.get(paths[0])
    assert "Others with this name" in page.words
    assert f"{paths[0]}/merge?other={paths[1][3:]}" in page.text
    assert theirs.body["conversation_id"] not in page.text
    for method in ("get", "post"):
        other = theirs.body["conversation_id"]
        shown = (
            await browser.get(f"{paths[0]}/merge?other={other}")
            if method == "get"
            else await browser.post(f"{paths[0]}/merge", {"other": other})
        )
        assert 404 == shown.status, method


async def test_nobody_of_another_organization_is_linked(inbox: Inbox, ask: Ask) -> None:
    """Their leads are neither found nor taken, and their staff look after nothing of ours."""
    lead = {"first_name": "Zed", "phone": "+447700900666"}
    theirs = (await ask("POST", "/v1/leads", lead, key=inbox.gateway.b.key)).body
    row = await stored(inbox)
    path = f"/c/{row['conversation_id']}"
    browser = await inbox.signed_in()
    assert "Nobody found" in (await browser.get(f"{path}/link?person=zed")).words
    chosen = {"kind": "lead", "person_id": theirs["id"]}
    assert 404 == (await browser.post(f"{path}/link", chosen)).status
    stranger = await inbox.value("SELECT id FROM auth_users WHERE email = 'owner@beta.example.com'")
    given = await browser.post(f"{path}/change", {"assigned_to": str(stranger)})
    assert (422, True) == (given.status, "no longer a member of staff" in given.words)
    assert "beta.example.com" not in (await browser.get(path)).text


NOT_FILLED_IN: list[tuple[str, dict[str, str], int]] = [
    ("link", {}, 400),
    ("link", {"kind": "lead", "person_id": "x"}, 404),
    ("unlink", {}, 409),
    ("unlink", {"address": ANN}, 409),  # the only one
    ("unlink", {"address": "nobody\x00"}, 409),
    ("merge", {}, 404),
    ("lift", {}, 404),
    ("lift", {"suppression_id": str(uuid4())}, 404),
    ("change", {"status": "odd"}, 303),
    ("read", {"do": "odd"}, 303),
]


async def test_forms_that_nobody_filled_in(inbox: Inbox) -> None:
    """What a form does not say, or says too late, is answered by a page, and changes nothing."""
    row = await stored(inbox)
    browser = await inbox.signed_in()
    for action, fields, status in NOT_FILLED_IN:
        shown = await browser.post(f"/c/{row['conversation_id']}/{action}", fields)
        assert status == shown.status, (action, fields, shown.words)
        assert 1 == await inbox.gateway.count("gateway.conversations")


async def test_merging_with_itself(inbox: Inbox, ask: Ask) -> None:
    """A conversation is not made part of itself, whichever of its ids is named."""
    one, other = await send(ask), await send(ask, "+447700900124")
    path = f"/c/{one['conversation_id']}"
    browser = await inbox.signed_in()
    assert 409 == (await browser.post(f"{path}/merge", {"other": path[3:]})).status
    fields = {"other": other["conversation_id"]}
    assert 303 == (await browser.post(f"{path}/merge", fields)).status
    assert 409 == (await browser.post(f"{path}/merge", fields)).status
    old = f"/c/{other['conversation_id']}"
    for action, given in (("read", {"do": "unread"}), ("change", {"status": "closed"})):
        assert 303 == (await browser.post(f"{old}/{action}", given)).status
    (left,) = (await ask("GET", "/v1/conversations")).body["data"]
    assert ("closed", path[3:]) == (left["status"], left["id"])
