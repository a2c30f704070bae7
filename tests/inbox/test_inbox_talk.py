"""Conversations in the inbox, without JavaScript: read, found, answered, closed, given."""

from __future__ import annotations

import re
import tracemalloc
from html import escape, unescape
from uuid import UUID, uuid4

import pytest

from tests.inbox.conftest import Browser, Inbox, Shown
from tests.inbox.talk import ANN, Talk

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(1)>{{ 7*7 }}\u202e&amp;"""


def key_of(shown: Shown) -> str:
    """The key of the form on a page."""
    found = re.search(r'name="key" value="([0-9a-f-]{36})"', shown.text)
    assert found is not None
    return found[1]


async def test_the_list_is_searched_and_filtered(browser: Browser, talk: Talk) -> None:
    """Words, channel, status, mine and unread narrow it; what is no choice counts for nothing."""
    await talk.hears("about the garden")
    await talk.hears("about the kitchen", "+447700900124")

    async def names(query: str) -> list[str]:
        shown = await browser.get(query)
        assert 200 == shown.status, query
        return re.findall(r'class="name" dir="auto">([^<]+)<', shown.text)

    both = ["+447700900124", ANN]
    assert both == await names("")
    assert [ANN] == await names("?q=garden")
    assert [] == await names("?q=attic")
    assert both == await names("?channel=sms&unread=1")
    assert [] == await names("?channel=email")
    assert [] == await names("?who=me")
    assert [] == await names("?status=closed")
    assert both == await names("?status=all&channel=fax&who=you")
    odd = await browser.get("?q=%22")
    assert "What you look for" in odd.words or "Nothing found" in odd.words
    assert 404 == (await browser.get("?cursor=nonsense")).status


async def test_the_list_reads_no_long_text(browser: Browser, talk: Talk) -> None:
    """Of ten megabytes that were said last the list reads the beginnings."""
    for n in range(10):
        await talk.hears(f"about number {n}", f"+44770090012{n}")
    await talk.inbox.change(
        "UPDATE messages SET body = rpad(body || ' ', 1000000, 'x'),"
        " html_body = repeat('y', 1000000)"
    )
    tracemalloc.start()
    try:
        shown = await browser.get("")
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert all(f"about number {n} xxx" in shown.words for n in range(10))
    assert most < 5_000_000


async def test_empty_lists_say_why(browser: Browser) -> None:
    """Nothing there, nothing found and nothing closed are three things."""
    assert "All done" in (await browser.get("")).words
    assert "Nothing found" in (await browser.get("?q=word")).words
    assert "Nothing is closed" in (await browser.get("?status=closed")).words


async def test_looking_marks_nothing_as_read(browser: Browser, talk: Talk) -> None:
    """Only the button does, both ways; the title counts what is unread."""
    where = await talk.conversation(await talk.hears("hello"))

    for _ in range(2):
        shown = await browser.get(f"/c/{where}")
        assert "<title>(1) +447700900123" in shown.text
        assert "1 unread" in shown.words
    answer = await browser.post(f"/c/{where}/read", {"do": "read"})
    assert (303, f"/gw/inbox/c/{where}") == (answer.status, answer.location)
    assert "1 unread" not in (await browser.get(f"/c/{where}")).words
    assert 303 == (await browser.post(f"/c/{where}/read", {"do": "unread"})).status
    assert "<title>(1) " in (await browser.get("")).text
    quiet = await browser.post(f"/c/{where}/read", HX_Request="true")
    assert (204, "") == (quiet.status, quiet.text)


def seen_by(shown: Shown) -> str:
    """The newest message that a page shows, as its buttons say it."""
    (found,) = set(re.findall(r'name="seen" value="([^"]*)"', shown.text))
    return str(found)


@pytest.mark.parametrize("button", ["read", "change"])
async def test_what_came_since_is_not_overlooked(
    browser: Browser, talk: Talk, inbox: Inbox, button: str
) -> None:
    """Who presses a button on a page that is old by now neither closes nor reads what came since:
    the conversation stays open, and that is unread."""
    where = await talk.conversation(await talk.hears("hello"))
    old = seen_by(await browser.get(f"/c/{where}"))
    await talk.hears("and another thing")
    fields = {"seen": old} | ({"do": "read"} if button == "read" else {"status": "closed"})
    answer = await browser.post(f"/c/{where}/{button}", fields)
    shown = await browser.get(answer.location.removeprefix("/gw/inbox"))
    state = "SELECT status || ' ' || unread_count FROM gateway.conversations"

    assert (303, button == "change") == (answer.status, "They have written since" in shown.words)
    assert ("open 1" if button == "read" else "open 2") == await inbox.value(state)
    assert "and another thing" in shown.words
    await browser.post(f"/c/{where}/{button}", fields | {"seen": seen_by(shown)})
    assert ("open 0" if button == "read" else "closed 2") == await inbox.value(state)


@pytest.mark.parametrize("button", ["read", "change"])
async def test_what_came_since_a_message_that_is_gone(
    browser: Browser, talk: Talk, inbox: Inbox, button: str
) -> None:
    """Where the newest message that a page shows was deleted since, all that is there is new."""
    where = await talk.conversation(await talk.hears("hello"))
    old = seen_by(await browser.get(f"/c/{where}"))
    await talk.hears("and another thing")
    await inbox.change("DELETE FROM messages WHERE body = 'hello'")
    fields = {"do": "read"} if button == "read" else {"status": "closed"}
    await browser.post(f"/c/{where}/{button}", fields | {"seen": old})
    state = "SELECT status FROM gateway.conversations WHERE unread_count > 0"

    assert "open" == await inbox.value(state)
    shown = await browser.get(f"/c/{where}")
    await browser.post(f"/c/{where}/change", {"status": "closed", "seen": seen_by(shown)})
    assert "closed" == await inbox.value("SELECT status FROM gateway.conversations")


async def test_what_came_without_a_time(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """A message that another program stored without a time is the newest: who sees it may close."""
    where = await talk.conversation(await talk.hears("hello"))
    old = seen_by(await browser.get(f"/c/{where}"))
    await talk.hears("and another thing")
    await inbox.change("UPDATE messages SET created_at = NULL WHERE body <> 'hello'")
    shown = await browser.get(f"/c/{where}")
    for seen, status in ((old, "open"), (seen_by(shown), "closed")):
        await browser.post(f"/c/{where}/change", {"status": "closed", "seen": seen})
        assert status == await inbox.value("SELECT status FROM gateway.conversations")


async def test_what_came_to_a_page_without_messages(
    browser: Browser, talk: Talk, inbox: Inbox
) -> None:
    """Where nothing had been said, whatever is said since is new; whatever a form says instead of a
    message closes nothing."""
    where = await talk.conversation(await talk.hears("hello"))
    for seen in ("", "nonsense"):
        await browser.post(f"/c/{where}/change", {"seen": seen, "status": "closed"})
        assert "open" == await inbox.value("SELECT status FROM gateway.conversations")
    await inbox.change("DELETE FROM messages")
    assert "" == seen_by(await browser.get(f"/c/{where}"))
    await browser.post(f"/c/{where}/change", {"seen": "", "status": "closed"})
    assert "closed" == await inbox.value("SELECT status FROM gateway.conversations")


async def test_what_is_unread_is_found(browser: Browser, talk: Talk) -> None:
    """Where it is closed, too."""
    where = await talk.conversation(await talk.hears("hello"))
    await browser.post(f"/c/{where}/change", {"status": "closed"})
    for query, is_there in (("?unread=1", True), ("?unread=1&status=closed", True), ("", False)):
        assert is_there is (f'id="c-{where}"' in (await browser.get(query)).text), query


async def test_a_reply_is_sent_once(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """To the number that wrote, from the one that was written to; the same form twice is one."""
    where = await talk.conversation(await talk.hears("hello"))
    shown = await browser.get(f"/c/{where}")
    form = {"key": key_of(shown), "channel": "sms", "body": "Good day\r\nAnn", "do": "send"}

    first = await browser.post(f"/c/{where}/reply", form)
    again = await browser.post(f"/c/{where}/reply", form)

    assert [303, 303] == [first.status, again.status]
    assert 1 == await inbox.value("SELECT count(*) FROM messages WHERE direction = 'outbound'")
    last = await talk.last()
    assert (ANN, "+15551230001", "Good day\nAnn", where) == (
        last["to_address"], last["from_address"], last["body"], str(last["conversation_id"]),
    )  # fmt: skip
    shown = await browser.get(f"/c/{where}?done=sent")
    assert "Your message is on its way." in shown.words
    assert "Waiting to be sent" in shown.words


async def test_what_was_typed_stays(browser: Browser, talk: Talk) -> None:
    """A form that is refused comes back whole, with what is wrong at its field."""
    where = await talk.conversation(await talk.hears("hello"))
    typed = {"channel": "sms", "body": "x" * 1601, "do": "send"}

    shown = await browser.post(f"/c/{where}/reply", typed)

    assert 422 == shown.status
    assert "This was not sent." in shown.words
    assert "x" * 1601 in shown.text
    assert "1600" in shown.words or "1,600" in shown.words
    never = typed | {"body": "hi", "send_at": "soon"}
    shown = await browser.post(f"/c/{where}/reply", never)
    assert (422, True) == (shown.status, "is not a valid time" in shown.text)
    assert 'value="soon"' in shown.text
    for odd in ({"channel": "sms"}, {"channel": "fax", "from": "+1", "to": "nobody"}):
        assert 422 == (await browser.post(f"/c/{where}/reply", odd | {"do": "send"})).status


async def test_a_preview_sends_nothing(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """A template is filled in before it is sent; a variable that is missing is at its field."""
    where = await talk.conversation(await talk.hears("hello"))
    template = uuid4()
    await inbox.change(
        "INSERT INTO message_templates (id, organization_id, name, type, content, variables)"
        " VALUES ($1, $2, 'Reminder', 'sms', 'See you {{ day }}', ARRAY['day'])",
        template,
        inbox.gateway.a.organization_id,
    )
    form = {"channel": "sms", "template": str(template), "do": "change"}
    assert "See you {{ day }}" in (await browser.post(f"/c/{where}/reply", form)).words
    missing = await browser.post(f"/c/{where}/reply", form | {"do": "check"})
    assert "This is missing, the template uses it." in missing.words
    filled = form | {"do": "check", "variables.day": "<b>Monday</b>"}
    shown = await browser.post(f"/c/{where}/reply", filled)
    assert "This would be sent : 1 segment, GSM-7 See you <b>Monday</b>" in shown.words
    part = await browser.post(f"/c/{where}/reply", filled, HX_Request="true")
    assert (200, True) == (part.status, part.text.lstrip().startswith('<form id="composer"'))
    changed = await browser.post(f"/c/{where}/compose", form, HX_Request="true")
    assert "See you {{ day }}" in changed.words
    assert 0 == await inbox.value("SELECT count(*) FROM messages WHERE direction = 'outbound'")
    sent = await browser.post(f"/c/{where}/reply", filled | {"do": "send"}, HX_Request="true")
    assert (200, "sent") == (sent.status, sent.headers["HX-Trigger-After-Settle"])
    assert "See you <b>Monday</b>" == (await talk.last())["body"]


async def test_segments_are_counted(browser: Browser) -> None:
    """As the gateway counts them when it sends."""
    for body, words in (
        ("", ""),
        ("x" * 161, "2 segments, GSM-7, 161 of 1600 characters"),
        ("call ☎", "1 segment, UCS-2 because of “☎”, 6 of 1600 characters"),
    ):
        shown = await browser.post("/measure", {"body": body}, HX_Request="true")
        assert words == shown.words


async def test_later_and_canceled(browser: Browser, talk: Talk) -> None:
    """A message for later shows when, and can be taken back; one that is sent cannot."""
    where = await talk.conversation(await talk.hears("hello"))
    form = {"channel": "sms", "body": "later", "send_at": "2090-01-01T10:00", "do": "send"}
    assert 303 == (await browser.post(f"/c/{where}/reply", form)).status
    shown = await browser.get(f"/c/{where}")
    assert "Scheduled for" in shown.words
    assert 'datetime="2090-01-01T10:00:00Z"' in shown.text
    message = str((await talk.last())["id"])

    answer = await browser.post(f"/m/{message}/cancel")

    assert (303, f"/gw/inbox/c/{where}?done=canceled") == (answer.status, answer.location)
    assert "Canceled" in (await browser.get(f"/c/{where}")).words
    assert 409 == (await browser.post(f"/m/{message}/cancel")).status


async def test_a_failure_says_what_to_do(browser: Browser, talk: Talk) -> None:
    """In the list, in the thread and on a page of its own; then it is sent again."""
    where = await talk.conversation(await talk.hears("hello"))
    await browser.post(f"/c/{where}/reply", {"channel": "sms", "body": "hi", "do": "send"})
    message = str((await talk.last())["id"])
    await talk.reports(message, "undelivered", ErrorCode="30003")

    assert "Not delivered" in (await browser.get("")).words
    shown = await browser.get(f"/c/{where}")
    assert "Not delivered. The phone could not be reached" in shown.words
    why = await browser.get(f"/m/{message}/why")
    assert 200 == why.status
    assert "What happened" in why.words
    assert "Try again in a few hours" in why.words
    part = await browser.get(f"/m/{message}", HX_Request="true")
    assert part.text.strip().startswith(f'<li id="m-{message}"')

    answer = await browser.post(f"/m/{message}/retry")

    assert (303, f"/gw/inbox/c/{where}?done=again") == (answer.status, answer.location)
    assert UUID(message) == (await talk.last())["retry_of"]


async def test_closed_opened_and_given(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Staff close, open and give conversations; to colleagues only."""
    where = await talk.conversation(await talk.hears("hello"))
    me = await inbox.staff("member@alpha.example.com")
    stranger = await inbox.staff("member@beta.example.com")

    assert 303 == (await browser.post(f"/c/{where}/change", {"status": "closed"})).status
    assert ANN in (await browser.get("?status=closed")).words
    await browser.post(f"/c/{where}/change", {"status": "open"})
    await browser.post(f"/c/{where}/change", {"assigned_to": str(me["id"])})
    assert ANN in (await browser.get("?who=me")).words
    for odd in (str(stranger["id"]), str(uuid4()), "nobody"):
        assert 422 == (await browser.post(f"/c/{where}/change", {"assigned_to": odd})).status
    await browser.post(f"/c/{where}/change", {"assigned_to": ""})
    assert ANN not in (await browser.get("?who=me")).words


