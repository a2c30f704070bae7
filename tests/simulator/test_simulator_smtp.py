"""The mail server: what it takes, refuses and loses, and what comes back."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from typing import Any

import aiohttp
import aiosmtplib
import pytest
from aiohttp.test_utils import TestServer

from gateway.simulator import build_simulator, run
from tests.simulator.conftest import Hook, Received, Sim

LOGIN = ("desk", "s3cret")
SECRET = "of-the-webhook"
ANA, BOB = "ana@example.org", "bob@example.org"


@dataclass
class Mailing(Sim):
    """A simulator whose mail server has one account."""

    port: int = 0

    async def mail(
        self, *to: str, login: tuple[str, str] = LOGIN, raw: bytes = b"", patience: float = 30
    ) -> Any:
        """Send a mail: what aiosmtplib says of it, or the code with which it was refused."""
        client = aiosmtplib.SMTP(
            hostname="127.0.0.1",
            port=self.port,
            start_tls=False,
            timeout=patience,
            local_hostname="test",
        )
        try:
            async with client:
                await client.login(*login)
                sender = "bounces@clinic.example"
                return await client.sendmail(sender, list(to) or [ANA], raw or MAIL)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return [one.code for one in error.recipients]
        except aiosmtplib.SMTPResponseException as error:
            return error.code
        except (aiosmtplib.SMTPServerDisconnected, OSError) as error:
            return type(error).__name__


def _written(**headers: str) -> bytes:
    mail = EmailMessage(policy=SMTP)
    mail["From"], mail["To"] = "Desk <desk@clinic.example>", ANA
    mail["Subject"] = "Grüße 👋"
    mail["Message-ID"] = "<m-1@clinic.example>"
    for name, value in headers.items():
        mail[name.replace("_", "-")] = value
    mail.set_content("Hello Ana\n.\nend")
    return mail.as_bytes()


MAIL = _written()


@pytest.fixture
async def mailing(
    aiohttp_server: Callable[..., Awaitable[TestServer]], hook: Hook
) -> AsyncIterator[Mailing]:
    """A simulator that takes mails, and one account whose webhook hears what comes back."""
    server = await aiohttp_server(build_simulator(seed=7, retry_wait=0.01, smtp_port=0))
    async with aiohttp.ClientSession() as session:
        mailing = Mailing(str(server.make_url("")).rstrip("/"), session, hook)
        username, password = LOGIN
        answer = await mailing.account(
            "smtp",
            username=username,
            password=password,
            webhook_secret=SECRET,
            webhooks={"inbound": f"{hook.base}/inbound?a=1"},
        )
        mailing.port = int(answer["smtp"].rpartition(":")[2])
        await mailing.plan(match=None)
        yield mailing


def _parts(received: Received) -> tuple[Any, list[Any]]:
    """A report as Python's own parser reads it: the mail and its parts."""
    mail = message_from_bytes(received.body, policy=default)
    return mail, list(mail.iter_parts())


async def test_a_mail_is_kept_byte_for_byte(mailing: Mailing) -> None:
    """The request tells who, to whom, and every byte of it; the message what it says."""
    errors, said = await mailing.mail()

    (asked,) = await mailing.data("requests")
    raw = base64.b64decode(asked["params"].pop("raw_base64"))
    (message,) = await mailing.data("messages")
    assert (errors, said.startswith("2.0.0 Ok: queued as ")) == ({}, True)
    assert raw == MAIL
    assert asked["params"].pop("raw") == MAIL.decode()
    assert (asked["provider"], asked["method"], asked["status"]) == ("smtp", "DATA", 250)
    assert asked["params"] == {
        "from": "bounces@clinic.example",
        "user": "desk",
        "to": [ANA],
        "message_id": "m-1@clinic.example",
        "subject": "Grüße 👋",
    }
    assert asked["sid"] == message["sid"] == "m-1@clinic.example"
    assert (message["to"], message["subject"], message["status"]) == (ANA, "Grüße 👋", "accepted")
    assert "Hello Ana" in message["body"]


@pytest.mark.parametrize("login", [("desk", "wrong"), ("nobody", "s3cret")])
async def test_credentials_are_checked(mailing: Mailing, login: tuple[str, str]) -> None:
    """Another user or password is 535, and nobody sends without any."""
    refused = await mailing.mail(login=login)
    async with aiosmtplib.SMTP(
        hostname="127.0.0.1", port=mailing.port, start_tls=False, local_hostname="test"
    ) as client:
        with pytest.raises(aiosmtplib.SMTPSenderRefused) as caught:
            await client.sendmail("a@b.c", [ANA], MAIL)

    assert (refused, caught.value.code) == (535, 530)


