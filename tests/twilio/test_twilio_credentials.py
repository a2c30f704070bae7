"""Which credentials a Twilio account can have."""

import pytest

from channels.errors import InvalidCredentials
from channels.providers.twilio import validate_credentials

USUAL = {"account_sid": "AC1", "auth_token": "secret"}


def test_credentials_that_are_kept() -> None:
    """The usual two are enough; all six are kept, empty ones left out, spaces cut off."""
    every = USUAL | {
        "auth_token_secondary": "other",
        "api_key_sid": "SK1",
        "api_key_secret": "s+/=",
        "messaging_service_sid": "MG1",
    }
    assert validate_credentials(USUAL) == USUAL
    assert validate_credentials(every) == every
    assert validate_credentials(USUAL | {"api_key_sid": "", "auth_token": " secret\n"}) == USUAL


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["account_sid", "auth_token"]),
        ({"account_sid": "AC1", "auth_token": " "}, ["auth_token"]),
        (USUAL | {"account_sid": "AC1/../x"}, ["account_sid"]),
        (USUAL | {"auth_token": "hidden value"}, ["auth_token"]),
        (USUAL | {"auth_token": "x" * 300}, ["auth_token"]),
        (USUAL | {"api_key_sid": "SK1"}, ["api_key_secret"]),
        (USUAL | {"api_key_secret": "s"}, ["api_key_sid"]),
        (USUAL | {"token": "x", "sid": "y"}, ["sid", "token"]),
        ({"token": "x"}, ["account_sid", "auth_token", "token"]),
    ],
)
def test_every_problem_is_named_and_no_value(given: dict[str, str], names: list[str]) -> None:
    """All wrong names are told at once, and never what stood there."""
    with pytest.raises(InvalidCredentials) as raised:
        validate_credentials(given)
    assert [name for name, _ in raised.value.problems] == names
    assert "hidden" not in str(raised.value)
