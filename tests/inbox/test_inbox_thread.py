"""Conversations in the inbox: the list, what was said, files, and what strangers write."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import uuid4

from channels.model import Channel
from gateway.media.store import storage_key
from tests.inbox.conftest import Inbox
from tests.inbox.talking import ANN, MEMBER, send, stored
from tests.service.conftest import Ask
from tests.service.wires import by_smtp, connect, inbound_of

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7*7 }}"
HARM = (
    "<script>alert", "<img src=x", "<i>quoted", "<u>1", "<em>", "<b>x", 'href="java', "src=\"java",
)  # fmt: skip


async def test_the_list(inbox: Inbox, ask: Ask) -> None:
    """Who, what, on which channel; filters, words, pages, and what is shown where nothing is."""
    browser = await inbox.signed_in()
    assert "All done" in (await browser.get("")).words
    await ask("POST", "/v1/leads", {"first_name": "Ann", "last_name": "Smith", "phone": ANN})
    await send(ask, body="The quick brown fox")
    for n in range(45):
        await stored(inbox, from_address=f"+4477009002{n:02}", body=f"number {n}")

    page = await browser.get("")
    assert 40 == page.text.count('<li id="c-')
    more = re.search(r'class="more" hx-get="[^"]*/inbox\?([^"]*)"', page.text)
    assert more is not None
    rest = await browser.get(f"?{unescape(more[1])}", HX_Request="true")
    assert 6 == rest.text.count('<li id="c-')
    assert "<html" not in rest.text
    for query, expected in {
        "?q=quick+fox": "You: The quick brown fox",
        "?q=Smith": "Ann Smith",
        "?q=%2B447700900123": "Ann Smith",
        "?q=absent": "Nothing found",
        "?channel=email": "Nothing found",
        "?who=me": "Nothing found",
        "?unread=1": "Nothing found",
        "?status=closed": "Nothing is closed",
        "?status=odd&channel=odd&cursor=": "number 44",
    }.items():
        shown = await browser.get(query)
        assert 200 == shown.status, query
        assert expected in shown.words, query
    assert 404 == (await browser.get("?cursor=nonsense")).status
    odd = await browser.get("?q=" + "%22" * 50)
    assert 200 == odd.status


async def test_a_thread(inbox: Inbox, ask: Ask) -> None:
    """Days, channels and statuses in words; older messages behind a link, and as a part."""
    browser = await inbox.signed_in(MEMBER)
    browser.cookies["gateway_zone"] = "Asia/Tokyo"
    at = datetime(2026, 1, 31, 14, 30, tzinfo=UTC)
    for n in range(50):
        await stored(inbox, body=f"message {n}.", created_at=at + timedelta(hours=n))
    sent = await send(ask, body="And goodbye")
    path = f"/c/{sent['conversation_id']}"

    page = await browser.get(path)
    assert "message 49." in page.words
    assert "message 5." not in page.words
    assert "Today" in page.words
    assert "February" in page.words
    assert re.search(r"And goodbye.*SMS.*Waiting to be sent", page.words)
    older = re.search(r'class="more" hx-get="[^"]*\?cursor=([^"&]*)"', page.text)
    assert older is not None
    part = await browser.get(f"{path}?cursor={older[1]}", HX_Request="true")
    assert "message 5." in part.words
    # half past two in the afternoon of the 31st is the 31st in Tokyo, too; an hour more is not
    assert "Saturday 31 January" in part.words
    whole = await browser.get(f"{path}?cursor={older[1]}")
    assert ("message 5." in whole.words, "<html" in whole.text) == (True, True)
    for wrong in (f"/c/{uuid4()}", "/c/nonsense", f"{path}?cursor=x", f"/m/{uuid4()}"):
        assert 404 == (await browser.get(wrong)).status, wrong
    one = await browser.get(f"/m/{sent['id']}")
    assert "And goodbye" in one.words
    assert "<html" not in one.text


async def test_a_merged_conversation_leads_on(inbox: Inbox, ask: Ask) -> None:
    """The old address of a conversation leads to the one that it is part of."""
    one, other = await send(ask), await send(ask, "+447700900124")
    browser = await inbox.signed_in()
    path = f"/c/{one['conversation_id']}"
    asked = await browser.get(f"{path}/merge?other={other['conversation_id']}")
    assert "Are these one person?" in asked.words

    merged = await browser.post(f"{path}/merge", {"other": other["conversation_id"]})
    was = f"was={other['conversation_id']}"  # where a draft may wait
    assert merged.location.endswith(f"{path}?done=merged&{was}")
    assert "Both are one conversation now" in (await browser.get(f"{path}?done=merged")).words
    led = await browser.get(f"/c/{other['conversation_id']}")
    assert (303, True) == (led.status, led.location.endswith(f"{path}?{was}"))
    moved = await browser.get(f"{path}?{was}")
    assert f'data-was="{other["conversation_id"]}"' in moved.text
    apart = await send(ask, "+447700900125")
    for wrong in (apart["conversation_id"], one["conversation_id"], str(uuid4()), "x"):
        assert "data-was" not in (await browser.get(f"{path}?was={wrong}")).text
    for wrong in (one["conversation_id"], str(uuid4()), "x"):
        assert 404 == (await browser.get(f"{path}/merge?other={wrong}")).status
    assert 404 == (await browser.post(f"{path}/merge", {"other": str(uuid4())})).status


async def test_what_strangers_write_is_text(inbox: Inbox, ask: Ask) -> None:
    """Names, subjects, bodies, files, details and words to look for run nothing."""
    smtp = await connect(inbox.gateway, "smtp", Channel.EMAIL)
    assert smtp
    lead = {"first_name": HOSTILE, "phone": ANN, "notes": HOSTILE, "tags": [HOSTILE]}
    await ask("POST", "/v1/leads", lead)
    await ask("POST", "/v1/templates", {"name": HOSTILE, "type": "sms", "content": "x"})
    row = await stored(
        inbox,
        channel="email",
        from_address="ann@c.example",
        subject=HOSTILE,
        body=HOSTILE,
        html_body=f"<p>{HOSTILE}</p>",
        attachments=f'[{{"url": "javascript:alert(3)", "filename": "{"<b>x"}"}}, 7, {{}}]',
        metadata='{"provider": {"quoted_text": "<i>quoted</i>", "auto_submitted": true}}',
    )
    await stored(
        inbox, channel="call", metadata='{"provider": {"digits": "<u>1", "duration": "x"}}'
    )
    failed = await stored(
        inbox, direction="outbound", from_address="+1", to_address=ANN, status="failed",
        error_code="<em>", error_message=HOSTILE,
    )  # fmt: skip
    browser = await inbox.signed_in()
    for path in (
        "", f"?q={HOSTILE.replace('<', '%3C').replace('>', '%3E').replace('&', '')}",
        f"/c/{row['conversation_id']}", f"/c/{failed['conversation_id']}",
        f"/m/{row['id']}", f"/m/{row['id']}/why", f"/m/{failed['id']}/why",
        f"/c/{failed['conversation_id']}/link?person=%3Cscript%3E",
    ):  # fmt: skip
        shown = await browser.get(path)
        assert 200 == shown.status, path
        for harm in HARM:
            assert harm not in shown.text, (path, harm)
    assert "{{ 7*7 }}" in (await browser.get(f"/m/{row['id']}")).text


async def test_mail_in_a_frame(inbox: Inbox) -> None:
    """The HTML of a mail is alone in a sandbox; pictures from elsewhere only when asked for."""
    row = await stored(
        inbox, channel="email", from_address="a@c.example", html_body="<p>Hi</p><script>1</script>"
    )
    browser = await inbox.signed_in()
    page = await browser.get(f"/c/{row['conversation_id']}")
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    framed = await browser.get(f"/m/{row['id']}/mail")
    policy = framed.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox allow-popups" in policy
    assert "allow-scripts" not in policy
    assert "https:" not in policy
    assert "allow-same-origin" not in policy
    remote = await browser.get(f"/m/{row['id']}/mail?remote=1")
    assert "img-src data: https:" in remote.headers["Content-Security-Policy"]
    plain = await stored(inbox)
    assert 404 == (await browser.get(f"/m/{plain['id']}/mail")).status


async def test_pictures_in_a_mail(inbox: Inbox, ask: Ask) -> None:
    """What a mail brings along and shows in its text is shown there; nothing else of it is."""
    account = await connect(inbox.gateway, "smtp", Channel.EMAIL, "in@clinic.example")
    picture, other = b"\x89PNG\r\n\x1a\n" + b"1" * 10, b"<svg onload='x()'/>"
    parts = {"<a&b@x>": ("image/png", picture), "<svg@x>": ("image/svg+xml", other)}
    raw = (
        "From: a@c.example\r\nTo: in@clinic.example\r\nMessage-ID: <p@c>\r\n"
        "Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
        '<p>Hi <img src="cid:a%26b@x"><img alt="x" src="cid:svg@x"><img src="cid:no@x"></p>\r\n'
    ) + "".join(
        f"--b\r\nContent-Type: {kind}\r\nContent-ID: {name}\r\n"
        f"Content-Transfer-Encoding: base64\r\n\r\n{base64.b64encode(content).decode()}\r\n"
        for name, (kind, content) in parts.items()
    )
    assert 200 <= (await by_smtp(inbox.gateway, account, f"{raw}--b--\r\n".encode())).status < 300
    (row,) = await inbound_of(ask)
    browser = await inbox.signed_in(MEMBER)
    shown = (await browser.get(f"/m/{row['id']}/mail")).text
    assert f'src="data:image/png;base64,{base64.b64encode(picture).decode()}"' in shown
    assert (1, 'src="cid:svg@x"' in shown, 'src="cid:no@x"' in shown) == (
        shown.count("data:"),
        True,
        True,
    )
    gone = storage_key(inbox.gateway.a.organization_id, uuid4())
    await inbox.change(f"UPDATE gateway.media SET storage_key = '{gone}'")  # noqa: S608
    lost = await browser.get(f"/m/{row['id']}/mail")
    assert (200, True) == (lost.status, 'src="cid:a%26b@x"' in lost.text)


async def test_files(inbox: Inbox, ask: Ask) -> None:
    """A file of ours is shown to who may see it; what cannot be had is said."""
    file = {"content": "aGVsbG8=", "filename": "a.txt", "content_type": "text/plain"}
    sent = await send(ask, attachments=[file])
    browser = await inbox.signed_in(MEMBER)
    page = await browser.get(f"/c/{sent['conversation_id']}")
    found = re.search(r'href="/gw/inbox(/media/[0-9a-f-]{36})"', page.text)
    assert found is not None
    shown = await browser.get(found[1])
    assert (200, "hello") == (shown.status, shown.text)
    assert shown.headers["Content-Disposition"].startswith("attachment")
    await inbox.change("UPDATE gateway.media SET state = 'failed', reason = 'It is gone.'")
    assert "could not be fetched. It is gone." in (await browser.get(f"/m/{sent['id']}")).words
    await inbox.change("UPDATE gateway.media SET state = 'waiting'")
    assert "is being fetched" in (await browser.get(f"/m/{sent['id']}")).words
    assert 409 == (await browser.get(found[1])).status
    assert 404 == (await browser.get(f"/media/{uuid4()}")).status


async def test_the_end_of_the_calendar(inbox: Inbox, ask: Ask) -> None:
    """A message for the last moment that there is breaks the page in no zone."""
    sent = await send(ask, send_at="9999-12-31T23:59:59Z")
    browser = await inbox.signed_in(MEMBER)
    for zone in ("Asia/Tokyo", "America/New_York", "UTC"):
        browser.cookies["gateway_zone"] = zone
        for path in (f"/c/{sent['conversation_id']}", f"/m/{sent['id']}", f"/m/{sent['id']}/why"):
            shown = await browser.get(path)
            assert 200 == shown.status, (zone, path)
            assert 'datetime="9999-12-31T23:59:59Z"' in shown.text


async def test_a_very_long_text(inbox: Inbox) -> None:
    """A page holds the beginning of what is endless, however many there are; all of it is a page
    of text, on which nothing of a stranger runs."""
    endless = HOSTILE + "&word " * 160_000
    for _ in range(5):
        row = await stored(inbox, channel="email", from_address="a@c.example", body=endless)
    browser = await inbox.signed_in(MEMBER)
    page = await browser.get(f"/c/{row['conversation_id']}")
    assert 200 == page.status
    assert len(page.text) < 500_000
    path = f"/m/{row['id']}/text"
    assert f'href="/gw/inbox{path}"' in page.text
    whole = await browser.get(path)
    assert (200, endless) == (whole.status, whole.text)
    assert "text/plain; charset=utf-8" == whole.headers["Content-Type"]
    assert "nosniff" == whole.headers["X-Content-Type-Options"]
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    short = await stored(inbox, from_address="+447700900321", body="x" * 3000)
    shown = await browser.get(f"/c/{short['conversation_id']}")
    assert "The whole text" not in shown.words
    assert 404 == (await browser.get(f"/m/{uuid4()}/text")).status
    stranger = await inbox.signed_in("owner@beta.example.com")
    assert 404 == (await stranger.get(path)).status


async def test_a_failure_in_the_words_of_its_provider(inbox: Inbox) -> None:
    """A number means what it means to the provider that gave it: thread, message and why agree."""
    await connect(inbox.gateway, "postmark", Channel.EMAIL, "desk@clinic.example")
    failed = [
        await stored(
            inbox, channel="email", direction="outbound", from_address=ours,
            to_address="ann@c.example", status="failed", error_code="406", error_message="Inactive",
        )
        for ours in ("desk@clinic.example", "gone@clinic.example")
    ]  # fmt: skip
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{failed[0]['conversation_id']}"
    for page in (path, f"/m/{failed[0]['id']}", f"/m/{failed[0]['id']}/why"):
        assert "Postmark sends no more to this recipient" in (await browser.get(page)).words, page
    assert "Not delivered" in (await browser.get(f"/m/{failed[1]['id']}")).words


async def test_a_failure_of_a_sender_that_has_moved(inbox: Inbox) -> None:
    """The earliest failure on record says whose words count, whoever has the sender by now."""
    await connect(inbox.gateway, "sendgrid", Channel.EMAIL, "desk@clinic.example")
    failed = await stored(
        inbox, channel="email", direction="outbound", from_address="desk@clinic.example",
        to_address="ann@c.example", status="failed", error_code="406", error_message="Inactive",
    )  # fmt: skip
    for source, detail, minutes in (
        ("sendgrid", "{}", 0),
        ("worker", '{"provider": "postmark", "error_code": "406"}', 1),
    ):
        await inbox.change(
            "INSERT INTO gateway.message_events"
            " (organization_id, message_id, id, type, status, occurred_at, source, detail)"
            " SELECT organization_id, id, gen_random_uuid(), 'failed', 'failed',"
            " now() - $2::integer * interval '1 minute', $3, $4::jsonb FROM messages WHERE id = $1",
            failed["id"], minutes, source, detail,
        )  # fmt: skip
    browser = await inbox.signed_in(MEMBER)
    for page in (
        f"/c/{failed['conversation_id']}",
        f"/m/{failed['id']}",
        f"/m/{failed['id']}/why",
    ):
        assert "Postmark sends no more to this recipient" in (await browser.get(page)).words, page
