"""Webhook requests as they came, kept for a while, without the secrets in them."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from channels.model import Account
from gateway.ids import new_id
from gateway.store.requests import RawRequest
from gateway.store.values import storable
from webhooks.model import WebhookRequest

# Headers that webhook halves read and that contain no secrets.
_KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "i-twilio-idempotency-token",
    "x-envelope-from",
    "x-envelope-to",
)
# Query parameters with a secret: our own, and that of Meta's handshake
# https://developers.facebook.com/docs/graph-api/webhooks/getting-started
_SECRETS = ("secret", "hub.verify_token")
_PARAMETER = re.compile(r"(?<=[?&])([^=&#?]*+)=[^&#]*+")
_USER = re.compile(r"^(https?://)[^/?#]*@")


def raw_request(account: Account, request: WebhookRequest) -> RawRequest:
    """A request to the webhook of `account`, as it is kept."""
    return RawRequest(
        organization_id=account.organization_id,
        id=new_id(),
        account_id=account.id,
        provider=account.provider,
        event=request.event,
        method=request.method,
        url=without_secrets(storable(request.url)),
        headers={k: storable(request.headers[k]) for k in _KEPT_HEADERS if k in request.headers},
        body=request.body,
    )


def without_secrets(url: str) -> str:
    """The URL with its secret masked, and without user and password.

    They are not needed any more: a stored request is not verified again.
    """
    return _PARAMETER.sub(_masked, _USER.sub(r"\1", url))


def _masked(parameter: re.Match[str]) -> str:
    # The name is decoded as verifying decodes it.
    is_secret = unquote_plus(parameter[1]).casefold() in _SECRETS
    return f"{parameter[1]}=***" if is_secret else parameter[0]
