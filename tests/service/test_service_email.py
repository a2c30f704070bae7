"""E-mail from the request to what its provider is handed: texts, headers, threads, answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from channels.model import Channel
from tests.service.wires import (
    OURS,
    by_smtp,
    connect,
    from_sendgrid,
    inbound_of,
    row_of,
    send,
    step,
    suppressed,
)

if TYPE_CHECKING:
    from uuid import UUID

    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "ada@customer.example"
DESK = OURS[Channel.EMAIL]
SAID = {"body": "x", "subject": "y"}

pytestmark = pytest.mark.usefixtures("account")


@pytest.fixture
async def account(gateway: Gateway) -> UUID:
    """SendGrid, with the default sender."""
    return await connect(gateway, "sendgrid", Channel.EMAIL)


async def make_template(ask: Ask, **columns: Any) -> None:
    """A template named `welcome`."""
    made = await ask("POST", "/v1/templates", {"name": "welcome", "type": "email"} | columns)
    assert 201 == made.status, made.body


def letter(
    sender: str, to: str, subject: str, text: str, *headers: str, message_id: str = "<in-1@c>"
) -> bytes:
    """A mail as it is written."""
    lines = [f"From: {sender}", f"To: {to}", f"Subject: {subject}", f"Message-ID: {message_id}"]
    return "\r\n".join([*lines, *headers, "", text, ""]).encode()


async def test_html_template(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Variables are escaped in the HTML and not in the subject, and the text is derived."""
    await make_template(
        ask,
        subject="For {{ name }} & co",
        content="<p>Hello <b>{{ name }}</b></p><style>b { color: red }</style>",
    )
    sent = await send(
        ask, "email", ADA, template="welcome", variables={"name": "A <i>& B", "unused": 1}
    )
    await step(api.worker(gateway))

    assert "For A <i>& B & co" == sent["subject"]
    assert "Hello A <i>& B" == sent["body"].strip()
    assert "<b" in sent["html_body"]
    assert "A &lt;i&gt;&amp; B" in sent["html_body"]
    assert "color: red" in sent["html_body"]
    assert [
        {"type": "text/plain", "value": sent["body"]},
        {"type": "text/html", "value": sent["html_body"]},
    ] == api.last["content"]
    assert sent["subject"] == api.last["subject"]


async def test_text_template(ask: Ask) -> None:
    """A template in plain text is escaped where it becomes HTML, and nowhere else."""
    await make_template(ask, subject="Hi", content="1 < 2 & {{ name }}")
    sent = await send(ask, "email", ADA, template="welcome", variables={"name": "<b>"})

    assert "1 < 2 & <b>" == sent["body"]
    assert "1 &lt; 2 &amp; &lt;b&gt;" in sent["html_body"]


@pytest.mark.parametrize("subject", ["Ticket: {{ name }} and {{ secret }}", "100 {% off"])
async def test_own_subject(ask: Ask, subject: str) -> None:
    """The subject that a request gives stands in place of the template's, as it is."""
    await make_template(ask, subject="For {{ nobody }}", content="Hello {{ name }}")
    given = {"name": "Ann", "secret": "hush"}
    sent = await send(ask, "email", ADA, template="welcome", subject=subject, variables=given)

    assert (subject, "Hello Ann") == (sent["subject"], sent["body"])


async def test_body_alone(ask: Ask) -> None:
    """Of a text the HTML is made, of HTML the text; both may be given."""
    text = await send(ask, "email", ADA, subject="Hi", body="a < b")
    html = await send(ask, "email", ADA, subject="Hi", html_body="<p>a &lt; b</p>")
    both = await send(ask, "email", ADA, subject="Hi", body="one", html_body="<p>two</p>")

    assert "a &lt; b" in text["html_body"]
    assert "a < b" == html["body"].strip()
    assert ("one", True) == (both["body"], "two" in both["html_body"])


NO_MAIL: list[tuple[dict[str, Any], set[str]]] = [
    ({"body": "x"}, {"subject"}),
    ({"body": "x", "subject": "a\r\nBcc: eve@example.com"}, {"subject"}),
    ({"subject": "x"}, {"body"}),
    ({"body": "x", "subject": "y" * 999}, {"subject"}),
    ({"template": "welcome", "variables": {"name": "a\nBcc: eve@example.com"}}, {"subject"}),
    ({"template": "welcome"}, {"variables.name"}),
    (SAID | {"to": f"{ADA}, eve@example.com"}, {"to"}),
    (SAID | {"to": f"{ADA}\r\nBcc: eve@example.com"}, {"to"}),
    (SAID | {"options": {"reply_to": "no mailbox"}}, {"options.reply_to"}),
    (SAID | {"options": {"reply_to": "a@b.example\r\nBcc: c@d"}}, {"options.reply_to"}),
    (SAID | {"from": "nobody@clinic.example"}, {"from"}),
]  # fmt: skip


