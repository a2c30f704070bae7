"""What a SendGrid account is made of."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from channels.errors import InvalidCredentials
from channels.providers.sendgrid import public_keys, validate_credentials
from tests.sendgrid.values import KEY, OTHER_KEY, public

PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
ED25519 = base64.b64encode(
    ed25519.Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    .public_key()
    .public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
).decode()
# The key of an algorithm that nobody has: its object identifier is 1.2.3.4.5.
STRANGE = base64.b64encode(bytes.fromhex("300d300806042a0304050500030100")).decode()


def test_all_that_an_account_can_have() -> None:
    """Spaces around values and a key's armour fall off, empty values are left out."""
    given = {
        "api_key": " SG.key ",
        "webhook_public_key": f" {public(KEY)},{public(OTHER_KEY)}\n",
        "webhook_public_key_secondary": PEM,
        "inbound_secret": "hush",
        "region": "eu",
    }
    assert validate_credentials(given) == {
        "api_key": "SG.key",
        "webhook_public_key": f"{public(KEY)},{public(OTHER_KEY)}",
        "webhook_public_key_secondary": public(KEY),
        "inbound_secret": "hush",
        "region": "eu",
    }
    assert validate_credentials({"api_key": "k", "inbound_secret": " "}) == {"api_key": "k"}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["api_key"]),
        ({"api_key": "a b"}, ["api_key"]),
        ({"api_key": "k", "token": "x", "region": "mars"}, ["region", "token"]),
        ({"api_key": "k", "webhook_public_key": "!"}, ["webhook_public_key"]),
        ({"api_key": "k", "webhook_public_key": "AAAA"}, ["webhook_public_key"]),
        ({"api_key": "k", "webhook_public_key": "AAA"}, ["webhook_public_key"]),
        ({"api_key": "k", "webhook_public_key": ","}, ["webhook_public_key"]),
        ({"api_key": "k", "webhook_public_key": ED25519}, ["webhook_public_key"]),
        ({"api_key": "k", "webhook_public_key": STRANGE}, ["webhook_public_key"]),
    ],
)
def test_what_it_cannot_have(given: dict[str, str], names: list[str]) -> None:
    """Every problem is named, and no value."""
    with pytest.raises(InvalidCredentials) as raised:
        validate_credentials(given)
    assert [name for name, _ in raised.value.problems] == names


def test_keys_in_order() -> None:
    """The keys of both names, those before commas too."""
    held = {
        "webhook_public_key": f"{public(KEY)},{public(OTHER_KEY)}",
        "webhook_public_key_secondary": public(KEY),
    }
    numbers = [key.public_numbers() for key in public_keys(held)]
    first, second = KEY.public_key().public_numbers(), OTHER_KEY.public_key().public_numbers()
    assert numbers == [first, second, first]