@pytest.mark.parametrize(
    ("outcome", "code", "answer"),
    [("refused", None, 550), ("failed", 552, 552), ("refused", "451", 451), ("failed", "x", 550)],
)
async def test_a_recipient_is_refused_as_planned(
    mailing: Mailing, outcome: str, code: object, answer: int
) -> None:
    """For good or for now; another recipient of the same mail is taken."""
    await mailing.plan(match={"to": BOB}, outcome=outcome, error_code=code)

    both = await mailing.mail(ANA, BOB)
    alone = await mailing.mail(BOB)

    assert {to: refused.code for to, refused in both[0].items()} == {BOB: answer}
    assert alone == [answer]
    asked = await mailing.data("requests")
    assert [(one["method"], one["status"]) for one in asked] == [
        ("RCPT", answer),
        ("DATA", 250),
        ("RCPT", answer),
    ]
    assert [message["to"] for message in await mailing.data("messages")] == [ANA]


@pytest.mark.parametrize("outcome", ["bounced", "undelivered", "dropped"])
async def test_a_bounce_comes_back(mailing: Mailing, hook: Hook, outcome: str) -> None:
    """Accepted, then a report of RFC 3464 by the webhook, with the account's Basic auth."""
    await mailing.plan(match={"to": BOB}, outcome=outcome, error_code="5.2.2")

    await mailing.mail(ANA, BOB)
    (received,) = await hook.count(1)

    mail, (text, status, original) = _parts(received)
    assert received.url == f"{hook.base}/inbound?a=1"
    assert received.headers["Content-Type"] == "message/rfc822"
    assert received.headers["Authorization"] == aiohttp.encode_basic_auth("desk", SECRET)
    assert received.headers["X-Envelope-From"] == ""
    assert received.headers["X-Envelope-To"] == "bounces@clinic.example"
    assert mail.get_content_type() == "multipart/report"
    assert mail.get_param("report-type") == "delivery-status"
    assert (mail["To"], mail["Auto-Submitted"]) == ("bounces@clinic.example", "auto-replied")
    assert text.get_content_type() == "text/plain"
    server, recipient = status.get_payload()
    assert server["Reporting-MTA"] == "dns; mx.simulator.example"
    assert {name: recipient[name] for name in ("Final-Recipient", "Action", "Status")} == {
        "Final-Recipient": f"rfc822; {BOB}",
        "Action": "failed",
        "Status": "5.2.2",
    }
    assert original.get_content_type() == "text/rfc822-headers"
    assert "Message-ID: <m-1@clinic.example>" in original.get_content()
    (_, bounced) = await mailing.data("messages")
    assert (bounced["status"], bounced["error_code"]) == ("failed", "5.2.2")


@pytest.mark.parametrize(
    ("plan", "actions"),
    [
        ({"outcome": "deferred"}, [("delayed", "4.2.0")]),
        ({"outcome": "delivered"}, []),
        ({"outcome": "sent"}, []),
        ({"steps": ["delayed", "delivered"]}, [("delayed", "4.2.0"), ("delivered", "2.0.0")]),
        (
            {"steps": ["delayed", "failed"], "faults": ["reorder"]},
            [("failed", "5.1.1"), ("delayed", "4.2.0")],
        ),
        (
            {"outcome": "bounced", "faults": ["duplicate", "batch"]},
            [("failed", "5.1.1"), ("failed", "5.1.1")],
        ),
        ({"outcome": "bounced", "faults": ["drop"]}, []),
    ],
)
async def test_other_reports(
    mailing: Mailing, hook: Hook, plan: dict[str, Any], actions: list[tuple[str, str]]
) -> None:
    """Delays, deliveries, several reports, disturbed as any callback is."""
    await mailing.plan(match=None, **plan)

    await mailing.mail()
    await hook.count(len(actions))
    await asyncio.sleep(0.05)

    told = [_parts(received)[1][1].get_payload()[1] for received in hook.received]
    assert [(one["Action"], one["Status"]) for one in told] == actions


async def test_a_complaint_comes_back(mailing: Mailing, hook: Hook) -> None:
    """A report of RFC 5965 names the recipient, and holds the headers of the mail."""
    await mailing.plan(match=None, outcome="complained")

    await mailing.mail()
    (received,) = await hook.count(1)

    mail, (_, feedback, original) = _parts(received)
    assert mail.get_param("report-type") == "feedback-report"
    assert feedback.get_content_type() == "message/feedback-report"
    assert b"Feedback-Type: abuse" in received.body
    assert f"Original-Rcpt-To: <{ANA}>".encode() in received.body
    assert "m-1@clinic.example" in original.get_content()


@pytest.mark.parametrize(
    ("faults", "answer", "status"),
    [
        (["429"], 421, 421),
        (["503"], 421, 421),
        (["500"], 451, 451),
        (["504"], 451, 451),
    ],
)
async def test_the_end_of_a_mail_is_refused_for_now(
    mailing: Mailing, faults: list[str], answer: int, status: int
) -> None:
    """The first time; then it is taken."""
    await mailing.plan(match=None, faults=faults)

    first, (errors, _) = await mailing.mail(), await mailing.mail()

    assert (first, errors) == (answer, {})
    asked = await mailing.data("requests")
    assert [one["status"] for one in asked] == [status, 250]
    assert len(await mailing.data("messages")) == 1


