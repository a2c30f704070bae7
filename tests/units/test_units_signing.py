"""What subscriptions are told is signed as Standard Webhooks says."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime
from uuid import UUID

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.subscriptions.signing import check_secret, headers, new_secret, with_secret

ID = UUID("01a21844-8591-75d8-a3a1-be0ef12a9f2a")
BODY = '{"type":"message.delivered","data":{"body":"Grüße"}}'.encode()
OF_24, OF_64 = ("whsec_" + base64.b64encode(b"k" * n).decode() for n in (24, 64))


def test_the_vector_of_the_library() -> None:
    """The library signs as svix's published vector says: this is the scheme that receivers know."""
    signed = Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        datetime.fromtimestamp(1614265330, UTC),
        '{"test": 2432232314}',
    )
    assert "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" == signed


def test_a_signature_by_hand() -> None:
    """HMAC-SHA256 over id, seconds and the exact bytes, by the bytes of the secret."""
    now = datetime.fromtimestamp(1614265330.9, UTC)
    made = headers({"secret": OF_24}, ID, BODY, now, is_rotating=False)
    signed = hmac.digest(b"k" * 24, f"{ID}.1614265330.".encode() + BODY, hashlib.sha256)

    assert {
        "Content-Type": "application/json",
        "User-Agent": "omnichannel-gateway",
        "webhook-id": str(ID),
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1," + base64.b64encode(signed).decode(),
    } == made


def test_both_secrets_sign_while_they_are_changed() -> None:
    """Receivers with the new secret and those with the one before take it, those with an older one
    do not; afterwards the new one alone signs."""
    first, second, third = new_secret(), new_secret(), new_secret()
    secrets = with_secret(with_secret({"secret": first}, second), third)
    now = datetime.now(UTC)
    rotating = headers(secrets, ID, BODY, now, is_rotating=True)
    after = headers(secrets, ID, BODY, now, is_rotating=False)

    for secret in (second, third):
        Webhook(secret).verify(BODY, rotating)
    Webhook(third).verify(BODY, after)
    for secret, told in ((first, rotating), (second, after)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, told)


def test_what_is_a_secret() -> None:
    """24 to 64 bytes in base64 behind whsec_; those that are made are secrets, each its own."""
    for secret in (OF_24, OF_64, new_secret()):
        check_secret(secret)
    assert new_secret() != new_secret()
    of_23, of_65 = ("whsec_" + base64.b64encode(b"k" * n).decode() for n in (23, 65))
    for text in (of_23, of_65, OF_24[6:], "whsec_", "whsec_" + "é" * 40, OF_24 + "!", "WHSEC_"):
        with pytest.raises(ValueError, match="must be whsec_ and then 24 to 64 bytes in base64"):
            check_secret(text)
