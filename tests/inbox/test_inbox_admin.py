"""Senders and suppressions in the inbox: complete forms, for owners and admins."""

from __future__ import annotations

import re

from channels.model import Channel
from tests.inbox.conftest import Inbox
from tests.inbox.fields import field, typed
from tests.service.conftest import Ask
from tests.service.wires import connect, suppressed


async def test_senders(inbox: Inbox, ask: Ask) -> None:
    """Added, changed, made the default and deleted; accounts show nothing that opens."""
    browser = await inbox.signed_in()
    account_id = str(await connect(inbox.gateway, "sendgrid", Channel.EMAIL))
    fields = {
        "account_id": account_id, "channel": "email", "address": "new@clinic.example",
        "is_default": "true", "rate": "2,5",
    }  # fmt: skip

    empty = await browser.get("/senders/new")
    added = await browser.post("/senders/new", fields)
    again = await browser.post("/senders/new", fields)
    listed = await browser.get("/senders?channel=email&done=added")
    (row_id,) = re.findall(r'/senders/([0-9a-f-]{36})"><bdi>new@', listed.text)
    one = await browser.get(f"/senders/{row_id}")
    kept = await browser.post(f"/senders/{row_id}", {"is_active": "true", "rate": "0"})
    changed = await browser.post(f"/senders/{row_id}", {"is_default": "true", "rate": ""})
    owner = {"key": inbox.gateway.a.owner}
    row = (await ask("GET", f"/v1/senders/{row_id}", **owner)).body
    asked = await browser.get(f"/senders/{row_id}/delete")
    gone = await browser.post(f"/senders/{row_id}/delete")

    assert (200, 303, 422, 200) == (empty.status, added.status, again.status, one.status)
    assert "already" in field(again, "address")
    assert "2.5 a second" in listed.words
    assert "sendgrid" in listed.words
    assert "SG.key" not in listed.text
    assert (422, "0") == (kept.status, typed(kept)["rate"])
    assert field(kept, "rate")
    assert 303 == changed.status
    assert (False, True, None) == (row["is_active"], row["is_default"], row["rate"])
    assert "Delete the sender?" in asked.words
    assert 303 == gone.status
    assert 404 == (await browser.get(f"/senders/{row_id}")).status
    assert "No sender on this channel" in (await browser.get("/senders?channel=whatsapp")).words


async def test_senders_that_cannot_be(inbox: Inbox) -> None:
    """Each is told beside its field."""
    browser = await inbox.signed_in()
    account_id = str(inbox.gateway.a.account_id)
    fields = {"account_id": account_id, "channel": "sms", "address": "+15551239999"}
    for given, wrong in (
        ({"account_id": ""}, "account_id"),
        ({"account_id": "7d9f1a52-0000-4000-8000-000000000000"}, "account_id"),
        ({"channel": "fax"}, "channel"),
        ({"channel": "email"}, "channel"),
        ({"address": ""}, "address"),
        ({"address": "+1"}, "address"),
        ({"rate": "fast"}, "rate"),
        ({"rate": "-1"}, "rate"),
    ):
        shown = await browser.post("/senders/new", {**fields, **given})

        assert 422 == shown.status, given
        assert field(shown, wrong), given


async def test_suppressions(inbox: Inbox, ask: Ask) -> None:
    """Found in every form of an address, added with a note, lifted with a second thought."""
    browser = await inbox.signed_in()
    fields = {"channel": "sms", "address": "07700 900123", "reason": "stop", "note": "on the phone"}

    none = await browser.get("/suppressions")
    wrong = await browser.post("/suppressions/new", {**fields, "address": "nobody"})
    added = await browser.post("/suppressions/new", fields)
    found = await browser.get("/suppressions?address=%2B44+7700+900123&channel=sms&reason=stop")
    other = await browser.get("/suppressions?address=%2B447700900124")
    (path,) = re.findall(r'/gw/inbox(/suppressions/[0-9a-f-]{36})"', found.text)
    one = await browser.get(path)
    unsure = await browser.post(path)
    still = await suppressed(ask)
    lifted = await browser.post(path, {"sure": "true"})

    assert "No address is suppressed" in none.words
    assert (422, True) == (wrong.status, bool(field(wrong, "address")))
    assert "on the phone" == typed(wrong)["note"]
    assert "/gw/inbox/suppressions?done=added" == added.location
    assert "+447700900123" in found.words
    assert "No suppression matches" in other.words
    assert "They told me so" in one.words
    assert "on the phone" in one.words
    assert (422, True) == (unsure.status, bool(field(unsure, "sure")))
    assert {("sms", "+447700900123", "stop")} == still
    assert "/gw/inbox/suppressions?done=lifted" == lifted.location
    assert set() == await suppressed(ask)
    assert 404 == (await browser.get(path)).status
