"""A mail with everything in it, through a real mail server and back through inbound parsing."""

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from channels import email
from channels.model import Attachment
from channels.providers.smtp import Smtp
from channels.smtp_pool import Connections
from tests.smtp.values import MESSAGE_ID, account, outbound
from webhooks import mail
from webhooks.model import Inbound

URL = "https://gateway.example.org/u/" + "x" * 370
BYTES = bytes(range(256)) * 40
BODY = "Grüße aus Köln – ñ ß Ω 日本語 🎉\n\n.a dot\nFrom here\n" + "long " * 400 + "\nÜmläute"


class Sink:
    """What the server was given."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:  # noqa: N802
        """Take everything."""
        self.mails.append(envelope)
        return "250 2.0.0 queued"


@asynccontextmanager
async def sink(**options: Any) -> AsyncIterator[tuple[Sink, int]]:
    """A server that takes everything, and its port."""
    held = Sink()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(held, **options), "127.0.0.1", 0)
    try:
        yield held, server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_byte_for_byte() -> None:
    """Umlauts, an emoji subject, a 400-character URL, files and dots all come back as they left."""
    files = (
        Attachment(
            filename="Rechnung Müller 🎉.pdf", content_type="application/pdf", content=BYTES
        ),
        Attachment(
            filename="logo.png", content_type="image/png", content=BYTES[::-1], content_id="logo@x"
        ),
        Attachment(
            filename="a.csv", content_type="text/csv; charset=utf-8", content="ä;\r\nb".encode()
        ),
        Attachment(filename="old.eml", content_type="message/rfc822", content=b"From: x\n\nHi\n"),
    )
    subject = "🎉  Ihre Bestellung für Jörg: größer, schöner — und noch länger als eine Zeile 🎉"
    html = f'<p>Grüße <img src="cid:logo@x"> <a href="{URL}">ab</a></p>'
    content = email.compose(subject=subject, body=BODY, html_body=html, attachments=files)
    given = outbound(
        subject=content.subject or "",
        body=content.body,
        html=content.html_body,
        attachments=content.attachments,
        unsubscribe_url=URL,
        in_reply_to="c@x.example",
        references=("a@x.example", "b@x.example", "c@x.example"),
        reply_to="reply+token@in.example.com",
    )
    half = Smtp()
    async with sink() as (held, port):
        async with aiohttp.ClientSession() as session:
            await half.send(account(port), given, session, "")
        await half.close()
    [envelope] = held.mails
    assert (envelope.mail_from, envelope.rcpt_tos) == ("shop@example.com", ["bob@example.org"])
    raw = envelope.original_content or b""
    assert f"List-Unsubscribe: <{URL}>\r\n".encode() in raw
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    [found] = mail.events(raw, provider="smtp", recipients=["bob@example.org"], sender="")
    assert isinstance(found, Inbound)
    assert (found.external_id, found.subject) == (MESSAGE_ID, subject)
    assert found.body == BODY
    assert found.references == ("c@x.example", "b@x.example", "a@x.example")
    assert found.html_body is not None
    assert 'src="cid:logo@x"' in found.html_body
    assert URL in found.html_body
    came = {each.filename: each for each in found.attachments}
    assert {each.filename: each.content for each in files} == {
        name: each.content for name, each in came.items()
    }
    assert came["logo.png"].content_id == "logo@x"
    assert came["a.csv"].content_type == "text/csv"


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS for 127.0.0.1, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        built.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


async def test_starttls_and_login(tmp_path: Path) -> None:
    """With STARTTLS the password goes encrypted, and only to a server that is trusted."""
    server, client = certificate(tmp_path)
    seen: list[Any] = []

    def login(
        _server: object, _session: object, _envelope: object, _how: str, data: Any
    ) -> AuthResult:
        seen.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    options = {"tls_context": server, "require_starttls": True, "authenticator": login}
    async with sink(**options) as (held, port), aiohttp.ClientSession() as session:
        trusting, strange = Smtp(connections=Connections(tls_context=client)), Smtp()
        good = account(port, tls="starttls", username="u", password="right")
        bad = account(port, tls="starttls", username="u", password="wrong")
        sent = [
            await trusting.send(good, outbound(), session, ""),
            *await asyncio.gather(
                trusting.send(bad, outbound(), session, ""),
                strange.send(good, outbound(), session, ""),
                return_exceptions=True,
            ),
        ]
        await trusting.close()
    codes = [getattr(each, "code", "sent") for each in sent]
    assert (codes, len(held.mails)) == (["sent", "535", "tls"], 1)
    assert (b"u", b"right") in seen
