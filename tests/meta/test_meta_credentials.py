"""What a Meta account needs, and where its token may go."""

import pytest

from channels.errors import InvalidCredentials
from channels.providers.meta import authorize, validate_credentials
from tests.meta.values import account

BEARER = {"Authorization": "Bearer token"}
LEAST = {"access_token": "EAAG", "phone_number_id": "1065", "app_secret": "abc"}


def problems(**given: str) -> tuple[tuple[str, str], ...]:
    """What is wrong with these credentials."""
    with pytest.raises(InvalidCredentials) as raised:
        validate_credentials(given)
    return raised.value.problems


def test_credentials_in_their_right_form() -> None:
    """Spaces around are taken off, what is empty is left out, the optional ones are kept."""
    more = {"verify_token": "v", "business_account_id": "1022", "app_secret_secondary": "old"}
    given = {**LEAST, "access_token": " EAAG\n", "verify_token": " "}
    assert validate_credentials(given) == LEAST
    assert validate_credentials(LEAST | more) == LEAST | more


def test_credentials_that_cannot_be() -> None:
    """Every problem is named at once, and none shows a value."""
    assert problems() == (
        ("access_token", "is missing"),
        ("app_secret", "is missing"),
        ("phone_number_id", "is missing"),
    )
    assert problems(**LEAST | {"phone_number_id": "1/2", "token": "x", "verify_token": "a b"}) == (
        ("phone_number_id", "has characters, or a length, that it cannot have"),
        ("token", "is not a name that Meta accounts have"),
        ("verify_token", "has characters, or a length, that it cannot have"),
    )


@pytest.mark.parametrize(
    ("url", "api_url", "is_sent"),
    [
        ("https://graph.facebook.com/v25.0/123", None, True),
        ("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1", None, True),
        ("https://graph.facebook.com:443/v25.0/123", None, True),
        ("https://graph.facebook.com/v25.0/123", "http://127.0.0.1:9090", True),
        ("http://127.0.0.1:9090/v25.0/123", "http://127.0.0.1:9090/", True),
        ("http://graph.facebook.com/v25.0/123", None, False),
        ("https://graph.facebook.com:8443/v25.0/123", None, False),
        ("https://graph.facebook.com.evil.example/v25.0/123", None, False),
        ("https://evil.example/?graph.facebook.com", None, False),
        ("https://graph.facebook.com@evil.example/", None, False),
        ("https://user@graph.facebook.com/", None, False),
        ("http://127.0.0.1:9091/v25.0/123", "http://127.0.0.1:9090", False),
        ("https://127.0.0.1:9090/v25.0/123", "http://127.0.0.1:9090", False),
        ("/v25.0/123", "http://127.0.0.1:9090", False),
        ("https://graph.facebook.com:port/", None, False),
        ("", None, False),
    ],
)
def test_where_the_token_goes(url: str, api_url: str | None, is_sent: bool) -> None:  # noqa: FBT001
    """The token goes to Meta's own hosts over TLS, or to the account's own base address."""
    assert authorize(account(api_url), url) == (BEARER if is_sent else {})


def test_no_token_no_header() -> None:
    """An account without a token authorizes nothing."""
    assert authorize(account(access_token=""), "https://graph.facebook.com/v25.0/1") == {}
