"""The secrets of a subscription, and the headers that are signed with them.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import UUID

from standardwebhooks import Webhook

PREFIX = "whsec_"
SECRET_BYTES = (24, 64)
# Seconds for which a secret that was replaced still signs.
FORMER_SECONDS = 24 * 3600.0
_MADE_BYTES = 32


def new_secret() -> str:
    """A new random secret."""
    return PREFIX + base64.b64encode(os.urandom(_MADE_BYTES)).decode()


def check_secret(secret: str) -> None:
    """Raise `ValueError`, which says what a secret must look like, for a malformed one."""
    least, most = SECRET_BYTES
    try:
        size = len(base64.b64decode(secret.removeprefix(PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if not secret.startswith(PREFIX) or not least <= size <= most:
        raise ValueError(f"must be {PREFIX} and then {least} to {most} bytes in base64")


def with_secret(secrets: Mapping[str, str], secret: str) -> dict[str, str]:
    """The secrets after a change: the former one is kept, the one before that is not."""
    return {"secret": secret, "former": secrets["secret"]}


def headers(
    secrets: Mapping[str, str],
    event_id: UUID,
    body: bytes,
    now: datetime,
    *,
    is_rotating: bool,
) -> dict[str, str]:
    """The headers of one attempt at `now`, signed with each valid secret."""
    counting = ["secret", "former"] if is_rotating and "former" in secrets else ["secret"]
    text = body.decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "omnichannel-gateway",
        "webhook-id": str(event_id),
        "webhook-timestamp": str(int(now.astimezone(UTC).timestamp())),
        "webhook-signature": " ".join(
            Webhook(secrets[name]).sign(str(event_id), now.astimezone(UTC), text)
            for name in counting
        ),
    }
