"""Files that go out: kept before the 202, brought by the worker, or refused in plain words."""

from __future__ import annotations

import base64
import io
import os
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit
from uuid import UUID
from xml.etree import ElementTree as ET

import aiohttp
import pytest

from channels.call import CHARACTERS
from channels.model import Channel
from gateway.shapes.base import URL_CHARACTERS
from tests.cli.shell import until
from tests.service.test_service_rules_of_others import TRIGGER, as_crm
from tests.service.wires import (
    SECRET,
    connect,
    hook,
    inbound_of,
    row_of,
    send,
    step,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)
from tests.service.wires import from_meta as meta

if TYPE_CHECKING:
    from tests.service.conftest import Ask, Gateway
    from tests.service.wires import Api

ADA = "ada@customer.example"
PDF = b"%PDF-1.4 " + bytes(range(256)) * 40
MP3 = b"ID3\x04" + bytes(range(256)) * 40
MAIL = {"subject": "Your bill", "body": "Here it is."}


def inline(content: bytes, filename: str = "Rechnung März.pdf") -> dict[str, str]:
    """A file in the request itself."""
    encoded = base64.b64encode(content).decode()
    return {"content": encoded, "filename": filename, "content_type": "application/pdf"}


RECORDING = inline(MP3, "greeting.mp3") | {"content_type": "audio/mpeg"}


def kept_files(gateway: Gateway) -> list[bytes]:
    """What the media store holds."""
    folder = gateway.settings.gateway_data / "media"
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


async def test_files_of_what_is_not_stored_are_not_kept(gateway: Gateway, ask: Ask) -> None:
    """What is refused when it is stored leaves no file behind, however often it is tried, neither
    alone nor in a batch whose other messages are stored."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await as_crm(
        gateway, TRIGGER.format("IF NEW.subject = 'bad' THEN RAISE EXCEPTION 'no'; END IF;")
    )
    good = {"channel": "email", "to": ADA} | MAIL | {"attachments": [inline(PDF)]}
    bad = good | {"subject": "bad"}

    alone = [(await ask("POST", "/v1/messages", bad)).status for _ in range(2)]
    batch = (await ask("POST", "/v1/messages/batch", {"messages": [bad, good, bad]})).body["data"]

    assert [503, 503] == alone
    assert [503, 202, 503] == [item["status"] for item in batch]
    media = gateway.settings.gateway_data / "media"
    await until(lambda: sum(path.is_file() for path in media.rglob("*")) == 1, 5)
    assert [PDF] == kept_files(gateway)


async def test_inline(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A file is kept before the 202, shown under our URL, served to its tenant alone, and sent."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    (shown,) = sent["attachments"]
    assert [PDF] == kept_files(gateway)
    assert {
        "url": f"https://msg.example.org/gw/v1/media/{shown['url'].rpartition('/')[2]}",
        "filename": "Rechnung März.pdf",
        "content_type": "application/pdf",
        "size": len(PDF),
    } == shown

    path = "/v1/media/" + shown["url"].rpartition("/")[2]
    async with gateway.http.get(path, headers={"Authorization": f"Bearer {gateway.a.key}"}) as got:
        assert (200, PDF) == (got.status, await got.read())
    assert 404 == (await ask("GET", path, key=gateway.b.key)).status

    await step(api.worker(gateway))
    # Once more, as it was shown while PUBLIC_URL was another: it is not fetched from there.
    await send(ask, "email", ADA, **MAIL, attachments=[{"url": f"http://127.0.0.1:8080{path}"}])
    await step(api.worker(gateway))
    assert 2 == len(api.asked)
    (file,) = api.last["attachments"]
    assert (PDF, "Rechnung März.pdf", "application/pdf") == (
        base64.b64decode(file["content"]),
        file["filename"],
        file["type"],
    )


async def test_refused_leaves_nothing(gateway: Gateway, ask: Ask) -> None:
    """Where the message is refused, its files are not kept."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    body = {"channel": "email", "to": "nobody", "attachments": [inline(PDF)], **MAIL}
    assert {"to"} == set((await ask("POST", "/v1/messages", body)).fields())
    assert [] == kept_files(gateway)
    assert 0 == await gateway.count("gateway.media")