async def test_where_nothing_is_found(browser: Browser, talk: Talk) -> None:
    """The words are looked for among all conversations, and as beginnings, by a link each."""
    where = await talk.conversation(await talk.hears("about the garden"))
    await browser.post(f"/c/{where}/change", {"status": "closed"})

    async def links(query: str) -> list[str]:
        shown = await browser.get(query)
        assert "Nothing found" in shown.words
        empty = shown.text[shown.text.index('class="empty"') :]
        found = re.findall(r'href="/gw/inbox(\?[^"]*)"', empty)
        return [each.replace("&amp;", "&") for each in found]

    assert ["?q=garden&status=all", "?q=garden%2A&channel=sms"] == await links(
        "?q=garden&channel=sms"
    )
    assert "about the garden" in (await browser.get("?q=garden&status=all")).words
    assert ["?q=gard%2A&status=all"] == await links("?q=gard&status=all")
    assert "about the garden" in (await browser.get("?q=gard%2A&status=all")).words
    for begun in ("attic%2A", "attic+-gard", "attic+or", '"attic"'):
        assert [] == await links(f"?q={begun}&status=all")
    assert [f"?q={'a' * 199}%2A&status=all"] == await links(f"?q={'a' * 300}&status=all")
    assert ["?status=all"] == await links("?who=me")


