"""What a Resend account is made of, and to whom its key is shown."""

import pytest

from channels.errors import InvalidCredentials
from channels.providers.resend import authorize, validate_credentials
from tests.resend.values import SECRET, account

BEARER = {"Authorization": "Bearer re_key"}


def test_credentials() -> None:
    """The key is needed, the secret is not; spaces around are cut off."""
    assert {"api_key": "k", "webhook_secret": SECRET} == validate_credentials(
        {"api_key": " k ", "webhook_secret": f"{SECRET} "}
    )
    assert {"api_key": "k"} == validate_credentials({"api_key": "k", "webhook_secret": ""})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["api_key"]),
        ({"api_key": "a b", "x": "1"}, ["api_key", "x"]),
        ({"api_key": "k", "webhook_secret": "whsec_"}, ["webhook_secret"]),
        ({"api_key": "k", "webhook_secret": "whsec_umläut"}, ["webhook_secret"]),
        ({"api_key": "k", "webhook_secret": "whsec_abcdefghi"}, ["webhook_secret"]),
    ],
)
def test_wrong_credentials(given: dict[str, str], names: list[str]) -> None:
    """Every problem is named at once, and no value."""
    with pytest.raises(InvalidCredentials) as raised:
        validate_credentials(given)
    assert names == [name for name, _ in raised.value.problems]


@pytest.mark.parametrize(
    "url",
    [
        "https://api.resend.com/emails/receiving/x",
        "https://api.resend.com:443/emails/receiving/x",
        "http://127.0.0.1:9090/emails/receiving/x",
    ],
)
def test_hosts_that_get_the_key(url: str) -> None:
    """Resend's own, and the stand-in that the account is told of."""
    assert BEARER == authorize(account("http://127.0.0.1:9090"), url)


@pytest.mark.parametrize(
    "url",
    [
        "http://api.resend.com/x",
        "https://api.resend.com.example.com/x",
        "https://api.resend.com@example.com/x",
        "https://user@api.resend.com/x",
        "https://api.resend.com:8443/x",
        "https://inbound-cdn.resend.com/x",
        "https://127.0.0.1:9090/x",
        "http://127.0.0.1:9091/x",
        "https://[x/y",
        "",
    ],
)
def test_hosts_that_do_not(url: str) -> None:
    """No other host, port or scheme sees it."""
    assert {} == authorize(account("http://127.0.0.1:9090"), url)
    assert {} == authorize(account(), url)


def test_no_key() -> None:
    """An account without a key shows none."""
    assert {} == authorize(account(api_key=""), "https://api.resend.com/x")
