"""Reports of mail servers: delivery status notifications (RFC 3464), complaints (RFC 5965)."""

from __future__ import annotations

from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage, Message
from email.policy import SMTP, default
from email.utils import format_datetime

_SAID = {
    "failed": ("5.1.1", "550 5.1.1 <{to}>: Recipient address rejected: User unknown"),
    "delayed": ("4.2.0", "451 4.2.0 <{to}>: Temporary lookup failure"),
}
HOST = "mx.simulator.example"


def report(
    *, mail: bytes, sender: str, to: str, action: str, code: str | None, at: datetime, id_: str
) -> bytes:
    """The notification for one recipient of `mail`, addressed to its envelope sender.

    `action` is one of RFC 3464, or `complaint`; `code` is an enhanced status code (5.1.1).
    """
    original = message_from_bytes(mail, policy=default)
    headers = EmailMessage(policy=SMTP)
    for name, value in original.items():
        if name.lower() not in {"content-type", "content-transfer-encoding", "mime-version"}:
            headers[name] = str(value)
    if action == "complaint":
        kind, words, subject = "feedback-report", _complaint(sender, to, at), "Abuse report"
        machine = "message/feedback-report"
    else:
        kind, words = "delivery-status", _delivery(to, action, code, at)
        machine = "message/delivery-status"
        subject = "Undelivered Mail Returned to Sender" if action == "failed" else "Mail status"
    text = f"This is the mail system at host {HOST}.\n\nAbout your message to {to}: {action}.\n"
    return _assembled(
        {
            "From": f"MAILER-DAEMON@{HOST}",
            "To": sender,
            "Subject": subject,
            "Date": format_datetime(at),
            "Message-ID": f"<{id_}@{HOST}>",
            "Auto-Submitted": "auto-replied",
            "Return-Path": "<>",
        },
        kind,
        [
            ("text/plain; charset=us-ascii", text.encode("ascii", "replace")),
            (machine, words.encode("utf-8")),
            ("text/rfc822-headers", _bytes(headers)),
        ],
        boundary=f"sim-{id_}",
    )


def _delivery(to: str, action: str, code: str | None, at: datetime) -> str:
    status, said = _SAID.get(action, ("2.0.0", "250 2.0.0 Ok"))
    return (
        f"Reporting-MTA: dns; {HOST}\n"
        f"Arrival-Date: {format_datetime(at)}\n"
        "\n"
        f"Final-Recipient: rfc822; {to}\n"
        f"Original-Recipient: rfc822;{to}\n"
        f"Action: {action}\n"
        f"Status: {code or status}\n"
        f"Remote-MTA: dns; {HOST}\n"
        f"Diagnostic-Code: smtp; {said.format(to=to)}\n"
    )


def _complaint(sender: str, to: str, at: datetime) -> str:
    return (
        "Feedback-Type: abuse\n"
        "User-Agent: Simulator/1.0\n"
        "Version: 1\n"
        f"Original-Mail-From: <{sender}>\n"
        f"Original-Rcpt-To: <{to}>\n"
        f"Arrival-Date: {format_datetime(at)}\n"
    )


def _bytes(headers: Message) -> bytes:
    return headers.as_bytes().partition(b"\r\n\r\n")[0] + b"\r\n"


def _assembled(
    headers: dict[str, str], kind: str, parts: list[tuple[str, bytes]], *, boundary: str
) -> bytes:
    """A multipart/report, written by hand: Python's generator cannot write such parts."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    lines += [
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type={kind}; boundary="{boundary}"',
        "",
    ]
    body = b"\r\n".join(line.encode() for line in lines) + b"\r\n"
    for content_type, content in parts:
        head = f"--{boundary}\r\nContent-Type: {content_type}\r\n\r\n".encode()
        body += head + content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()
