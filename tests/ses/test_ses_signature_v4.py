"""Signature Version 4, by the vectors that AWS has published for it.

https://docs.aws.amazon.com/general/latest/gr/signature-v4-test-suite.html
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest

from channels.aws import Signer

NOW = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
URL = "https://example.amazonaws.com/"
KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def signer(session_token: str | None = None) -> Signer:
    """The credentials of the vectors."""
    return Signer(
        access_key_id="AKIDEXAMPLE",
        secret_access_key=KEY,
        region="us-east-1",
        service="service",
        session_token=session_token,
    )


@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "names", "signature"),
    [
        ("GET", URL, {}, b"", "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("GET", URL[:-1], {}, b"", "host;x-amz-date",
         "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", URL, {}, b"", "host;x-amz-date",
         "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        ("POST", URL, {"My-Header1": "VALUE1"}, b"", "host;my-header1;x-amz-date",
         "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"),
        ("POST", URL, FORM, b"Param1=value1", "content-type;host;x-amz-date",
         "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
        ("GET", URL + "ሴ", {}, b"", "host;x-amz-date",
         "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ],
)  # fmt: skip
def test_the_vectors(
    method: str, url: str, headers: Mapping[str, str], body: bytes, names: str, signature: str
) -> None:
    """What AWS signs with these credentials at this moment, we sign the same."""
    expected = {
        **headers,
        "Host": "example.amazonaws.com",
        "X-Amz-Date": "20150830T123600Z",
        "Authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
            f"SignedHeaders={names}, Signature={signature}"
        ),
    }
    assert expected == signer().sign(method, url, headers, body, NOW)


def test_a_session_token() -> None:
    """The token of temporary credentials is sent, and signed."""
    token = (
        "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmx"
        "fpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0K"
        "PkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZb"
        "qBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA=="
    )
    signed = signer(token).sign("POST", URL, {}, b"", NOW)
    assert token == signed["X-Amz-Security-Token"]
    signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
    assert signed["Authorization"].endswith(
        f"SignedHeaders=host;x-amz-date;x-amz-security-token, Signature={signature}"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Example.amazonaws.com:443/", "example.amazonaws.com"),
        ("http://127.0.0.1:80/x", "127.0.0.1"),
        ("http://127.0.0.1:9090/x", "127.0.0.1:9090"),
        ("https://[::1]:8443/x", "[::1]:8443"),
        ("ftp://a:80/", "a:80"),
    ],
)
def test_host(url: str, host: str) -> None:
    """Host is signed as HTTP clients send it."""
    assert host == signer().sign("GET", url, {}, b"", NOW)["Host"]


def test_every_clock_is_the_same() -> None:
    """A moment is signed in UTC."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=2)))
    assert signer().sign("GET", URL, {}, b"", NOW) == signer().sign("GET", URL, {}, b"", elsewhere)


def test_no_secret_is_shown() -> None:
    """A signer can be logged."""
    assert KEY not in repr(signer("token-of-mine"))
    assert "token-of-mine" not in repr(signer("token-of-mine"))
