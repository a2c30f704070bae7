"""Inbound Parse: mails that people write, as SendGrid hands them on."""

from __future__ import annotations

import base64
import json
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import HTTP, default
from io import BytesIO
from typing import Any

import pytest

from tests.simulator.conftest import Hook, Received, Sim

KEY = "SG.simulated"
MAIL = {
    "channel": "email",
    "from": "Ana Pérez <ana@example.org>",
    "to": "desk@clinic.example",
    "body": "Ja, gern! 👋",
}


@pytest.fixture
async def parsing(bare_sim: Sim) -> Sim:
    """An account whose mails go to the webhook, which has a secret in its URL."""
    webhooks = {"inbound": f"{bare_sim.hook.base}/inbound?secret=a%2Fb"}
    await bare_sim.account("sendgrid", api_key=KEY, webhooks=webhooks)
    return bare_sim


def _fields(received: Received) -> dict[str, EmailMessage]:
    """The parts of a form by name, read by Python's own MIME parser."""
    head = f"Content-Type: {received.headers['Content-Type']}\r\n\r\n".encode()
    form = message_from_bytes(head + received.body, policy=HTTP)
    parts = {}
    for part in form.iter_parts():
        assert isinstance(part, EmailMessage)
        parts[str(part.get_param("name", header="content-disposition"))] = part
    return parts


def _bytes(part: EmailMessage) -> bytes:
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


async def _write(sim: Sim, **more: Any) -> dict[str, bytes]:
    """Somebody writes: the fields that came, as bytes."""
    status, answer = await sim.inbound(**MAIL | more)
    assert (status, answer["provider"]) == (200, "sendgrid"), answer
    return {name: _bytes(part) for name, part in _fields(sim.hook.received[-1]).items()}


async def test_parsed_mode_has_the_fields_of_the_mail(parsing: Sim, hook: Hook) -> None:
    """Headers, text, html, envelope, charsets; to the URL as it was given."""
    params = {"subject": "Übung 👋", "html": "<p>Ja</p>", "in_reply_to": "1@clinic.example"}
    fields = await _write(parsing, params=params)

    assert hook.received[0].url == f"{hook.base}/inbound?secret=a%2Fb"
    assert fields["text"].decode() == "Ja, gern! 👋"
    assert fields["html"] == b"<p>Ja</p>"
    assert fields["subject"].decode() == "Übung 👋"
    assert fields["from"].decode() == "Ana Pérez <ana@example.org>"
    assert json.loads(fields["envelope"]) == {
        "to": ["desk@clinic.example"],
        "from": "ana@example.org",
    }
    assert json.loads(fields["charsets"]) == dict.fromkeys(
        ("to", "from", "subject", "text", "html"), "UTF-8"
    )
    assert fields["attachments"] == b"0"
    headers = fields["headers"].decode()
    assert "In-Reply-To: <1@clinic.example>\nReferences: <1@clinic.example>\n" in headers
    assert "Message-ID: <" in headers


async def test_text_comes_in_the_charset_of_the_mail(parsing: Sim) -> None:
    """Said words are in the charset that `charsets` names; the subject is UTF-8 all the same."""
    fields = await _write(
        parsing, body="Grüße", params={"charset": "iso-8859-1", "subject": "Grüße"}
    )

    assert fields["text"] == "Grüße".encode("latin-1")
    assert fields["subject"] == "Grüße".encode()
    assert json.loads(fields["charsets"])["text"] == "iso-8859-1"