CANNOT_GO: list[tuple[str, list[Any], str]] = [
    ("email", [{}], "attachments.0"),
    ("email", [{"url": "https://x.example/a", "content": "aGk="}], "attachments.0"),
    ("email", [{"url": "file:///etc/passwd"}], "attachments.0.url"),
    ("email", [{"url": "https://user:secret@x.example/a"}], "attachments.0.url"),
    ("email", [{"url": "https://x.example/a\r\nX: y"}], "attachments.0.url"),
    ("email", [{"content": "not base64!", "filename": "a", "content_type": "text/plain"}],
     "attachments.0.content"),
    ("email", [{"content": "aGk="}], "attachments.0.filename"),
    ("email", [inline(b"x", "../../etc/passwd")], "attachments"),
    ("email", [inline(b"x", "a\r\nBcc: eve.pdf")], "attachments"),
    ("email", [inline(b"MZ", "bill.exe")], "attachments"),
    ("email", [inline(b"x") | {"content_type": "text/html\r\nX-Y: z"}], "attachments"),
    ("email", [inline(b"x")] * 21, "attachments"),
    ("sms", [{"url": "https://x.example/a", "filename": '../../etc/pa"ss'}], "attachments"),
    ("whatsapp", [inline(b"x", "a\r\nb.pdf")], "attachments"),
    ("whatsapp", [{"url": "https://x.example/a", "filename": "x" * 256}], "attachments"),
    ("call", [inline(b"x")], "attachments"),
    ("whatsapp", [inline(b"x")] * 2, "attachments"),
]  # fmt: skip