async def test_who_works_through_a_list_stays_in_it(browser: Browser, talk: Talk) -> None:
    """A form leads back with the filters of the page that it is on, and with nothing else of it."""
    message = await talk.hears("hello")
    where = await talk.conversation(message)
    page = f"https://msg.example.org/gw/inbox/c/{where}?who=me&q=a%26b&channel=sms&done=saved&odd=1"

    forms = [
        (f"/c/{where}/change", {"status": "closed"}),
        (f"/c/{where}/link", {"kind": "lead"}),
        (f"/c/{where}/reply", {"channel": "sms", "body": "hi", "do": "send"}),
    ]
    for path, form in forms:
        done = await browser.post(path, form, Referer=page)
        start = f"/gw/inbox/c/{where}?q=a%26b&channel=sms&who=me&done="
        assert (303, start) == (done.status, done.location[: len(start)])
        assert ["done"] == re.findall(r"done|odd", done.location)
    canceled = await browser.post(f"/m/{(await talk.last())['id']}/cancel", Referer=page)
    assert "&who=me&done=canceled" in canceled.location
    unread = await browser.post(f"/c/{where}/read", {"do": "unread"}, Referer=page)
    assert "/gw/inbox?q=a%26b&channel=sms&who=me" == unread.location
    for odd in ("http://[", "about:blank", "\\"):
        done = await browser.post(f"/c/{where}/change", {"status": "open"}, Referer=odd)
        assert f"/gw/inbox/c/{where}?done=saved" == done.location