async def test_raw_mode_is_the_whole_mail(parsing: Sim) -> None:
    """`email` holds the MIME message, which reads back as what was written."""
    params = {
        "mode": "raw",
        "subject": "Übung 👋",
        "html": "<p>Ja</p>",
        "message_id": "<7@example.org>",
        "in_reply_to": "<2@clinic.example>",
        "references": "<1@clinic.example> <2@clinic.example>",
        "headers": {"Auto-Submitted": "auto-replied"},
    }
    media = {"content": base64.b64encode(b"%PDF").decode(), "content_type": "application/pdf"}
    fields = await _write(parsing, params=params, media=[media | {"filename": "Übung.pdf"}])

    assert not {"text", "html", "headers", "attachment1"} & fields.keys()
    mail = message_from_bytes(fields["email"], policy=default)
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert (text.get_content(), html.get_content()) == (
        "Ja, gern! 👋\r\n",
        "<p>Ja</p>\r\n",
    )
    (attachment,) = mail.iter_attachments()
    assert (attachment.get_filename(), attachment.get_payload(decode=True)) == (
        "Übung.pdf",
        b"%PDF",
    )
    names = ("Subject", "Message-ID", "In-Reply-To", "References", "Auto-Submitted")
    assert [str(mail[name]) for name in names] == [
        "Übung 👋",
        "<7@example.org>",
        "<2@clinic.example>",
        "<1@clinic.example> <2@clinic.example>",
        "auto-replied",
    ]


async def test_attachments_are_files_of_the_form(parsing: Sim, hook: Hook) -> None:
    """Given inline or fetched from a URL, each with its name, type and content id."""
    hook.documents["/file"] = "from a URL"
    inline = {
        "content": base64.b64encode(b"\x00\r\n--xYzZY").decode(),
        "content_type": "image/png",
        "filename": 'a "b".png',
        "content_id": "logo",
    }
    fetched = {"url": f"{hook.base}/file", "content_type": "text/plain"}

    fields = await _write(parsing, media=[inline, fetched])

    assert json.loads(fields["attachment-info"]) == {
        "attachment1": {
            "filename": 'a "b".png',
            "name": 'a "b".png',
            "type": "image/png",
            "content-id": "logo",
        },
        "attachment2": {"filename": "attachment2", "name": "attachment2", "type": "text/plain"},
    }
    assert json.loads(fields["content-ids"]) == {"logo": "attachment1"}
    assert fields["attachments"] == b"2"
    assert b'name="attachment1"; filename="a %22b%22.png"' in hook.received[-1].body
    assert fields["attachment2"] == b"from a URL"


async def test_a_file_that_cannot_be_fetched_is_named(parsing: Sim, hook: Hook) -> None:
    """Nothing is sent on without it."""
    hook.answers = [404]
    missing = await parsing.inbound(**MAIL, media=[f"{hook.base}/file"])
    nobody = await parsing.inbound(**MAIL, media=["http://127.0.0.1:1/file"])

    assert (missing[0], nobody[0]) == (409, 409)
    assert "it answered 404" in missing[1]["detail"]


async def test_a_broken_envelope_can_be_asked_for(parsing: Sim) -> None:
    """`envelope` and `spam_score` stand as they are given."""
    fields = await _write(parsing, params={"envelope": {"to": "x"}, "spam_score": "9.5"})

    assert (json.loads(fields["envelope"]), fields["spam_score"]) == ({"to": "x"}, b"9.5")


@pytest.mark.parametrize(("answers", "tries"), [([503, 500], 3), ([404], 1)])
async def test_a_mail_is_tried_again_after_a_5xx(
    parsing: Sim, hook: Hook, answers: list[int], tries: int
) -> None:
    """After a 4xx it is lost."""
    hook.answers = list(answers)

    _, answer = await parsing.inbound(**MAIL)

    assert [one["status"] for one in answer["attempts"]] == [*answers, 200][:tries]


async def test_a_mail_is_kept_among_the_messages(parsing: Sim) -> None:
    """With its Message-ID, which the answer tells too."""
    _, answer = await parsing.inbound(**MAIL, params={"message_id": "7@example.org"})

    (message,) = await parsing.data("messages")
    assert (answer["sid"], message["sid"]) == ("7@example.org", "7@example.org")
    assert (message["direction"], message["from"]) == ("inbound", "ana@example.org")


async def test_a_large_mail_comes_whole(parsing: Sim, hook: Hook) -> None:
    """Twelve megabytes in one file, which the webhook gets byte for byte."""
    content = bytes(range(256)) * 48 * 1024
    media = {"content": base64.b64encode(content).decode(), "content_type": "application/zip"}

    body = BytesIO(json.dumps(MAIL | {"media": [media]}).encode())
    status, _ = await parsing.ask("POST", "/_sim/inbound", data=body)

    assert status == 200
    assert content in hook.received[0].body
