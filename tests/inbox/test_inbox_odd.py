"""Messages as they are shown, whatever their rows hold: strangers write them, and programs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.inbox.talk import view
from gateway.inbox.talk.kinds import details, file_of, media_ids
from gateway.inbox.talk.listing import name_of

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
ID = UUID("01234567-89ab-7def-8123-456789abcdef")
OURS = f"https://msg.example.org/gw/v1/media/{ID}"

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
NAMES = st.sampled_from(
    ("provider", "type", "location", "name", "address", "latitude", "Latitude", "digits",
     "duration", "answered_by", "quoted_text", "url", "filename", "size", "content_type"),
)  # fmt: skip
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=5)
)


def row(**columns: Any) -> dict[str, Any]:
    """A message that came in, unless columns say otherwise."""
    return {
        "id": ID, "direction": "inbound", "channel": "sms", "status": "received",
        "created_at": NOW, "send_at": None, "from_address": "+1", "to_address": "+2",
        "subject": None, "body": "hi", "html_body": None, "attachments": [], "metadata": {},
        "error_code": None, "error_message": None, "retry_of": None, **columns,
    }  # fmt: skip


@given(
    channel=st.sampled_from(("sms", "email", "whatsapp", "call")),
    direction=st.sampled_from(("inbound", "outbound")),
    status=st.none() | st.sampled_from(("pending", "failed", "queued", "")),
    attachments=ANYTHING,
    metadata=ANYTHING,
    body=st.none() | st.text(),
)
def test_no_row_breaks_the_page(**columns: Any) -> None:
    """Whatever JSON another program has stored, the message is shown, and in the list."""
    odd = row(**columns)
    assert ID == view.shown(odd, NOW, {}).id
    assert len(view.snippet(odd)) <= 141
    assert isinstance(media_ids([odd]), list)


def test_no_number_of_files_makes_a_page_slow() -> None:
    """Of a million files a hundred are shown, and it is said how many are not."""
    many = row(attachments=[{"url": OURS}] * 1_000_000, body="")
    shown = view.shown(many, NOW, {})
    assert 100 == len(shown.files) == len(media_ids([many]))
    assert ["999,900 more files are not shown"] == shown.details
    assert "1000000 files" == view.snippet(many)


@given(digits=st.text(alphabet="0123456789²٣", max_size=6000))
def test_no_duration_breaks_the_page(digits: str) -> None:
    """What is no number of seconds is left out."""
    lines = details("call", {"duration": digits}, is_ours=True)
    assert bool(lines) == (digits.isascii() and 0 < len(digits) < 7)
    assert all(re.fullmatch(r"Lasted \d+:[0-5]\d", line) for line in lines)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://files.example/a.pdf", "https://files.example/a.pdf"),
        ("http://files.example/a.pdf", "http://files.example/a.pdf"),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("//files.example/a", None),
        ("http://[", None),
        ("https://[::1", None),
        ("", None),
        (7, None),
    ],
)
def test_files_elsewhere(url: object, shown: str | None) -> None:
    """Only an address of the web is a link; nothing from elsewhere is shown by itself."""
    file = file_of({"url": url, "content_type": "image/png", "filename": " "}, {})
    assert (shown, "link", "File", "away") == (file.url, file.show, file.name, file.state)


@pytest.mark.parametrize(
    ("kind", "show"),
    [
        ("image/png", "image"),
        ("IMAGE/JPEG; x=y", "image"),
        ("image/svg+xml", "link"),
        ("text/html", "link"),
        ("audio/mpeg", "audio"),
        ("audio/amr", "link"),
        ("video/mp4", "video"),
        ("application/pdf", "link"),
        (None, "link"),
        (["image/png"], "link"),
    ],
)
def test_files_of_ours(kind: object, show: str) -> None:
    """What browsers show safely is shown, once it is here; all else is a link."""
    given_file = {"url": OURS, "content_type": kind, "filename": "a"}
    assert (ID, show) == ((file := file_of(given_file, {})).id, file.show)
    for state in ("waiting", "failed"):
        kept = {ID: {"state": state, "reason": "It is gone."}}
        file = file_of(given_file, kept)
        assert ("link", state, "It is gone.") == (file.show, file.state, file.reason)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1500, "2 kB"), (2_340_000, "2.3 MB"),
        (-1, None), (True, None), ("7", None), (None, None), (1.5, None), (10**400, None),
    ],
)  # fmt: skip
def test_sizes(size: object, shown: str | None) -> None:
    """In the unit that is read easily; what is no size is none."""
    assert shown == file_of({"url": OURS, "size": size}, {}).size


@pytest.mark.parametrize(
    ("channel", "told", "is_ours", "lines"),
    [
        ("call", {"digits": "1", "duration": "61", "answered_by": "machine_start"}, True,
         ["They pressed 1", "Lasted 1:01", "Answered by: machine start"]),
        ("call", {"digits": "2", "duration": 7.5}, False, ["Pressed 2"]),
        ("call", {"duration": True, "digits": 4}, False, []),
        ("call", {"duration": "21", "digits": "hangup"}, False, ["Lasted 0:21"]),
        ("whatsapp", {"type": "location", "location": {
            "name": "Clinic", "address": "1 Way", "latitude": 51.5, "longitude": -0.1}},
         False, ["A place: Clinic, 1 Way, 51.5, -0.1"]),
        ("whatsapp", {"Latitude": "51.5", "Longitude": "-0.1", "Label": "Home"}, False,
         ["A place: Home, 51.5, -0.1"]),
        ("whatsapp", {"type": "location", "location": "here"}, False, ["A place"]),
        ("whatsapp", {"type": "reaction"}, False, ["A reaction to an earlier message"]),
        ("whatsapp", {"MessageType": "reaction"}, False, ["A reaction to an earlier message"]),
        ("whatsapp", {"type": "contacts", "contacts": [
            {"name": {"formatted_name": "Ann"}, "phones": [{"phone": "+1 555"}, {"wa_id": "1"}, 5]},
            {"phones": "x"}, 5]}, False, ["A contact", "Ann: +1 555"]),
        ("whatsapp", {"type": "contacts", "contacts": "x"}, False, ["A contact"]),
        ("whatsapp", {"type": "order", "order": {"product_items": [
            {"quantity": 2, "product_retailer_id": "tea", "item_price": 3.5, "currency": "EUR"},
            {"product_retailer_id": "cup"}, 5]}}, False,
         ["An order", "2 × tea (3.5 EUR each)", "1 × cup"]),
        ("whatsapp", {"type": "order", "order": {"product_items": 5}}, False, ["An order"]),
        ("whatsapp", {"type": "interactive", "flow_response": {
            "flow_token": "t", "day": "Monday", "people": 2, "wishes": ["window", "quiet"]}}, False,
         ["Chosen from what was offered", "day: Monday", "people: 2", "wishes: window, quiet"]),
        ("whatsapp", {"type": "interactive", "interactive": {"type": "call_permission_reply",
            "call_permission_reply": {"response": "reject"}}}, False,
         ["Chosen from what was offered", "Calls by WhatsApp: reject"]),
        ("whatsapp", {"type": "interactive", "interactive": {"call_permission_reply": 5}}, False,
         ["Chosen from what was offered"]),
        ("whatsapp", {"type": "unsupported", "error_message": "It is in the app."}, False,
         ["A kind of message that WhatsApp does not pass on", "It is in the app."]),
        ("whatsapp", {"type": "unsupported"}, False,
         ["A kind of message that WhatsApp does not pass on"]),
        ("whatsapp", {"type": "interactive", "flow_response": {f"q{n}": n for n in range(60)}},
         False, ["Chosen from what was offered", *(f"q{n}: {n}" for n in range(40)),
                 "and 20 more"]),
        ("whatsapp", {"type": "order", "order": {"product_items": [
            {"product_retailer_id": f"tea {n}"} for n in range(41)]}},
         False, ["An order", *(f"1 × tea {n}" for n in range(40)), "and 1 more"]),
        ("whatsapp", {"type": "contacts", "contacts": [
            {"phones": [{"phone": str(n)}]} for n in range(42)]},
         False, ["A contact", *(f"No name: {n}" for n in range(40)), "and 2 more"]),
        ("whatsapp", {"type": "order", "order": "{", "left_out": "Too much of it: order."},
         False, ["An order", "Not all of it is here. Too much of it: order."]),
        ("whatsapp", {"type": "text", "left_out": ["x"]}, False, []),
        ("whatsapp", {"type": "text"}, False, []),
        ("whatsapp", {"type": ["reaction"]}, False, []),
        ("email", {"auto_submitted": True}, False, ["An automatic answer"]),
        ("email", {"reply_to": "ann@x.example"}, False, ["Asks for answers at ann@x.example"]),
        ("email", {"auto_submitted": True}, True, []),
        ("email", {"auto_submitted": True, "left_out": "The mail has more than 9 files."}, False,
         ["An automatic answer", "Not all of it is here. The mail has more than 9 files."]),
        ("email", {"left_out": 5}, False, []),
        ("sms", {"auto_submitted": "yes"}, False, []),
        ("sms", {"left_out": "It has more than 40 parameters."}, False,
         ["Not all of it is here. It has more than 40 parameters."]),
    ],
)  # fmt: skip
def test_details(
    channel: str,
    told: Mapping[str, Any],
    is_ours: bool,  # noqa: FBT001
    lines: list[str],
) -> None:
    """What a call, a place or a reaction was stands in words."""
    assert lines == details(channel, told, is_ours=is_ours)


@pytest.mark.parametrize(
    ("columns", "word"),
    [
        ({"status": "pending", "send_at": NOW + timedelta(hours=1)}, "Scheduled"),
        ({"status": "pending", "send_at": NOW - timedelta(hours=1)}, "Waiting to be sent"),
        ({"status": None}, "Waiting to be sent"),
        ({"status": "unknown"}, "Not known whether it was sent"),
        ({"status": "sent", "channel": "call"}, "Calling"),
        ({"status": "read", "channel": "call"}, "Read"),
        ({"status": "failed", "channel": "call"}, "Not reached"),
        ({"status": "queued"}, "Queued"),
    ],
)
def test_statuses(columns: dict[str, Any], word: str) -> None:
    """Each status has its word; one of another program is shown as it is."""
    assert word == view.status(row(direction="outbound", **columns), NOW).word


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        ({"body": " two\n lines "}, "two lines"),
        ({"body": "x", "subject": "News"}, "News: x"),
        ({"body": "", "subject": "News"}, "News"),
        ({"body": None, "attachments": [{"url": OURS}]}, "A file"),
        ({"body": None, "attachments": [{}, {}]}, "2 files"),
        ({"body": None, "channel": "call", "metadata": {"provider": {"digits": "1"}}}, "Pressed 1"),
        ({"body": None}, ""),
        ({"body": "ab " * 100}, "ab " * 46 + "ab…"),
    ],
)
def test_snippets(columns: dict[str, Any], line: str) -> None:
    """One line of each message for the list, never empty where there is anything."""
    assert line == view.snippet(row(**columns))
    assert "" == view.snippet(None)


@given(body=st.text(alphabet="ab \n", max_size=6000))
def test_long_texts_are_folded_whole(body: str) -> None:
    """Nothing is lost between what is shown at once and what is behind "Show all"."""
    shown = view.shown(row(body=body), NOW, {})
    assert body == shown.body + shown.folded
    assert len(shown.body) <= 1800
    assert bool(shown.folded) is (len(body) > 1800)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Ann Smith", "Ann Smith"),
        ("Ann \u202emoc.live@nna\u202c", "Ann moc.live@nna"),
        ("\u202e\u2066", "ann@evil.example"),
        ("support@bank.example", "ann@evil.example"),
        ("Bank (support@bank.example)", "ann@evil.example"),
        ("support@bank.example <ann@evil.example>", "ann@evil.example"),
        ("ann@evil.example.com", "ann@evil.example"),
        ("+1 (555) 123-0001", "ann@evil.example"),
        ("\u200e+15551230001", "ann@evil.example"),
        ("\u200b+15551230001", "ann@evil.example"),
        ("Ann <ANN@evil.example>", "Ann <ANN@evil.example>"),
        ("Anna @ Bakery 7", "Anna @ Bakery 7"),
        ("علی\u200cرضا", "علی\u200cرضا"),
        (None, "ann@evil.example"),
    ],
)
def test_a_name_is_no_address_of_others(name: str | None, shown: str) -> None:
    """Who calls themselves what looks like an address is shown by their own."""
    assert shown == name_of({"name": name, "addresses": ["ann@evil.example"]})


def test_a_files_ending_is_the_last_of_its_name() -> None:
    """No mark of direction makes it look like another."""
    for name in (
        "bill\u202e.pdf.exe\u2069",
        "\u200fbill.pdf\u200f.exe",
        "\u061cbill.pdf\u061c.exe",
    ):
        assert "bill.pdf.exe" == file_of({"url": OURS, "filename": name}, {}).name


def test_what_can_be_done() -> None:
    """Only ours, and only what waits or failed, is canceled or sent again."""
    able = {
        (direction, status): (shown.can_cancel, shown.can_retry)
        for direction in ("inbound", "outbound")
        for status in ("pending", "failed", "delivered")
        for shown in [view.shown(row(direction=direction, status=status), NOW, {})]
    }
    assert {("outbound", "pending"): (True, False), ("outbound", "failed"): (False, True)} == {
        key: value for key, value in able.items() if any(value)
    }