@pytest.mark.parametrize(
    ("fault", "kept"), [("reset", 1), ("reset_after_accept", 2), ("timeout_after_accept", 2)]
)
async def test_an_answer_is_lost(mailing: Mailing, fault: str, kept: int) -> None:
    """Before the mail was taken, or after: then it is there twice when it is sent again."""
    await mailing.plan(match=None, faults=[fault])

    first, (errors, _) = await mailing.mail(patience=2), await mailing.mail()

    assert isinstance(first, str)
    assert errors == {}
    asked = await mailing.data("requests")
    assert [(one["status"], one["fault"]) for one in asked] == [(None, fault), (250, None)]
    assert len(await mailing.data("messages")) == kept


async def test_before_response_reports_overtake_the_answer(mailing: Mailing, hook: Hook) -> None:
    """The bounce has come when the mail is accepted."""
    await mailing.plan(match={"body": "Grüße"}, outcome="bounced", faults=["before_response"])

    errors, _ = await mailing.mail()

    assert (errors, len(hook.received)) == ({}, 1)


async def test_a_mail_without_a_webhook_or_id(mailing: Mailing, hook: Hook) -> None:
    """Nothing comes back then, and the queue's id is the mail's."""
    username, password = LOGIN
    await mailing.account("smtp", username=username, password=password)
    await mailing.plan(match=None, outcome="bounced")

    _, said = await mailing.mail(raw=b"Subject: Hi\r\n\r\nHello\r\n")
    await asyncio.sleep(0.05)

    (message,) = await mailing.data("messages")
    assert (hook.received, said.endswith(message["sid"])) == ([], True)


async def test_somebody_writes_in(mailing: Mailing, hook: Hook) -> None:
    """A complete mail to the webhook, with its envelope in Return-Path and Delivered-To."""
    status, answer = await mailing.inbound(
        channel="email",
        to="desk@clinic.example",
        body="Ja 👋",
        params={"subject": "Übung", "in_reply_to": "m-1@clinic.example"},
        **{"from": f"Ana Pérez <{ANA}>"},
    )

    (received,) = hook.received
    mail, _ = _parts(received)
    assert (status, answer["provider"], answer["status"]) == (200, "smtp", 200)
    assert received.headers["Authorization"] == aiohttp.encode_basic_auth("desk", SECRET)
    assert received.headers["X-Envelope-From"] == ANA
    assert received.headers["X-Envelope-To"] == "desk@clinic.example"
    names = ("Return-Path", "Delivered-To", "From", "Subject", "In-Reply-To", "References")
    assert [str(mail[name]) for name in names] == [
        f"<{ANA}>",
        "desk@clinic.example",
        f"Ana Pérez <{ANA}>",
        "Übung",
        "<m-1@clinic.example>",
        "<m-1@clinic.example>",
    ]
    assert mail.get_content() == "Ja 👋\r\n"


async def test_the_address_decides_between_two_providers(mailing: Mailing, hook: Hook) -> None:
    """Mail comes in through SendGrid or SMTP: whose address it is, or who is named."""
    webhooks = {"inbound": f"{hook.base}/parse"}
    await mailing.account("sendgrid", api_key="k", addresses=["@a.example"], webhooks=webhooks)
    username, password = LOGIN
    webhooks = {"inbound": f"{hook.base}/inbound"}
    await mailing.account(
        "smtp", username=username, password=password, addresses=["b@c.example"], webhooks=webhooks
    )

    found = []
    for more in (
        {"to": "any@a.example"},
        {"to": "B@c.example"},
        {"to": "x@c.example"},
        {"to": "x@c.example", "provider": "smtp"},
        {"to": "x@c.example", "account": "desk"},
    ):
        status, answer = await mailing.inbound(channel="email", **{"from": ANA}, **more)
        found.append(answer.get("provider", status))

    assert found == ["sendgrid", "smtp", 409, "smtp", "smtp"]
    asked = [one.headers for one in hook.received if one.path == "/inbound"]
    assert ["Authorization" in one for one in asked] == [False, False, False]


async def test_forgetting(mailing: Mailing) -> None:
    """Accounts and mails are gone; the server is still there and refuses."""
    await mailing.mail()
    await mailing.ask("DELETE", "/_sim")

    assert await mailing.data("messages") == []
    assert await mailing.mail() == 535


async def test_run_tells_where_mails_are_taken() -> None:
    """And stops listening when it is cancelled."""
    told: asyncio.Queue[str] = asyncio.Queue()
    task = asyncio.create_task(run("127.0.0.1", 0, smtp_port=0, mail_ready=told.put_nowait))
    host, _, port = (await asyncio.wait_for(told.get(), 30)).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    greeting = await reader.readline()

    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    writer.close()

    assert greeting.startswith(b"220 smtp.simulator.example")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))
