"""Which credentials can be those of a mail server, and what a key signs."""

import subprocess
import sys
from base64 import b64encode

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from channels import mime
from channels.errors import InvalidCredentials, Refused
from channels.providers import smtp
from gateway.registry import webhook_urls
from tests.smtp.values import ID, outbound


def test_right_ones() -> None:
    """Values are trimmed, empty ones left out."""
    given = {"host": " mail.example.com ", "username": "u", "password": "p", "tls": ""}
    expected = {"host": "mail.example.com", "username": "u", "password": "p"}
    assert expected == smtp.validate_credentials(given)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, ["host"]),
        ({"host": "a b"}, ["host"]),
        ({"host": "h", "port": "0"}, ["port"]),
        ({"host": "h", "port": "70000"}, ["port"]),
        ({"host": "h", "port": "x"}, ["port"]),
        ({"host": "h", "tls": "ssl"}, ["tls"]),
        ({"host": "h", "username": "u"}, ["password"]),
        ({"host": "h", "password": "p"}, ["username"]),
        ({"host": "h", "user": "u"}, ["user"]),
        ({"host": "h", "username": "u", "password": "p", "tls": "none"}, ["tls"]),
        ({"host": "192.0.2.1", "username": "u", "password": "p", "tls": "none"}, ["tls"]),
        ({"host": "h", "webhook_secret": "short"}, ["webhook_secret"]),
        ({"host": "h", "webhook_secret": "with a space"}, ["webhook_secret"]),
        ({"host": "h", "dkim_domain": "d"}, ["dkim_private_key", "dkim_selector"]),
    ],
)
def test_wrong_ones(given: dict[str, str], wrong: list[str]) -> None:
    """Every problem is named, and no value is shown."""
    with pytest.raises(InvalidCredentials) as caught:
        smtp.validate_credentials(given)
    assert [name for name, _ in caught.value.problems] == wrong


@pytest.mark.parametrize("host", ["127.0.0.1:9125", "mail.example.com:587", "::1:x", "h:"])
def test_a_port_in_the_host(host: str) -> None:
    """A port stands apart from the host, in which only an IPv6 address has colons."""
    with pytest.raises(InvalidCredentials) as caught:
        smtp.validate_credentials({"host": host})
    ((name, problem),) = caught.value.problems
    assert ("host", True) == (name, "port=" in problem)
    assert {"host": "2001:db8::25"} == smtp.validate_credentials({"host": "2001:db8::25"})


def test_the_url_never_has_the_password() -> None:
    """The URL to paste has the secret that is made for it, or none."""
    held = {"host": "h", "username": "u", "password": "the-mail-password"}
    base, secret = "https://gateway.example.org", "a-secret"
    plain = {"inbound": f"{base}/webhooks/smtp/{ID}/inbound"}
    assert plain == webhook_urls(base, "smtp", ID, smtp.validate_credentials(held))
    held = smtp.validate_credentials(held | {"webhook_secret": secret})
    complete = {"inbound": f"{plain['inbound']}?secret={secret}"}
    assert complete == webhook_urls(base, "smtp", ID, held)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_plain_text_stays_on_this_machine(host: str) -> None:
    """A password may go without TLS to a server on this machine alone."""
    given = {"host": host, "username": "u", "password": "p", "tls": "none"}
    assert smtp.validate_credentials(given) == given


def test_dkim() -> None:
    """With a key the mail is signed, its unsubscribe headers too, and the signature is right."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    held = {"host": "h", "dkim_domain": "example.com", "dkim_selector": "s"}
    held = smtp.validate_credentials(held | {"dkim_private_key": pem})
    raw = mime.as_bytes(outbound(subject="Grüße", unsubscribe_url="https://e.example/u"))
    signed = smtp.sign(raw, held)
    record = b"v=DKIM1; k=rsa; p=" + b64encode(public)
    assert dkim.verify(signed, dnsfunc=lambda *_args, **_kwargs: record)
    assert b"list-unsubscribe-post" in signed.partition(b"\r\nFrom:")[0]
    broken = {
        **held,
        "dkim_private_key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    }
    with pytest.raises(Refused) as caught:
        smtp.sign(raw, broken)
    assert caught.value.code == "dkim"


def test_dkim_is_an_extra() -> None:
    """Without the extra, an account with a key sends nothing unsigned."""
    program = (
        "import sys; sys.modules['dkim'] = None\n"
        "from channels.providers import smtp\n"
        "from channels.errors import Refused\n"
        "try:\n    smtp.sign(b'', {})\n"
        "except Refused as error:\n    print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "[dkim]" in done.stdout
