"""What a Mailgun account is made of, and to whom its key is shown."""

import base64

import pytest

from channels.errors import InvalidCredentials
from channels.providers.mailgun import authorize, validate_credentials
from tests.mailgun.values import account

BASIC = {"Authorization": "Basic " + base64.b64encode(b"api:key-1").decode()}


def test_all_that_an_account_can_have() -> None:
    """Spaces around values fall off, empty values are left out."""
    given = {
        "api_key": " key-1 ",
        "domain": "mg.example.com",
        "webhook_signing_key": "key",
        "region": "eu",
    }
    assert validate_credentials(given) == given | {"api_key": "key-1"}
    few = {"api_key": "k", "domain": "d", "region": ""}
    assert validate_credentials(few) == {"api_key": "k", "domain": "d"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["api_key", "domain"]),
        ({"api_key": "a b", "domain": "d"}, ["api_key"]),
        ({"api_key": "k", "domain": ".."}, ["domain"]),
        ({"api_key": "k", "domain": "a/b"}, ["domain"]),
        ({"api_key": "k", "domain": "d", "region": "mars", "token": "x"}, ["region", "token"]),
    ],
)
def test_what_it_cannot_have(given: dict[str, str], names: list[str]) -> None:
    """Every problem is named, and no value."""
    with pytest.raises(InvalidCredentials) as raised:
        validate_credentials(given)
    assert [name for name, _ in raised.value.problems] == names


@pytest.mark.parametrize(
    "url",
    [
        "https://api.mailgun.net/v3/domains/example.com/messages/key",
        "https://api.eu.mailgun.net/v3/x",
        "https://sw.api.mailgun.net/v3/x",
        "https://storage-us-east4.api.mailgun.net/v3/x",
        "http://127.0.0.1:9090/v3/x",
    ],
)
def test_hosts_that_get_the_key(url: str) -> None:
    """Mailgun's own, and the stand-in that the account is told of."""
    assert authorize(account("http://127.0.0.1:9090"), url) == BASIC


@pytest.mark.parametrize(
    "url",
    [
        "http://api.mailgun.net/v3/x",
        "https://api.mailgun.net.example.com/x",
        "https://api.mailgun.net@example.com/x",
        "https://user@api.mailgun.net/x",
        "https://api.mailgun.net:8443/x",
        "https://evilapi.mailgun.net/x",
        "https://www.mailgun.net/x",
        "https://[x/y",
        "https://127.0.0.1:9090/x",
        "http://127.0.0.1:9091/x",
        "",
    ],
)
def test_hosts_that_do_not(url: str) -> None:
    """No other host, port or scheme sees it."""
    assert authorize(account("http://127.0.0.1:9090"), url) == {}
    assert authorize(account(), url) == {}
