"""What strangers, other numbers and dead workers cannot do to the messages of an organization."""

from __future__ import annotations

import base64
import random
from typing import Any

from channels.model import Channel
from tests.service.conftest import Ask, Gateway
from tests.service.wires import (
    Api,
    by_smtp,
    connect,
    from_meta,
    from_twilio,
    inbound_of,
    row_of,
    send,
    step,
    whatsapp_post,
    whatsapp_text,
    whatsapp_value,
)

FILE = """From: ann@customer.example
To: desk@clinic.example
Subject: papers
Message-ID: <same@device.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain

{body}
--b
Content-Type: application/pdf
Content-Disposition: attachment; filename="a.pdf"

{file}
--b--
"""


async def test_a_message_id_is_anybodys_word(gateway: Gateway, ask: Ask) -> None:
    """Another mail with the same Message-ID is another message, and the first one's file stays."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    first = FILE.format(body="first", file="%PDF-1.4 first").encode()
    other = FILE.format(body="other", file="%PDF-1.4 evil").encode()

    for raw in (first, other, first):
        assert 204 == (await by_smtp(gateway, account, raw)).status

    rows = await inbound_of(ask)
    assert ["other", "first"] == [row["body"] for row in rows]
    path = rows[1]["attachments"][0]["url"].removeprefix("https://msg.example.org/gw")
    assert "%PDF-1.4 first" == (await ask("GET", path)).body


async def test_addresses_that_no_index_holds(gateway: Gateway, ask: Ask) -> None:
    """A mail from an endless address is stored all the same."""
    account = await connect(gateway, "smtp", Channel.EMAIL)
    rare = random.Random(1)  # noqa: S311 - what does not compress
    long = ["".join(chr(rare.randrange(0x20000, 0x2A000)) for _ in range(300)) for _ in range(3)]
    raw = f"From: {long[0]}@c.example\nTo: {long[1]}@d.example\nSubject: {long[2]}\n\nhi\n"

    assert 204 == (await by_smtp(gateway, account, raw.encode())).status
    assert ["hi"] == [row["body"].strip() for row in await inbound_of(ask)]


async def test_other_numbers_of_an_app(gateway: Gateway, ask: Ask) -> None:
    """What Meta tells about another number than the account's is not this organization's."""
    account = await connect(gateway, "meta", Channel.WHATSAPP)
    other = whatsapp_value(whatsapp_text("STOP", wamid="wamid.1", sender="447700900123"))
    other["metadata"]["phone_number_id"] = "999999"
    own = whatsapp_value(whatsapp_text("hello", wamid="wamid.2", sender="447700900123"))

    assert 200 == (await from_meta(gateway, account, whatsapp_post(other, own))).status

    assert ["hello"] == [row["body"] for row in await inbound_of(ask)]
    assert [] == (await ask("GET", "/v1/suppressions")).body["data"]


async def test_two_numbers_of_one_app(gateway: Gateway, ask: Ask, api: Api) -> None:
    """What Meta tells about two numbers of an organization at one URL is each one's, once,
    whichever URL it comes to; other organizations' and apps' numbers get nothing of it."""
    one = await connect(gateway, "meta", Channel.WHATSAPP)
    two = await connect(gateway, "meta", Channel.WHATSAPP, "+15551230022", phone_number_id="222222")
    await connect(gateway, "meta", Channel.WHATSAPP, "+15551230033", phone_number_id="333333",
                  tenant=gateway.b)  # fmt: skip
    await connect(gateway, "meta", Channel.WHATSAPP, "+15551230044", phone_number_id="444444",
                  app_secret="ffffffffffffffffffffffffffffffff")  # fmt: skip
    values = []
    for n, number in enumerate(("109876", "222222", "333333", "444444")):
        text = whatsapp_text(f"to {number}", wamid=f"wamid.{n}", sender="447700900123")
        values.append(whatsapp_value(text, number=f"155512300{n + 1}{n + 1}"))
        values[-1]["metadata"]["phone_number_id"] = number
    for account in (one, two, one):
        assert 200 == (await from_meta(gateway, account, whatsapp_post(*values))).status

    rows = await inbound_of(ask)
    assert {("to 109876", "+15551230011"), ("to 222222", "+15551230022")} == {
        (row["body"], row["to_address"]) for row in rows
    }
    assert 2 == len(rows) == await gateway.count("messages")

    api.says(200, {"messages": [{"id": "wamid.sent"}]})
    sent = await send(ask, "whatsapp", "+447700900123", body="hello", **{"from": "+15551230022"})
    await step(api.worker(gateway))
    status = {"id": "wamid.sent", "status": "delivered", "timestamp": "1760000000"}
    value = whatsapp_value(statuses=[status])
    value["metadata"]["phone_number_id"] = "222222"
    assert 200 == (await from_meta(gateway, one, whatsapp_post(value))).status
    assert "delivered" == (await row_of(ask, sent))["status"]


async def test_a_recording_that_overtakes_its_call(gateway: Gateway, ask: Ask) -> None:
    """A recording told of before its call is stored is joined to it when it is."""
    call = {"CallSid": "CA" + "1" * 32, "AccountSid": "AC" + "a" * 32}
    told = {
        "RecordingSid": "RE" + "2" * 32,
        "RecordingStatus": "completed",
        "RecordingUrl": f"https://api.twilio.com/2010-04-01/Accounts/AC{'a' * 32}/Recordings/RE1",
    }
    ringing = {
        "From": "+447700900123",
        "To": "+15551230001",
        "Direction": "inbound",
        "CallStatus": "ringing",
    }
    await from_twilio(gateway, "recording", call | told)
    await from_twilio(gateway, "call", call | ringing)

    (row,) = await inbound_of(ask)
    assert ["recording.mp3"] == [file["filename"] for file in row["attachments"]]
    assert 1 == await gateway.count("gateway.errands")


async def test_what_a_dead_worker_had_not_begun(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of a provider that cannot be asked: what was claimed and had not left is sent, once."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    content = base64.b64encode(b"x").decode()
    files = [{"content": content, "filename": "a.txt", "content_type": "text/plain"}]
    row = await send(ask, "email", "ann@customer.example", subject="s", body="b", attachments=files)
    await api.worker(gateway).claim(10)  # and it is gone
    async with gateway.database.as_service() as db:
        await db.execute("UPDATE gateway.queue SET lease_until = now() - interval '1 s'")
    api.says(202, None, **{"X-Message-Id": "sg-1"})
    await step(api.worker(gateway))

    assert ("sent", 1) == ((await row_of(ask, row))["status"], len(api.asked))


async def test_what_a_dead_worker_had_begun(gateway: Gateway, ask: Ask, api: Api) -> None:
    """Of a provider that cannot be asked: what may have left is unknown, and not sent again."""
    await connect(gateway, "sendgrid", Channel.EMAIL)
    row = await send(ask, "email", "ann@customer.example", subject="s", body="b")
    await api.worker(gateway).claim(10)
    async with gateway.database.as_service() as db:
        await db.execute(
            "UPDATE gateway.queue SET lease_until = now() - interval '1 s', begun_at = now()"
        )
    worker = api.worker(gateway, lease=0.0)
    seen: list[Any] = [await step(worker) for _ in range(3)]

    assert [1, 1, 0] == seen
    assert ("unknown", 0) == ((await row_of(ask, row))["status"], len(api.asked))


async def test_a_message_id_that_no_header_holds(gateway: Gateway, ask: Ask, api: Api) -> None:
    """A stranger's odd Message-ID keeps no answer of ours from leaving."""
    smtp = await connect(gateway, "smtp", Channel.EMAIL, "in@clinic.example")
    await connect(gateway, "sendgrid", Channel.EMAIL)
    raw = (
        "From: ann@customer.example\nTo: desk@clinic.example\nSubject: hello\n"
        "Message-ID: <odd\u200bone@x.example>\n\nhi\n"
    )
    assert 204 == (await by_smtp(gateway, smtp, raw.encode())).status
    row = await send(ask, "email", "ann@customer.example", subject="Re: hello", body="b",
                     **{"from": "desk@clinic.example"})  # fmt: skip
    await step(api.worker(gateway))

    assert "sent" == (await row_of(ask, row))["status"]
    assert "References" not in api.last["headers"]
