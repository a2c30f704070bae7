"""The composer's harder days: files, forms sent twice with changes, hostile templates, no token."""

from __future__ import annotations

import json
from uuid import uuid4

from channels.model import Channel
from tests.inbox.conftest import Browser, Inbox, Shown
from tests.inbox.talking import ANN, MEMBER, hidden, reply, send, stored
from tests.service.conftest import Ask
from tests.service.wires import connect

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


async def multipart(
    browser: Browser, path: str, fields: dict[str, str], *files: tuple[str, str, bytes]
) -> Shown:
    """Send a form as browsers send one with files."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    parts += [
        f'--x\r\nContent-Disposition: form-data; name="attachments"; filename="{name}"\r\n'
        f"Content-Type: {kind}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for name, kind, content in files
    ]
    body = b"".join(parts) + b"--x--\r\n"
    return await browser.raw(path, body, Content_Type="multipart/form-data; boundary=x")


async def test_an_email_with_a_file(inbox: Inbox, ask: Ask) -> None:
    """Subject and file go along; a field of files without one counts for nothing."""
    await connect(inbox.gateway, "smtp", Channel.EMAIL, "desk@clinic.example")
    row = await stored(inbox, channel="email", from_address="ann@c.example", subject="News")
    path = f"/c/{row['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    fields = {
        "csrf": browser.csrf, "key": str(uuid4()), "do": "send", "channel": "email",
        "subject": "Re: Plan", "body": "See the plan.\r\nBye",
    }  # fmt: skip
    file = ("pl<b>an.txt", "text/plain", b"Monday: walk")
    for _ in range(2):
        sent = await multipart(browser, f"{path}/reply", fields, file)
        assert (303, True) == (sent.status, sent.location.endswith("?done=sent"))
    data = (await ask("GET", "/v1/messages?direction=outbound")).body["data"]
    assert [("Re: Plan", "See the plan.\nBye", 1)] == [
        (each["subject"], each["body"], len(each["attachments"])) for each in data
    ]
    page = await browser.get(path)
    assert "<b>an" not in page.text
    assert "12 B" in page.words

    none = ("", "application/octet-stream", b"")
    again = await multipart(browser, f"{path}/reply", {**fields, "key": str(uuid4())}, none)
    assert 303 == again.status
    newest = (await ask("GET", "/v1/messages?direction=outbound")).body["data"][0]
    assert [] == newest["attachments"]


async def test_a_form_with_files_needs_its_token_too(inbox: Inbox, ask: Ask) -> None:
    """Without it, with another, or with a file where it should be, nothing is sent."""
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}/reply"
    browser = await inbox.signed_in(MEMBER)
    fields = {"do": "send", "channel": "sms", "body": "x"}
    for given in ({}, {"csrf": "0" * 64}, {"csrf": ""}):
        assert 403 == (await multipart(browser, path, {**fields, **given})).status
    body = (
        b'--x\r\nContent-Disposition: form-data; name="csrf"; filename="a"\r\n\r\n'
        + browser.csrf.encode()
        + b"\r\n--x--\r\n"
    )
    kind = "multipart/form-data; boundary=x"
    assert 403 == (await browser.raw(path, body, Content_Type=kind)).status
    assert 400 == (await browser.raw(path, body, Content_Type="multipart/form-data")).status
    assert 1 == await inbox.gateway.count("messages")


async def test_files_where_none_belong(inbox: Inbox, ask: Ask) -> None:
    """A form without files refuses one."""
    sent = await send(ask)
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{sent['conversation_id']}/change"
    file = ("a.txt", "text/plain", b"x")
    assert 400 == (await multipart(browser, path, {"csrf": browser.csrf}, file)).status


async def test_going_back_and_sending_something_else(inbox: Inbox, ask: Ask) -> None:
    """It is asked for once more, with what was typed in place, and is sent then."""
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    key = hidden(await browser.get(path), "key")
    fields = {"do": "send", "channel": "sms", "key": key}
    assert 303 == (await browser.post(f"{path}/reply", {**fields, "body": "One"})).status
    other = await browser.post(f"{path}/reply", {**fields, "body": "Two"})
    assert 422 == other.status
    assert "Was sent already, with a different text" in other.words
    assert ">\nTwo</textarea>" in other.text
    fresh = hidden(other, "key")
    assert fresh != key
    again = await browser.post(f"{path}/reply", {**fields, "body": "Two", "key": fresh})
    assert 303 == again.status
    rows = (await ask("GET", "/v1/messages")).body["data"]
    assert ["Two", "One", "Hello"] == [row["body"] for row in rows]


async def test_hostile_templates_stay_text(inbox: Inbox, ask: Ask) -> None:
    """Names, contents, variables and what is typed run nothing in the form or its preview."""
    content = f"{HOSTILE} {{{{ name }}}}"
    made = await ask("POST", "/v1/templates", {"name": HOSTILE, "type": "sms", "content": content})
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    fields = {
        "channel": "sms", "template": made.body["id"], "variables.name": HOSTILE,
        'variables.x"><script>': HOSTILE, "body": HOSTILE, "subject": HOSTILE, "to": HOSTILE,
        "from": HOSTILE, "send_at": HOSTILE,
    }  # fmt: skip
    for do in ("change", "check", "send"):
        shown = await reply(browser, path, do=do, **fields)
        assert shown.status in (200, 422)
        for harm in ("<script>alert", "<img src=x"):
            assert harm not in shown.text, do
    kept = {name: fields[name] for name in ("channel", "template", "variables.name")}
    preview = await reply(browser, path, do="check", **kept)
    assert HOSTILE in preview.words
    assert "<script>alert" not in preview.text


ODD: list[dict[str, str]] = [
    {"body": "nul\x00"},
    {"channel": "pigeon"},
    {"channel": "email"},
    {"to": "nobody"},
    {"from": "+15550000000"},
    {"template": "x"},
    {"template": str(uuid4())},
    {"template": "x", "variables.": "x", "variables.a": "y\x00"},
    {"send_at": "9999-12-31T23:59"},
    {"send_at": "0001-01-01T00:00"},
    {"key": "x" * 5000},
    {"do": "dance"},
    {"body": "x" * 20_000},
]


async def test_no_form_breaks_the_page(inbox: Inbox, ask: Ask) -> None:
    """Whatever a form holds, what is wrong is said on the page, or it is sent."""
    sent = await send(ask)
    browser = await inbox.signed_in(MEMBER)
    path = f"/c/{sent['conversation_id']}"
    for odd in ODD:
        shown = await reply(browser, path, **{"channel": "sms", "body": "hi", **odd})
        assert shown.status in (200, 303, 422), (odd, shown.words)
        if shown.status == 422:
            assert "This was not sent." in shown.words, odd
        checked = await reply(browser, path, **{"channel": "sms", **odd, "do": "check"})
        assert 200 == checked.status, odd


async def test_nobody_replies_where_nothing_is(inbox: Inbox, ask: Ask) -> None:
    """404 for conversations and messages that are not there; 409 for what cannot be again."""
    sent = await send(ask)
    browser = await inbox.signed_in(MEMBER)
    for do in ("send", "check", "change"):
        fields = {"do": do, "channel": "sms", "body": "x"}
        assert 404 == (await browser.post(f"/c/{uuid4()}/reply", fields)).status, do
    for action in ("cancel", "retry"):
        assert 404 == (await browser.post(f"/m/{uuid4()}/{action}")).status, action
    late = await browser.post(f"/m/{sent['id']}/retry")
    assert (409, True) == (late.status, "Somebody was quicker" in late.words)
    part = await browser.post(f"/m/{sent['id']}/retry", HX_Request="true")
    assert (409, False) == (part.status, "<html" in part.text)


async def test_a_part_of_the_form(inbox: Inbox, ask: Ask) -> None:
    """htmx gets the form alone, with what is wrong, and what was typed."""
    sent = await send(ask)
    path = f"/c/{sent['conversation_id']}"
    browser = await inbox.signed_in(MEMBER)
    wrong = await browser.post(
        f"{path}/reply",
        {"do": "send", "channel": "sms", "body": "kept", "send_at": "x"},
        HX_Request="true",
    )
    assert (422, False, True) == (wrong.status, "<html" in wrong.text, "kept" in wrong.text)
    begun = await browser.get(f"{path}?channel=sms&body=begun+elsewhere")
    assert ">\nbegun elsewhere</textarea>" in begun.text


async def test_rows_of_other_programs(inbox: Inbox) -> None:
    """JSON of any shape in a message breaks neither list nor thread."""
    odd = ("7", '"x"', '[[], 7, {"url": "http://["}]', '{"a": 1}', "null", None)
    for value in odd:
        row = await stored(inbox, attachments=value, metadata=value, body=json.dumps(value))
    browser = await inbox.signed_in(MEMBER)
    for path in ("", f"/c/{row['conversation_id']}", f"/m/{row['id']}", f"/m/{row['id']}/why"):
        assert 200 == (await browser.get(path)).status, path
    assert ANN in (await browser.get("")).words
