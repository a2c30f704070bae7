"""Webhooks that prove themselves by a secret in their URL."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhooks.model import InvalidSignature, WebhookRequest
from webhooks.secrets import verify_secret

URL = "https://msg.example.org/webhooks/postmark/1/events"
SECRET = "sesame"


def request(query: str = "", **headers: str) -> WebhookRequest:
    """A request with this query and these headers."""
    return WebhookRequest(
        method="POST", url=URL + query, event="events", headers=headers, body=b"{}"
    )


def basic(credentials: bytes | str, scheme: str = "Basic") -> WebhookRequest:
    """A request with these credentials: as bytes to be encoded, as text already so."""
    if isinstance(credentials, bytes):
        credentials = b64encode(credentials).decode()
    return request(authorization=f"{scheme} {credentials}")


@pytest.mark.parametrize(
    "good",
    [
        basic(b"user:sesame"),
        basic(b":sesame"),
        basic(b"another:sesame", scheme="bASIC"),
        basic("  " + b64encode(b"user:sesame").decode()),
        request("?secret=sesame"),
        request("?a=b&secret=s%65same&c"),
        request("?secret=sesame#rc=5"),
        request("?secret=sesame", authorization="Bearer abc"),
        request("?secret=sesame", authorization=f"Basic {b64encode(b'a:proxy').decode()}"),
        request("?secret=no", authorization=f"Basic {b64encode(b'a:sesame').decode()}"),
    ],
)
def test_the_secret_is_enough(good: WebhookRequest) -> None:
    """Any user with the secret as password, or the parameter, passes."""
    verify_secret(good, SECRET)


@pytest.mark.parametrize(
    "bad",
    [
        request(),
        request("?"),
        request("?secret="),
        request("?secret"),
        request("?Secret=sesame"),
        request("?notsecret=sesame"),
        request("?secret=sesam"),
        request("?secret=sesame%00"),
        request("?secret=sesame&secret=sesame"),
        request("?secret=no&secret=sesame"),
        request("#?secret=sesame"),
        request(authorization=""),
        request(authorization="Basic"),
        request(authorization="sesame"),
        basic(b"sesame:user"),
        basic(b"sesame"),
        basic(b"user:sesame "),
        basic(b"user:x:sesame"),
        basic(b"user:sesame", scheme="Bearer"),
        basic("dXNlcjpzZXNhbWU*="),
        basic("dXNlcjpzZXNhbWU"[:-1] + "é"),
        basic("YWJ"),
        basic("\udcff"),
    ],
)
def test_nothing_else_is(bad: WebhookRequest) -> None:
    """A missing, wrong, doubled or unreadable secret is refused."""
    with pytest.raises(InvalidSignature) as raised:
        verify_secret(bad, SECRET)
    assert SECRET not in str(raised.value)


def test_unreadable_credentials_are_refused_beside_a_good_parameter() -> None:
    """Credentials that are no Basic authentication spoil the request."""
    with pytest.raises(InvalidSignature):
        verify_secret(request("?secret=sesame", authorization="Basic ***"), SECRET)


@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize("asked", [basic(b"user:"), request("?secret="), request()])
def test_no_secret_refuses_everything(missing: str | None, asked: WebhookRequest) -> None:
    """An account without a secret takes nothing, an empty one neither."""
    with pytest.raises(InvalidSignature):
        verify_secret(asked, missing)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_umlauts(encoding: str) -> None:
    """A password may be written in UTF-8 or in Latin-1."""
    verify_secret(basic("user:schlüssel".encode(encoding)), "schlüssel")
    with pytest.raises(InvalidSignature):
        verify_secret(basic("user:schlussel".encode(encoding)), "schlüssel")


def test_what_latin_1_cannot_write_is_not_replaced() -> None:
    """Question marks do not stand for letters."""
    verify_secret(basic("user:ключ".encode()), "ключ")
    with pytest.raises(InvalidSignature):
        verify_secret(basic(b"user:????"), "ключ")


@pytest.mark.parametrize("query", ["?secret=a+b%26c", "?secret=a%2Bb%26c"])
def test_a_plus(query: str) -> None:
    """A + in a query is itself."""
    verify_secret(request(query), "a+b&c")


def test_a_space() -> None:
    """A + in a query is a space as well, as forms have it."""
    verify_secret(request("?secret=a+b"), "a b")


@given(secret=st.text(min_size=1), other=st.text(min_size=1))
def test_only_the_same_text_passes(secret: str, other: str) -> None:
    """Whatever the secret is, it passes, and another text does not."""
    password = b64encode(b"u:" + secret.encode(errors="surrogatepass")).decode()
    verify_secret(request(authorization=f"Basic {password}"), secret)
    if other != secret:
        password = b64encode(b"u:" + other.encode(errors="surrogatepass")).decode()
        in_latin_1 = secret.encode(errors="surrogatepass") if max(secret) <= "\xff" else b""
        if other.encode(errors="surrogatepass") != in_latin_1:
            try:
                verify_secret(request(authorization=f"Basic {password}"), secret)
            except InvalidSignature:
                return
            assert other.encode(errors="surrogatepass") == secret.encode("latin-1")