async def test_refused_by_name(gateway: Gateway, ask: Ask) -> None:
    """What cannot go along is refused with the file at fault."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "twilio", Channel.CALL)
    await connect(gateway, "meta", Channel.WHATSAPP)
    for channel, files, field in CANNOT_GO:
        body = {"channel": channel, "body": "x", "attachments": files}
        body |= {"to": ADA, "subject": "x"} if channel == "email" else {"to": "+447700900123"}
        answer = await ask("POST", "/v1/messages", body)
        assert 422 == answer.status, (files, answer.body)
        assert field in answer.fields(), files


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}",
                                  "169.254.169.254", "0x7f000001:{port}", "10.0.0.1",
                                  "files.example:9443"])  # fmt: skip
async def test_internal_address(gateway: Gateway, ask: Ask, api: Api, host: str) -> None:
    """A mail's URL that leads inside, or to a port where nothing is fetched, is refused and says
    why; where another program has stored it, the message has failed, and says so."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    port = urlsplit(api.url).port
    url = f"http://{host.format(port=port)}/secret"
    mail = {"channel": "email", "to": ADA, **MAIL, "attachments": [{"url": url}]}
    refused = await ask("POST", "/v1/messages", mail)
    checked = (await ask("POST", "/v1/messages/check", mail)).body
    why = refused.fields()["attachments.0.url"]
    assert (422, False) == (refused.status, checked["ok"])
    assert why.startswith("is never fetched: its URL ")
    assert [{"field": "attachments.0.url", "message": why}] == checked["errors"]

    sent = await send(ask, "email", ADA, **MAIL)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET attachments = jsonb_build_array(jsonb_build_object("
            "'url', $1::text, 'filename', 'a.pdf'))",
            url,
        )
    await step(api.worker(gateway))
    row = await row_of(ask, sent)

    assert [] == api.asked
    assert ("failed", "attachment") == (row["status"], row["error_code"])
    assert row["error_message"].startswith("a.pdf: ")


def signed(bucket: str, characters: int = URL_CHARACTERS) -> str:
    """A URL as a store signs one for a session: most of it is chance."""
    start = f"https://{bucket}.s3.example/x.pdf?X-Amz-Security-Token="
    return (
        start + base64.urlsafe_b64encode(os.urandom(characters))[: characters - len(start)].decode()
    )


async def test_signed_urls(gateway: Gateway, ask: Ask, api: Api) -> None:
    """URLs of thousands of characters are sent as they are, as many as a message may have files,
    or refused before they are stored: those that are too long, or too much together."""
    await connect(gateway, "twilio", Channel.CALL)
    await connect(gateway, "sendgrid", Channel.EMAIL)
    urls = [signed(f"b{n}") for n in range(10)]
    to = "+447700900123"
    sent = await send(ask, "sms", to, body="x", attachments=[{"url": url} for url in urls])
    api.says(201, {"sid": "SM1", "status": "queued"})
    await step(api.worker(gateway))
    assert urls == api.last["MediaUrl"]
    assert "sent" == (await row_of(ask, sent))["status"]

    call = {"channel": "call", "to": to, "options": {"play": signed("b", 3000)}}
    assert 202 == (await ask("POST", "/v1/messages", call)).status
    mail = {"channel": "email", "to": ADA} | MAIL
    for files, field in (
        ([{"url": signed("b") + "x"}], "attachments.0.url"),
        ([{"url": signed(f"b{n}")} for n in range(13)], "attachments"),
    ):
        refused = await ask("POST", "/v1/messages", mail | {"attachments": files})
        assert (422, {field}) == (refused.status, set(refused.fields()))


async def test_files_that_are_not_there(gateway: Gateway, ask: Ask) -> None:
    """A URL of ours at which the organization has no file is refused in the same words, whether
    another one has it or nobody; elsewhere it is somebody else's."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "sendgrid", Channel.EMAIL, "b@beta.example", tenant=gateway.b)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    foreign = sent["attachments"][0]["url"]
    start = foreign.rpartition("/")[2]
    ours = foreign.removesuffix(start)
    body = {"channel": "email", "to": ADA, **MAIL}
    for url in (foreign, f"{ours}{UUID(int=7)}", f"{ours}{start.upper()}?x", ours):
        for channel in (body, {"channel": "sms", "to": "+447700900123", "body": "x"}):
            wanted = channel | {"attachments": [{"url": url}]}
            refused = await ask("POST", "/v1/messages", wanted, key=gateway.b.key)
            checked = await ask("POST", "/v1/messages/check", wanted, key=gateway.b.key)
            says = {"attachments.0.url": "is none of the files of your organization"}
            assert (422, says) == (refused.status, refused.fields())
            assert not checked.body["ok"]
    elsewhere = f"https://files.example/v1/media/{UUID(int=7)}"
    for url, key in ((foreign, gateway.a.key), (elsewhere, gateway.b.key)):
        wanted = body | {"attachments": [{"url": url}]}
        assert 202 == (await ask("POST", "/v1/messages", wanted, key=key)).status


@pytest.mark.parametrize("of", ["request", "template"])
async def test_a_recording_of_ours(gateway: Gateway, ask: Ask, api: Api, of: str) -> None:
    """What a call plays may be a file of the organization's: the provider gets a link that needs no
    key. A URL of ours at which it has none is refused, as that of an attachment."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "twilio", Channel.CALL)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[RECORDING])
    await step(api.worker(gateway))
    play = sent["attachments"][0]["url"]
    foreign = play[:-36] + str(UUID(int=7))
    call = {"channel": "call", "to": "+447700900123"}

    async def asked(url: str) -> dict[str, Any]:
        if of == "request":
            return call | {"body": "Hello", "options": {"play": url}}
        template = {
            "name": f"t{url[-9:]}",
            "type": "call",
            "content": "x",
            "options": {"play": url},
        }
        assert 201 == (await ask("POST", "/v1/templates", template)).status
        return call | {"template": template["name"]}

    refused = await ask("POST", "/v1/messages", await asked(foreign))
    says = {"options.play": "is none of the files of your organization"}
    assert (422, says) == (refused.status, refused.fields())

    accepted = await ask("POST", "/v1/messages", await asked(play))
    assert 202 == accepted.status
    api.says(201, {"sid": "CA1", "status": "queued"})
    await step(api.worker(gateway))
    played = next(ET.fromstring(api.last["Twiml"]).iter("Play")).text or ""  # noqa: S314
    assert played.startswith("https://msg.example.org/gw/media/")
    async with gateway.http.get(played.removeprefix("https://msg.example.org/gw")) as got:
        assert (200, MP3) == (got.status, await got.read())


async def test_what_no_call_plays(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A file of ours that is no recording is refused; and a call whose recording, or a message
    whose file, was deleted before it left has failed, and does not leave."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "twilio", Channel.CALL)
    files = [RECORDING, inline(PDF)]
    sent = await send(ask, "email", ADA, **MAIL, attachments=files)
    await step(api.worker(gateway))
    mp3, pdf = (file["url"] for file in sent["attachments"])
    call = {"channel": "call", "to": "+447700900123"}
    refused = await ask("POST", "/v1/messages", call | {"options": {"play": pdf}})
    says = "is of type application/pdf, which no call plays: give an MP3 or a WAV file"
    assert (422, {"options.play": says}) == (refused.status, refused.fields())

    rows = [
        await send(ask, "call", "+447700900123", options={"play": mp3}),
        await send(ask, "sms", "+447700900123", body="Hi", attachments=[{"url": pdf}]),
        await send(ask, "email", ADA, **MAIL, attachments=[{"url": pdf}]),
    ]
    async with gateway.database.as_service() as db:
        await db.execute("DELETE FROM gateway.media")
    asked = len(api.asked)
    await step(api.worker(gateway))
    assert asked == len(api.asked)
    for row in rows:
        now = await row_of(ask, row)
        assert ("failed", "attachment") == (now["status"], now["error_code"])
        assert "A file: it was deleted from the gateway." == now["error_message"]


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("Audio/MPEG", 202),
        ("audio/mpeg; charset=binary", 202),
        ("audio/mp3", 202),
        ("audio/x-wav", 202),
        ("audio/ogg; codecs=opus", 422),
        ("audio/x-aiff", 422),
    ],
)
async def test_what_is_served_as_a_recording(
    gateway: Gateway, ask: Ask, said: str, status: int
) -> None:
    """A call plays what we serve to its provider as MP3 or WAV, however its sender named the type;
    other types that the provider plays are served as unknown ones."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "twilio", Channel.CALL)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[RECORDING | {"content_type": said}])
    url = sent["attachments"][0]["url"]
    call = {"channel": "call", "to": "+447700900123", "options": {"play": url}}
    answer = await ask("POST", "/v1/messages", call)
    assert status == answer.status
    path = urlsplit(url).path.removeprefix("/gw")
    async with gateway.http.get(path, headers={"Authorization": f"Bearer {gateway.a.key}"}) as got:
        assert (status == 202) == (got.headers["Content-Type"] in {"audio/mpeg", "audio/wav"})


async def test_the_longest_text_before_a_recording(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Whatever is accepted is still short enough for the provider once its file has its link."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "twilio", Channel.CALL)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[RECORDING])
    await step(api.worker(gateway))
    options = {"play": sent["attachments"][0]["url"], "repeat": 3}
    call = {"channel": "call", "to": "+447700900123", "options": options}
    for characters in range(1280, 0, -5):
        answer = await ask("POST", "/v1/messages", call | {"body": "x" * characters})
        if answer.status == 202:
            break
        assert (422, {"body"}) == (answer.status, set(answer.fields()))
    api.says(201, {"sid": "CA1", "status": "queued"})
    await step(api.worker(gateway))
    assert 3400 < len(api.last["Twiml"]) <= CHARACTERS


async def test_stolen_file(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Another tenant's file cannot be sent by naming its URL, also where another program did."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    await connect(gateway, "sendgrid", Channel.EMAIL, "b@beta.example", tenant=gateway.b)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    url = sent["attachments"][0]["url"]
    body = {"channel": "email", "to": ADA, **MAIL}
    thief = (await ask("POST", "/v1/messages", body, key=gateway.b.key)).body
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET attachments = jsonb_build_array(jsonb_build_object("
            "'url', $1::text)) WHERE id = $2",
            url,
            UUID(thief["id"]),
        )
    await step(api.worker(gateway))
    row = (await ask("GET", f"/v1/messages/{thief['id']}", key=gateway.b.key)).body

    assert 1 == len(api.asked)
    # Not as ours is it looked for, but at the address, which gives nothing to strangers.
    assert row["status"] in ("sending", "failed")
    assert row["external_id"] is None


async def test_whatsapp_file(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A provider that fetches files gets a link of its own, that needs no key and ends."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    text = whatsapp_text("Hi", wamid="wamid.1", sender="447700900123")
    await meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    api.says(200, {"messages": [{"id": "wamid.2"}]})
    await send(ask, "whatsapp", "+447700900123", body="Your bill", attachments=[inline(PDF)])
    await step(api.worker(gateway))
    part = api.last["document"]

    assert ("Your bill", "Rechnung März.pdf") == (part["caption"], part["filename"])
    assert part["link"].startswith("https://msg.example.org/gw/media/")
    path = part["link"].removeprefix("https://msg.example.org/gw")
    async with gateway.http.get(path) as got:
        assert (200, PDF) == (got.status, await got.read())
    # Not the last character, whose last bits say nothing.
    forged = path[:-2] + ("A" if path[-2] != "A" else "B") + path[-1]
    async with gateway.http.get(forged) as got:
        assert 404 == got.status


@pytest.mark.parametrize("channel", [Channel.SMS, Channel.WHATSAPP])
async def test_retry_of_a_name_that_is_refused_now(
    gateway: Gateway, ask: Ask, channel: Channel
) -> None:
    """A message whose file has a name that was taken once is sent again, with the nearest name that
    is taken now."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    text = whatsapp_text("Hi", wamid="wamid.1", sender="447700900123")
    await meta(gateway, account, whatsapp_post(whatsapp_value(text)))
    files = [{"url": "https://files.example/a"}]
    sent = await send(ask, channel, "+447700900123", attachments=files)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE messages SET status = 'failed', attachments = jsonb_set(attachments,"
            " '{0,filename}', to_jsonb('Reports/2024.pdf'::text)) WHERE direction = 'outbound'"
        )
    again = await ask("POST", f"/v1/messages/{sent['id']}/retry")
    assert 202 == again.status, again.body
    assert "Reports_2024.pdf" == again.body["attachments"][0]["filename"]


