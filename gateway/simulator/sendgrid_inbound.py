"""SendGrid's Inbound Parse: a mail that somebody wrote, as multipart/form-data.

https://www.twilio.com/docs/sendgrid/for-developers/parsing-email/setting-up-the-inbound-parse-webhook.
`params` in addition to those of `gateway/simulator/mime.py`: `mode` (`raw`: the whole MIME message
in the field `email`), `charset` (of text and html), `spam_score`, and `envelope`, an object.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from email.message import EmailMessage

from gateway.simulator.callbacks import Callback, Limits
from gateway.simulator.files import File
from gateway.simulator.mime import as_bytes, mailbox
from gateway.simulator.provider import InboundBody

BOUNDARY = b"xYzZY"
# A mail is sent again after a 5xx, and lost after a 4xx.
LIMITS = Limits(
    connect=5.0, read=30.0, total=60.0, retries=8, retry_on=frozenset({"ct", "rt", "5xx"})
)


def parse_callback(url: str, body: InboundBody, mail: EmailMessage, files: list[File]) -> Callback:
    """The request to the `inbound` webhook, whose URL may contain its secret."""
    raw = body.text("mode") == "raw"
    fields = _raw(body, mail) if raw else _parsed(body, mail, files)
    parts = [_part(f'name="{name}"', "", value) for name, value in fields.items()]
    if not raw:
        for number, file in enumerate(files, 1):
            name = _escaped(file.filename or f"attachment{number}")
            head = f'name="attachment{number}"; filename="{name}"'
            parts.append(_part(head, f"Content-Type: {file.content_type}\r\n", file.content))
    return Callback(
        url=url.partition("#")[0],
        body=b"".join(parts) + b"--" + BOUNDARY + b"--\r\n",
        headers={
            "Content-Type": f"multipart/form-data; boundary={BOUNDARY.decode()}",
            "User-Agent": "SendGrid Parse API",
        },
        limits=LIMITS,
    )


def _envelope(body: InboundBody) -> bytes:
    given = body.params.get("envelope")
    envelope = {"to": [mailbox(body.to)], "from": mailbox(body.from_)}
    return json.dumps(given if given is not None else envelope).encode()


def _common(body: InboundBody) -> dict[str, bytes]:
    return {
        "dkim": b"{@simulator.example : pass}",
        "to": body.to.encode(),
        "from": body.from_.encode(),
        "subject": (body.text("subject") or "").encode(),
        "envelope": _envelope(body),
        "sender_ip": b"198.51.100.25",
        "SPF": b"pass",
        "spam_score": (body.text("spam_score") or "0.01").encode(),
    }


def _raw(body: InboundBody, mail: EmailMessage) -> dict[str, bytes]:
    charsets = dict.fromkeys(("to", "from", "subject"), "UTF-8")
    return _common(body) | {
        "email": as_bytes(mail),
        "charsets": json.dumps(charsets).encode(),
    }


def _parsed(body: InboundBody, mail: EmailMessage, files: list[File]) -> dict[str, bytes]:
    charset = body.text("charset") or "UTF-8"
    # Only the texts are in the mail's own charset; headers come in UTF-8.
    said = {"text": body.body, "html": body.text("html")}
    texts = {
        name: value.encode(charset, "replace") for name, value in said.items() if value is not None
    }
    charsets = dict.fromkeys(("to", "from", "subject"), "UTF-8")
    headers = "".join(f"{name}: {value}\n" for name, value in mail.items())
    fields = _common(body) | texts | {"headers": headers.encode(errors="replace")}
    fields["charsets"] = json.dumps(charsets | dict.fromkeys(texts, charset)).encode()
    fields["attachments"] = str(len(files)).encode()
    if files:
        fields["attachment-info"] = json.dumps(_info(files)).encode()
        ids = {f.content_id: f"attachment{n}" for n, f in enumerate(files, 1) if f.content_id}
        if ids:
            fields["content-ids"] = json.dumps(ids).encode()
    return fields


def _info(files: list[File]) -> Mapping[str, Mapping[str, str]]:
    return {
        f"attachment{number}": {
            "filename": file.filename or f"attachment{number}",
            "name": file.filename or f"attachment{number}",
            "type": file.content_type,
            **({"content-id": file.content_id} if file.content_id else {}),
        }
        for number, file in enumerate(files, 1)
    }


def _part(disposition: str, more: str, value: bytes) -> bytes:
    head = f"Content-Disposition: form-data; {disposition}\r\n{more}\r\n"
    return b"--" + BOUNDARY + b"\r\n" + head.encode() + value + b"\r\n"


def _escaped(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
