"""The whole way, with a database: an answer that is lost, and a mail that comes in."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import time_machine

from channels.model import Channel
from gateway.manage import setup
from gateway.media.links import MediaLinks
from gateway.media.store import open_store
from gateway.observability.metrics import Metrics
from gateway.outside.download import Downloader
from gateway.receive.errands import Errands
from gateway.receive.receiving import Receiving
from gateway.vault import Vault
from tests.resend.values import EMAIL_ID, NOW, RECEIVED, SECRET, hook
from tests.service.conftest import PUBLIC, files_of
from tests.service.wires import counts, inbound_of, replay, row_of, send, step

if TYPE_CHECKING:
    from uuid import UUID

    from gateway.dispatch.dispatching import Dispatching
    from tests.resend.conftest import FakeResend
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

Row = dict[str, Any]
RAW = (
    b"From: Ada <ada@customer.example>\r\nTo: desk@clinic.example\r\nSubject: Re: Your bill\r\n"
    b"Message-ID: <m1@customer.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nThank you.\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\n"
    b"a file\r\n--b--\r\n"
)


async def connect(gateway: Gateway) -> UUID:
    """A Resend account of tenant A with a sender; its id."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    credentials = {"api_key": "re_key", "webhook_secret": SECRET}
    account_id = await setup.add_account(
        gateway.database, vault, gateway.a.organization_id, "resend", credentials
    )
    await setup.add_sender(
        gateway.database,
        account_id,
        Channel.EMAIL,
        "desk@clinic.example",
        is_default=True,
        rate=None,
    )
    return account_id


async def send_bill(ask: Ask) -> dict[str, Any]:
    """Accept a mail with a file."""
    file = {
        "content": base64.b64encode(b"%PDF-1.4 x").decode(),
        "filename": "a.pdf",
        "content_type": "application/pdf",
    }
    return await send(
        ask,
        "email",
        "ada@customer.example",
        subject="Your bill",
        body="Here it is.",
        attachments=[file],
    )


async def test_a_lost_answer(gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend) -> None:
    """A mail with a file whose answer is lost is sent once more, the same to the byte: one mail."""
    await connect(gateway)
    api.url = resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    sent = await send_bill(ask)
    resend_api.is_silent = True
    assert 1 == await step(worker)
    assert "unknown" == (await row_of(ask, sent))["status"]
    resend_api.is_silent = False
    while await step(worker):
        pass
    row = await row_of(ask, sent)
    assert ("sent", "mail-0") == (row["status"], row["external_id"])
    assert [sent["id"]] == list(resend_api.taken)
    (first, _), (second, _) = resend_api.asked
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"] == sent["id"]
    assert 1 == len({body for _, body in resend_api.asked})


async def lose(gateway: Gateway, ask: Ask, worker: Dispatching, fake: FakeResend) -> Row:
    """A mail that Resend has taken and not answered for; its answers are lost from now on."""
    await connect(gateway)
    fake.is_silent = True
    sent = await send(ask, "email", "ada@customer.example", subject="Your bill", body="Here.")
    await step(worker)
    return sent


async def stays_unknown(gateway: Gateway, ask: Ask, sent: Row) -> None:
    """It has left the queue, nobody says that it has failed, and its person is to be asked."""
    assert "unknown" == (await row_of(ask, sent))["status"]
    assert 0 == await gateway.count("gateway.queue")
    why = (await ask("GET", f"/v1/messages/{sent['id']}/why")).body
    assert "stays unknown until a report comes in" in why["summary"]
    assert "might arrive twice" in why["advice"]


async def test_answers_that_are_lost_for_ever(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """When its attempts run out the mail stays unknown: Resend may have had it all the time."""
    api.url = resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0, most_refusals=1)
    sent = await lose(gateway, ask, worker, resend_api)
    while await step(worker):
        pass
    assert 2 == len(resend_api.asked)
    await stays_unknown(gateway, ask, sent)


async def test_refusals_after_a_lost_answer(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """That Resend took no more requests does not say that it did not take the first."""
    refusing, api.url = api.url, resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0, most_refusals=1)
    sent = await lose(gateway, ask, worker, resend_api)
    api.says(429, {"name": "rate_limit_exceeded", "message": "Slow."})
    worker._api_urls["resend"] = refusing
    while await step(worker):
        pass
    await stays_unknown(gateway, ask, sent)