async def test_a_form_that_comes_back_has_its_list(browser: Browser, talk: Talk) -> None:
    """Without JavaScript a preview is a page of its own: the filters are there, and after it."""
    where = await talk.conversation(await talk.hears("hello"))
    filters = "?q=hello&channel=sms&status=all"
    page = await browser.get(f"/c/{where}{filters}")
    for _ in range(2):  # also of a form that came back
        (action,) = re.findall(r'<form id="composer"[^>]* action="/gw/inbox([^"]*)"', page.text)
        page = await browser.post(unescape(action), {"channel": "sms", "body": "hi", "do": "check"})
        assert "This would be sent" in page.words
        assert 'name="q" type="search" value="hello"' in page.text
        assert f'href="/gw/inbox{escape(filters)}" aria-label="Back to the list"' in page.text


async def test_nothing_of_a_stranger_runs(browser: Browser, talk: Talk, inbox: Inbox) -> None:
    """Whatever people call themselves and write, it is text on every page."""
    await inbox.change(
        "INSERT INTO leads (organization_id, first_name, last_name, phone, notes, tags)"
        " VALUES ($1, $2, $2, $3, $2, ARRAY[$2::text])",
        inbox.gateway.a.organization_id, HOSTILE, ANN,
    )  # fmt: skip
    message = await talk.hears(HOSTILE, media=HOSTILE)
    where = await talk.conversation(message)
    await inbox.change(
        "UPDATE messages SET subject = $2, attachments = $3::jsonb, metadata = $4::jsonb,"
        " html_body = $2 WHERE id = $1",
        UUID(message), HOSTILE,
        '[{"url": "javascript:alert(1)", "filename": "<img src=x onerror=alert(1)>"}, 7,'
        ' {"url": 9, "filename": {}}, {"url": "https://a.example/x\\"><img src=x onerror=a>"}]',
        '{"provider": {"quoted_text": "<img src=x onerror=alert(1)>", "digits": "<img src=x o>"}}',
    )  # fmt: skip

    for path in ("", f"/c/{where}", f"/m/{message}", f"/m/{message}/why", f"/c/{where}/link"):
        shown = await browser.get(path)
        assert 200 == shown.status, path
        assert "<img src=x" not in shown.text, path
        assert "<script>alert" not in shown.text, path
        assert 'href="javascript:' not in shown.text, path
        assert "{{ 7*7 }}" in shown.words, path
    framed = await browser.get(f"/m/{message}/mail")
    policy = framed.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "sandbox allow-popups" in policy
    assert "https:" not in policy
    assert "script" not in policy
    asked = await browser.get(f"/m/{message}/mail?remote=1")
    assert "img-src data: https:" in asked.headers["Content-Security-Policy"]


async def test_older_messages_page_by_page(browser: Browser, talk: Talk) -> None:
    """With a link, and for htmx as a part."""
    for number in range(42):
        message = await talk.hears(f"number {number:02}")
    where = await talk.conversation(message)

    shown = await browser.get(f"/c/{where}")
    thread = shown.text.partition('id="messages"')[2]
    assert "number 41" in thread
    assert "number 01" not in thread
    older = re.search(r'class="button outline" href="/gw/inbox(/c/[^"]+)">Earlier', shown.text)
    assert older is not None
    earlier = await browser.get(older[1])
    assert "number 01" in earlier.words
    assert f'<li id="c-{where}"' in earlier.text  # the list is not what is further back
    assert "number 41" not in earlier.text.partition('id="messages"')[2]
    part = await browser.get(older[1], HX_Request="true")
    assert part.text.lstrip().startswith('<li class="day"')