async def test_retry_keeps_files(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A failed mail that is sent again has its files."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    sent = await send(ask, "email", ADA, **MAIL, attachments=[inline(PDF)])
    api.says(400, {"errors": [{"message": "No."}]})
    await step(api.worker(gateway))
    again = await ask("POST", f"/v1/messages/{sent['id']}/retry")
    assert 202 == again.status, again.body
    api.says(202, **{"X-Message-Id": "sg-2"})
    await step(api.worker(gateway))

    assert sent["attachments"] == again.body["attachments"]
    assert PDF == base64.b64decode(api.last["attachments"][0]["content"])


async def test_large_mails(gateway: Gateway, ask: Ask) -> None:
    """A mail of 29 MB comes in within seconds, and nobody waits for it; one of more than 30 MiB
    is a 413 that names this limit."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    file = base64.encodebytes(bytes(range(256)) * 4096 * 21).replace(b"\n", b"\r\n")
    head = (
        f"From: {ADA}\r\nTo: desk@clinic.example\r\nSubject: Large\r\nMessage-ID: <l@c>\r\n"
        'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\nContent-Type: text/plain\r\n'
        "\r\nSee\r\n--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="x.png"\r\n\r\n'
    ).encode()
    raw = head + file + b"\r\n--b--\r\n"
    assert 29e6 < len(raw) < 30 * 2**20
    query = "?" + urlencode({"secret": SECRET})
    used = time.process_time()  # not the clock's: a busy machine has little for each
    answer = await hook(gateway, "smtp", account, "inbound", query, data=io.BytesIO(raw))
    assert time.process_time() - used < 15
    assert 204 == answer.status, answer.body
    (row,) = await inbound_of(ask)
    assert ("See", 21 * 2**20) == (row["body"], row["attachments"][0]["size"])

    too_large = b"x" * (30 * 2**20 + 1)
    try:
        refused = await hook(gateway, "smtp", account, "inbound", query, data=io.BytesIO(too_large))
    except aiohttp.ClientConnectionError:  # it may answer, and hang up, before all is sent
        return
    assert (413, "The body is larger than 31457280 bytes.") == (
        refused.status,
        refused.body["detail"],
    )
    assert 1 == len(await inbound_of(ask))


async def stored_file(gateway: Gateway, ask: Ask, mail: dict[str, Any], size: int) -> str:
    """The URL of a file that is stored here, of this size."""
    sent = await ask("POST", "/v1/messages", mail | {"attachments": [inline(PDF)]})
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.media SET size = $1", size)
    url: str = sent.body["attachments"][0]["url"]
    return url


@pytest.mark.parametrize(
    ("provider", "times", "says"),
    [("postmark", 2, "10 MB"), ("mailgun", 3, "25 MB"), ("ses", 3, None)],
)
async def test_more_than_the_provider_takes(
    gateway: Gateway, ask: Ask, provider: str, times: int, says: str | None
) -> None:
    """A mail that its provider never takes is refused at once, and the limit is named. Files count
    as they are transferred; those that are stored here count, too."""
    await connect(gateway, provider, Channel.EMAIL)
    mail = {"channel": "email", "to": ADA} | MAIL
    stored = await stored_file(gateway, ask, mail, 13 * 2**19)
    files = [{"url": stored, "filename": f"{n}.pdf"} for n in range(times)]
    answer = await ask("POST", "/v1/messages", mail | {"attachments": files[1:]})
    assert 202 == answer.status
    answer = await ask("POST", "/v1/messages", mail | {"attachments": files})
    if says is None:
        assert 202 == answer.status
        return
    wrong = (
        f"The mail is larger than the {says} that its provider takes, in which files count a "
        "third more than they have."
    )
    assert {"attachments": wrong} == answer.fields()


async def test_stored_files_that_are_too_large_together(gateway: Gateway, ask: Ask) -> None:
    """Files that are stored here have known sizes: a mail of too many is not accepted."""
    await connect(gateway, "ses", Channel.EMAIL)
    mail = {"channel": "email", "to": ADA} | MAIL
    url = await stored_file(gateway, ask, mail, 7 * 2**20)
    files = [{"url": url, "filename": f"{n}.pdf"} for n in range(3)]
    answer = await ask("POST", "/v1/messages", mail | {"attachments": files})
    assert {"attachments": "The attachments together are larger than 20 MiB."} == answer.fields()