@pytest.mark.parametrize(
    ("status", "name"),
    [(401, "validation_error"), (403, "invalid_api_key"), (400, "validation_error"), (302, "")],
)
async def test_a_key_that_is_refused_after_a_lost_answer(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend, status: int, name: str
) -> None:
    """That a key or domain is not accepted any more does not say what became of the first request:
    the mail is looked for until it is, and stays unknown where it never is."""
    refusing, api.url = api.url, resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    sent = await lose(gateway, ask, worker, resend_api)
    api.says(status, {"name": name, "message": "API key is invalid"})
    worker._api_urls["resend"] = refusing
    while await step(worker):
        pass
    assert 1 == len(api.asked)
    assert "unknown" == (await row_of(ask, sent))["status"]
    worker._api_urls["resend"] = resend_api.url
    resend_api.is_silent = False
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now()")
    while await step(worker):
        pass
    assert "sent" == (await row_of(ask, sent))["status"]
    assert [sent["id"]] == list(resend_api.taken)


async def test_a_mail_that_is_refused_after_a_lost_answer(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """What is wrong with a mail was wrong with it the first time: it has failed."""
    refusing, api.url = api.url, resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    sent = await lose(gateway, ask, worker, resend_api)
    api.says(422, {"name": "invalid_from_address", "message": "No."})
    worker._api_urls["resend"] = refusing
    while await step(worker):
        pass
    assert "failed" == (await row_of(ask, sent))["status"]


async def test_a_mail_that_resend_has_in_another_form(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """What Resend says it has already is not sent to it again and again, nor has it failed."""
    api.url = resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    sent = await lose(gateway, ask, worker, resend_api)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET subject = 'Another'")
    while await step(worker):
        pass
    assert 2 == len(resend_api.asked)
    await stays_unknown(gateway, ask, sent)


async def test_a_mail_that_is_late_and_may_be_there(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """A mail that may have been taken does not fail for being too late to be sent again."""
    api.url = resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    sent = await lose(gateway, ask, worker, resend_api)
    await step(worker)
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET expires_at = now()")
    await step(worker)
    assert 1 == len(resend_api.asked)
    await stays_unknown(gateway, ask, sent)


async def test_a_mail_that_waited_for_more_than_a_day(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """A refusal may ask for a day's patience: by then Resend has forgotten the key, and the same
    request would be a second mail to whom the first may have reached."""
    refusing, api.url = api.url, resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    sent = await lose(gateway, ask, worker, resend_api)
    api.says(
        429, {"name": "daily_quota_exceeded", "message": "Tomorrow."}, **{"Retry-After": "86400"}
    )
    worker._api_urls["resend"] = refusing
    while await step(worker):
        pass
    assert 1 == len(api.asked)
    worker._api_urls["resend"] = resend_api.url
    resend_api.taken.clear()
    resend_api.is_silent = False
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET run_at = now()")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1), tick=True):
        while await step(worker):
            pass
    assert {} == resend_api.taken
    await stays_unknown(gateway, ask, sent)


async def test_a_file_that_is_gone_the_second_time(
    gateway: Gateway, ask: Ask, api: Api, resend_api: FakeResend
) -> None:
    """A mail that may have been taken has not failed because its file cannot be had once more."""
    await connect(gateway)
    api.url = resend_api.url
    worker = api.worker(gateway, ask_every=0, sure_after=0)
    resend_api.is_silent = True
    sent = await send_bill(ask)
    await step(worker)
    for kept in (gateway.settings.gateway_data / "media").rglob("*-*-*-*-*"):
        if kept.is_file():
            kept.unlink()
    while await step(worker):
        pass
    assert 1 == len(resend_api.asked)
    await stays_unknown(gateway, ask, sent)


async def run_errands(gateway: Gateway, resend_api: FakeResend) -> None:
    """Fetch what there is to be fetched, until nothing is due."""
    vault = Vault(gateway.settings.gateway_secret_keys)
    api_urls: dict[str, str | None] = {"resend": resend_api.url}
    async with Downloader() as downloader:
        files = files_of(gateway, downloader)
        receiving = Receiving(gateway.database, vault, Metrics(), files)
        errands = Errands(
            gateway.database,
            vault,
            open_store(None, gateway.settings.gateway_data),
            MediaLinks(vault, PUBLIC),
            downloader,
            receiving.fetched,
            api_urls=api_urls,
        )
        while await errands.run_next():
            pass


async def test_a_mail_that_cannot_be_had_as_it_came(
    gateway: Gateway, ask: Ask, resend_api: FakeResend
) -> None:
    """A mail whose raw form is refused for good, as one is that is too large, is stored all the
    same, with its files, which go to no other mail that has its Message-ID. A replay fetches
    nothing of it again."""
    account_id = await connect(gateway)
    other = {"channel": "sms", "to": "+447700900123", "body": "Hello"}
    assert 202 == (await ask("POST", "/v1/messages", other)).status
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE messages SET external_id = 'm1@customer.example'")
    request = hook("email.received", tags=None)
    path, headers = f"/webhooks/resend/{account_id}/events", dict(request.headers)
    with time_machine.travel(NOW, tick=True):
        await gateway.ask("POST", path, key="", data=request.body, headers=headers)
    at = RECEIVED.removeprefix("https://api.resend.com") + EMAIL_ID
    given = {
        "id": EMAIL_ID,
        "from": "ada@customer.example",
        "text": "Thank you.",
        "message_id": "<m1@customer.example>",
        "attachments": [{"id": "1"}],
        "raw": {"download_url": f"{resend_api.url}/raw?signature=x"},
    }
    listed = {"data": [{"filename": "a.txt", "download_url": f"{resend_api.url}/a"}]}
    resend_api.answers = {
        at: json.dumps(given).encode(),
        f"{at}/attachments": json.dumps(listed).encode(),
        "/raw": None,
        "/a": b"A file",
    }
    await run_errands(gateway, resend_api)
    [message] = await inbound_of(ask, channel="email")
    assert ("ada@customer.example", "Thank you.", "a.txt", 6) == (
        message["from_address"],
        message["body"],
        message["attachments"][0]["filename"],
        message["attachments"][0]["size"],
    )
    asked = len(resend_api.asked)
    assert (0, 6, 0, 0) == counts(await replay(gateway))
    await run_errands(gateway, resend_api)
    assert asked == len(resend_api.asked)
    assert [message] == await inbound_of(ask, channel="email")


async def test_a_mail_that_comes_in(gateway: Gateway, ask: Ask, resend_api: FakeResend) -> None:
    """The webhook is answered, then the mail is fetched with its file, and stored once."""
    account_id = await connect(gateway)
    request = hook("email.received", tags=None)
    for _ in range(2):
        with time_machine.travel(NOW, tick=True):
            answer = await gateway.ask(
                "POST",
                f"/webhooks/resend/{account_id}/events",
                key="",
                data=request.body,
                headers=dict(request.headers),
            )
        assert 200 == answer.status
    resend_api.answers = {
        RECEIVED.removeprefix("https://api.resend.com") + EMAIL_ID: json.dumps(
            {
                "id": EMAIL_ID,
                "attachments": [{"id": "1"}],
                "raw": {"download_url": f"{resend_api.url}/raw?signature=x"},
            }
        ).encode(),
        "/raw": RAW,
    }
    await run_errands(gateway, resend_api)
    [message] = await inbound_of(ask, channel="email")
    assert ("ada@customer.example", "Thank you.", "a.txt") == (
        message["from_address"],
        message["body"].strip(),
        message["attachments"][0]["filename"],
    )
    asked = [(each.path_qs, each.headers.get("Authorization")) for each, _ in resend_api.asked]
    assert [
        (f"/emails/receiving/{EMAIL_ID}?html_format=cid", "Bearer re_key"),
        ("/raw?signature=x", "Bearer re_key"),
    ] == asked


async def test_a_mail_that_was_lost(gateway: Gateway, ask: Ask, resend_api: FakeResend) -> None:
    """A replay has a mail fetched that could not be, as with a key that was wrong, and stores one
    that was fetched and is lost; what was fetched is not fetched again."""
    account_id = await connect(gateway)
    request = hook("email.received", tags=None)
    path, headers = f"/webhooks/resend/{account_id}/events", dict(request.headers)
    with time_machine.travel(NOW, tick=True):
        await gateway.ask("POST", path, key="", data=request.body, headers=headers)
    at = RECEIVED.removeprefix("https://api.resend.com") + EMAIL_ID
    resend_api.answers = {at: None}
    await run_errands(gateway, resend_api)
    assert [] == await inbound_of(ask)

    mail = {"id": EMAIL_ID, "from": "ada@customer.example", "text": "Hi", "message_id": "<m@c.x>"}
    resend_api.answers = {at: json.dumps(mail).encode()}
    assert (1, 0, 0, 1) == counts(await replay(gateway))
    await run_errands(gateway, resend_api)
    [message] = await inbound_of(ask)
    async with gateway.database.as_service() as db:
        await db.execute("DELETE FROM messages")
    assert (1, 1, 0, 1) == counts(await replay(gateway))
    await run_errands(gateway, resend_api)
    [again] = await inbound_of(ask)
    assert ("Hi", message["id"], 2) == (again["body"], again["id"], len(resend_api.asked))
