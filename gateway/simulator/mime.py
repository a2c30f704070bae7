"""The mails that simulated people write: an `InboundBody` as a MIME message.

`params`: `subject`, `html`, `message_id`, `in_reply_to`, `references`, `date`, and `headers`, an
object of further headers, which may replace the others. Ids may be written with or without <>.
"""

from __future__ import annotations

from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr

from gateway.simulator.files import File
from gateway.simulator.provider import InboundBody
from gateway.simulator.records import Record
from gateway.simulator.state import State


def mailbox(address: str) -> str:
    """The bare `a@b.c` of an address with a name."""
    return parseaddr(address)[1] or address


def compose(state: State, body: InboundBody, files: list[File]) -> EmailMessage:
    """The mail as the person's mail program would write it."""
    mail = EmailMessage(policy=SMTP)
    message_id = body.text("message_id") or f"{state.hex_id()}@mail.simulator.example"
    headers = {
        "From": body.from_,
        "To": body.to,
        "Subject": body.text("subject") or "",
        "Date": body.text("date") or format_datetime(state.clock()),
        "Message-ID": f"<{message_id.strip('<>')}>",
        "MIME-Version": "1.0",
    }
    answered = body.text("in_reply_to")
    if answered is not None:
        headers["In-Reply-To"] = f"<{answered.strip('<>')}>"
        headers["References"] = body.text("references") or headers["In-Reply-To"]
    given = body.params.get("headers")
    if isinstance(given, dict):
        headers |= {name: str(value) for name, value in given.items()}
    for name, value in headers.items():
        if name != "MIME-Version":
            mail[name] = value
    mail.set_content(body.body)
    html = body.text("html")
    if html is not None:
        mail.add_alternative(html, subtype="html")
    for file in files:
        main, _, sub = file.content_type.partition("/")
        mail.add_attachment(
            file.content,
            maintype=main,
            subtype=sub or "octet-stream",
            filename=file.filename,
            cid=f"<{file.content_id}>" if file.content_id else None,
            disposition="inline" if file.content_id else "attachment",
        )
    return mail


def received(state: State, account: str, body: InboundBody, mail: EmailMessage) -> Record:
    """The record of a mail that somebody wrote to an account."""
    return Record(
        sid=str(mail["Message-ID"]).strip("<>"),
        account=account,
        channel="email",
        to=mailbox(body.to),
        from_=mailbox(body.from_),
        body=body.body,
        status="received",
        direction="inbound",
        at=state.clock(),
        detail={"subject": body.text("subject")},
    )


def as_bytes(mail: EmailMessage) -> bytes:
    """The mail as it is transmitted; with headers in UTF-8 only if necessary."""
    try:
        return mail.as_bytes(policy=SMTP)
    except UnicodeEncodeError:
        return mail.as_bytes(policy=SMTPUTF8)