async def test_refused_by_name(ask: Ask) -> None:
    """What cannot be a mail is refused with the field at fault, and nothing is stored."""
    await make_template(ask, subject="For {{ name }}", content="Hello")
    for body, fields in NO_MAIL:
        answer = await ask("POST", "/v1/messages", {"channel": "email", "to": ADA} | body)

        assert 422 == answer.status, (body, answer.body)
        assert fields == set(answer.fields()), body
        assert [] == (await ask("GET", "/v1/messages")).body["data"], body


async def test_headers(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail has our Message-ID, one-click links, and its id where the provider echoes it."""
    sent = await send(ask, "email", ADA, subject="Hi", body="Hello")
    await step(api.worker(gateway))

    headers = api.last["headers"]
    assert f"<{sent['id']}@clinic.example>" == headers["Message-ID"]
    assert "List-Unsubscribe=One-Click" == headers["List-Unsubscribe-Post"]
    assert re.fullmatch(
        r"<https://msg\.example\.org/gw/unsubscribe/[\w-]{64}>", headers["List-Unsubscribe"]
    )
    assert {"message_id": sent["id"]} == api.last["personalizations"][0]["custom_args"]
    assert "In-Reply-To" not in headers
    row = await row_of(ask, sent)
    assert ("sent", "sg-1") == (row["status"], row["external_id"])


async def test_options(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail that everybody must get has no link to unsubscribe, and answers go where it says."""
    options = {"unsubscribe": False, "reply_to": "answers@clinic.example"}
    await send(ask, "email", ADA, subject="Hi", body="Hello", options=options)
    await step(api.worker(gateway))

    assert {"Message-ID"} == set(api.last["headers"])
    assert {"email": "answers@clinic.example"} == api.last["reply_to"]


async def test_thread(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Mails about one thing are a thread: the first, the customer's answer, and the next."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL, "smtp@clinic.example")
    first = await send(ask, "email", ADA, subject="Your visit", body="1", **{"from": DESK})
    second = await send(ask, "email", ADA, subject="Re: your  VISIT", body="2", **{"from": DESK})
    raw = letter(f"Ada <{ADA.upper()}>", DESK, "AW: Your visit", "Yes")
    assert 204 == (await by_smtp(gateway, smtp, raw)).status
    third = await send(ask, "email", ADA, subject="Your visit", body="3", **{"from": DESK})
    other = await send(ask, "email", ADA, subject="Another", body="4", **{"from": DESK})
    await step(api.worker(gateway))

    ids = [f"<{row['id']}@clinic.example>" for row in (first, second, third, other)]
    by_id = {each["headers"]["Message-ID"]: each["headers"] for each in _bodies(api)}
    assert "In-Reply-To" not in by_id[ids[0]]
    assert (ids[0], ids[0]) == _thread(by_id[ids[1]])
    assert ("<in-1@c>", f"{ids[0]} {ids[1]} <in-1@c>") == _thread(by_id[ids[2]])
    assert "References" not in by_id[ids[3]]


def _bodies(api: Api) -> list[Any]:
    return [json.loads(body) for _, body in api.asked]


def _thread(headers: dict[str, str]) -> tuple[str, str]:
    return headers["In-Reply-To"], headers["References"]


async def test_in_reply_to(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A mail can say what it answers, whatever its subject; never another tenant's message."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL, "smtp@clinic.example")
    await by_smtp(gateway, smtp, letter(ADA, DESK, "Question", "When?"))
    (asked,) = await inbound_of(ask)
    said = {"subject": "Answer", "body": "Now", "from": DESK, "in_reply_to": asked["id"]}
    await send(ask, "email", ADA, **said)
    await step(api.worker(gateway))
    assert ("<in-1@c>", "<in-1@c>") == _thread(api.last["headers"])

    await connect(gateway, "sendgrid", Channel.EMAIL, "b@beta.example", tenant=gateway.b)
    stolen = {"channel": "email", "to": ADA, **said} | {"from": "b@beta.example"}
    refused = await ask("POST", "/v1/messages", stolen, key=gateway.b.key)
    assert {"in_reply_to"} == set(refused.fields())


async def test_lost_answer(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """SendGrid cannot be asked, and the log does not say that it will be: a lost answer stays
    unknown, is never sent again, and a report moves it on."""
    api.says(502)
    sent = await send(ask, "email", ADA, subject="Hi", body="Hello")
    worker = api.worker(gateway, ask_every=0)
    with capture_logs() as logs:
        for _ in range(4):
            await step(worker)
    row = await row_of(ask, sent)
    assert (1, "unknown", None) == (len(api.asked), row["status"], row["external_id"])
    assert [
        "answer lost, and the provider cannot be asked",
        "nobody can be asked: it is unknown until a report tells",
    ] == [line["event"] for line in logs if line["log_level"] == "warning"]
    assert 0 == await gateway.count("gateway.queue")

    told = {"event": "delivered", "email": ADA, "timestamp": 1790000000, "sg_event_id": "e1",
            "sg_message_id": "sg-9.filter.1", "message_id": sent["id"]}  # fmt: skip
    await from_sendgrid(gateway, account, [told])
    row = await row_of(ask, sent)
    assert ("delivered", "sg-9") == (row["status"], row["external_id"])


async def test_early_report(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A report that overtakes the worker says that the provider has it: it is not sent again."""
    sent = await send(ask, "email", ADA, subject="Hi", body="Hello")
    told = {"event": "processed", "email": ADA, "timestamp": 1790000000, "sg_event_id": "e1",
            "sg_message_id": "sg-1.filter.1", "message_id": sent["id"]}  # fmt: skip
    worker = api.worker(gateway)
    (turn,) = await worker.claim(10)
    await from_sendgrid(gateway, account, [told])
    await worker.work(turn)
    row = await row_of(ask, sent)

    assert (0, "sent", "sg-1") == (len(api.asked), row["status"], row["external_id"])
    assert 0 == await gateway.count("gateway.queue")


async def test_reports(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """A hard bounce suppresses and a machine's open reads nothing; an odd item loses no other."""
    sent = await send(ask, "email", ADA, subject="Hi", body="Hello")
    await step(api.worker(gateway))
    common = {"email": ADA, "timestamp": 1790000000, "sg_message_id": "sg-1.f"}
    answer = await from_sendgrid(
        gateway,
        account,
        [
            {**common, "event": "open", "sg_machine_open": True, "sg_event_id": "1"},
            "nonsense",
            {**common, "event": "from-next-year", "sg_event_id": "2"},
            {**common, "event": "bounce", "type": "bounce", "status": "5.1.1", "sg_event_id": "3",
             "reason": "no such user"},
        ],
    )  # fmt: skip
    row = await row_of(ask, sent)

    assert answer.status in (200, 204)
    assert ("failed", None) == (row["status"], row["read_at"])
    assert {("email", ADA, "hard_bounce")} == await suppressed(ask)
    refused = await ask("POST", "/v1/messages", {"channel": "email", "to": ADA.upper(),
                        "subject": "x", "body": "y"})  # fmt: skip
    assert {"to"} == set(refused.fields())


async def test_reports_of_one_second(gateway: Gateway, ask: Ask, api: Api, account: UUID) -> None:
    """SendGrid tells whole seconds, and a second's events in any order: each follows what it has
    to."""
    sent = await send(ask, "email", ADA, subject="Hi", body="Hello")
    await step(api.worker(gateway))
    common = {"email": ADA, "timestamp": 1790000000, "sg_message_id": "sg-1.f"}
    words = ["click", "open", "delivered", "processed"]
    told = [{**common, "event": word, "sg_event_id": word} for word in words]
    await from_sendgrid(gateway, account, told)
    events = (await ask("GET", f"/v1/messages/{sent['id']}/events")).body["data"]

    assert words == [event["type"] for event in events[:4]]


@pytest.mark.parametrize(
    "written",
    ["Ada <ADA@Exämple.de>", "ada@exämple.de", "<ada@XN--EXMPLE-CUA.DE>", " ada@exämple.de"],
)
async def test_a_mailbox_as_providers_write_it(
    gateway: Gateway, ask: Ask, account: UUID, written: str
) -> None:
    """With a name, in brackets, or its domain in another form: the mailbox is the same."""
    told = {"event": "unsubscribe", "email": written, "timestamp": 1790000000}
    assert 200 == (await from_sendgrid(gateway, account, [told])).status
    assert {("email", "ada@xn--exmple-cua.de", "unsubscribe")} == await suppressed(ask)
    body = {"channel": "email", "to": "Ada@exämple.de", "subject": "s", "body": "x"}
    assert {"to"} == set((await ask("POST", "/v1/messages", body)).fields())
