"""SMTP, the webhook half: mails that the operator's own mail server passes on.

The server pipes each mail into a POST of the raw message (RFC 5322), answers and bounces alike
(docs/operating.md). Not signed: HTTP Basic auth with the account's `webhook_secret`, or `secret`
in the URL. The envelope may come in the headers X-Envelope-From (which may be empty) and
X-Envelope-To.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from channels.model import Account
from webhooks import mail
from webhooks.model import Reply, Unknown, Unreadable, WebhookEvent, WebhookRequest
from webhooks.secrets import verify_secret

EVENTS: Final = ("inbound",)


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if the request has the account's secret; else raises `InvalidSignature`."""
    verify_secret(request, account.credentials.get("webhook_secret"))


def parse(request: WebhookRequest) -> Sequence[WebhookEvent]:
    """The mail, or what a bounce or a complaint reports; raises `Unreadable`."""
    if request.event not in EVENTS:
        return [Unknown(word=request.event)]
    if not request.body.strip():
        raise Unreadable("The body holds no mail.")
    recipient = request.headers.get("x-envelope-to")
    return mail.events(
        request.body,
        provider="smtp",
        sender=request.headers.get("x-envelope-from"),
        recipients=(recipient,) if recipient else (),
    )


def reply(
    _request: WebhookRequest,
    _events: Sequence[WebhookEvent],
    _account: Account,
) -> Reply:
    """The mail server only looks at the status."""
    return Reply(status=204)
