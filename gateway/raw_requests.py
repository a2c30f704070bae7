"""Webhook requests as they came, kept for a while as evidence: without what is secret in them."""

from __future__ import annotations

import re

from channels.model import Account
from gateway.ids import new_id
from gateway.store.reports import RawRequest
from gateway.store.values import storable
from webhooks.model import WebhookRequest

_KEPT_HEADERS = ("content-type", "user-agent", "i-twilio-idempotency-token")
_SECRET = re.compile(r"([?&]secret=)[^&#]*", re.IGNORECASE)


def raw_request(account: Account, request: WebhookRequest) -> RawRequest:
    """What is kept of a request that `account` has made."""
    return RawRequest(
        organization_id=account.organization_id,
        id=new_id(),
        account_id=account.id,
        provider=account.provider,
        event=request.event,
        method=request.method,
        url=_without_secret(storable(request.url)),
        headers={k: storable(request.headers[k]) for k in _KEPT_HEADERS if k in request.headers},
        body=request.body,
    )


def _without_secret(url: str) -> str:
    """A secret that rides in the URL does not rest in it."""
    # Most have none; as the pattern, without regard to case.
    return _SECRET.sub(r"\1***", url) if "secret" in url.casefold() else url
