"""Amazon SES, the send half: e-mail through SendEmail of its API v2, as a whole MIME message.

Docs: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html. Signed with AWS
Signature Version 4 (`channels.aws`). There is no idempotency key, and no way to ask what was taken:
if an answer is lost, only a report can tell. Our id is sent as a tag, which the events of a
configuration set repeat. SES replaces our Message-ID with its own: the one that the recipient sees
is `message_id` in the detail.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import aiohttp

from channels import credentials, mime
from channels.aws import Signer
from channels.errors import AnswerLost, CannotAsk, Refused, RefusedForNow
from channels.http import Answer, Limits, ask, json_object, retry_after, words_of
from channels.leaving import built
from channels.model import Account, Channel, Outbound, Sent

PATH: Final = "/v2/email/outbound-emails"
SERVICE: Final = "ses"
TAG: Final = "message_id"

TOPIC: Final = re.compile(
    r"arn:aws[a-z-]{0,20}:sns:[a-z0-9-]{1,40}:[0-9]{1,20}:[\w-]{1,256}", re.ASCII
)

CREDENTIALS: Final = {
    "access_key_id": re.compile(r"[A-Za-z0-9_]{1,128}"),
    "secret_access_key": re.compile(r"[!-~]{1,256}"),
    "session_token": re.compile(r"[!-~]{1,4096}"),
    "region": re.compile(r"[a-z]{2,8}(-[a-z]{1,20}){1,3}-[0-9]{1,2}"),
    "topic_arn": TOPIC,
    "inbound_topic_arn": TOPIC,
    "configuration_set": re.compile(r"[A-Za-z0-9_-]{1,64}"),
}
REQUIRED = ("access_key_id", "secret_access_key", "region")

# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html#API_SendEmail_Errors
RETRYABLE = frozenset(
    {
        "LimitExceeded", "RequestLimitExceeded", "RequestThrottled", "Throttling",
        "TooManyRequests", "ServiceUnavailable",
    }
)  # fmt: skip

REASONS: Final = {
    "AccessDenied": "The AWS credentials do not allow to send through SES.",
    "AccountSuspended": "The SES account may not send any more: AWS has suspended it.",
    "InvalidSignature": "AWS does not accept the account's secret_access_key.",
    "LimitExceeded": "The SES account's limit is reached.",
    "MailFromDomainNotVerified": "The sender's MAIL FROM domain is not verified at SES.",
    "MessageRejected": "SES rejected the mail.",
    "NotFound": "SES does not know the configuration set.",
    "SendingPaused": "Sending is paused for this SES account or configuration set.",
    "ServiceUnavailable": "SES is not available for a moment.",
    "Throttling": "SES asks to send more slowly.",
    "TooManyRequests": "SES asks to send more slowly.",
    "UnrecognizedClient": "AWS does not know the account's access_key_id.",
}


def validate_credentials(given: Mapping[str, str]) -> dict[str, str]:
    """The credentials, empty ones left out; raises `InvalidCredentials` with every problem."""
    return credentials.check(given, CREDENTIALS, provider="SES", required=REQUIRED)


def build(account: Account, outbound: Outbound) -> bytes:
    """The body of POST /v2/email/outbound-emails; raises `Refused` for what is no mail."""
    if outbound.channel != Channel.EMAIL:
        raise Refused(f"SES does not carry {outbound.channel}.", code="channel")
    body: dict[str, Any] = {
        "FromEmailAddress": outbound.from_address,
        "Destination": {"ToAddresses": [outbound.to_address]},
        "Content": {"Raw": {"Data": b64encode(mime.as_bytes(outbound)).decode()}},
        "EmailTags": [{"Name": TAG, "Value": str(outbound.message_id)}],
    }
    if name := account.credentials.get("configuration_set"):
        body["ConfigurationSetName"] = name
    return json.dumps(body).encode()


def read(answer: Answer, region: str) -> Sent:
    """The answer of SES to a mail; raises a `SendError` if it did not take it."""
    payload = json_object(answer.text)
    if not 200 <= answer.status < 300:
        raise _refusal(answer, payload)
    external_id = payload.get("MessageId")
    if not isinstance(external_id, str) or not re.fullmatch(r"[!-?A-~]{1,128}", external_id):
        raise AnswerLost("The answer of SES names no message.", code="unreadable")
    # https://docs.aws.amazon.com/ses/latest/dg/header-fields.html
    domain = "email" if region == "us-east-1" else region
    seen = f"{external_id}@{domain}.amazonses.com"
    return Sent(external_id=external_id, detail={"message_id": seen})


def _refusal(answer: Answer, payload: Mapping[str, Any]) -> Refused | RefusedForNow | AnswerLost:
    status, code = answer.status, _code(answer, payload)
    message = words_of(payload.get("message", payload.get("Message")))
    message = message or REASONS.get(code or "") or f"SES answered with HTTP status {status}."
    # SES itself says that it did nothing; another 5xx may come from a proxy in between.
    if status == 429 or (code in RETRYABLE and (status < 500 or status == 503)):
        return RefusedForNow(message, code=code, retry_after=retry_after(answer.headers))
    if status >= 500 or status == 408:
        return AnswerLost(message, code=code or f"http-{status}")
    return Refused(message, code=code or f"http-{status}")


def _code(answer: Answer, payload: Mapping[str, Any]) -> str | None:
    """The error's name in `MessageRejected:http://...` or `com.amazonaws.ses#MessageRejected`."""
    given = answer.headers.get("x-amzn-errortype") or payload.get("__type")
    name = str(given or "").partition(":")[0].rpartition("#")[2].removesuffix("Exception")
    return name if re.fullmatch(r"[A-Za-z]{1,64}", name) else None


def endpoint(region: str) -> str:
    """The base URL of SES in a region."""
    return f"https://email.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ses:
    """The send half (`channels.model.SendHalf`)."""

    limits: Limits = field(default_factory=Limits)

    async def send(
        self,
        account: Account,
        outbound: Outbound,
        session: aiohttp.ClientSession,
        _callback_url: str,
    ) -> Sent:
        """Hand a mail to SES with one POST; raises a `SendError`."""
        held = account.credentials
        if not all(held.get(name) for name in REQUIRED):
            raise Refused("The SES account's credentials are incomplete.", code="credentials")
        signer = Signer(
            access_key_id=held["access_key_id"],
            secret_access_key=held["secret_access_key"],
            region=held["region"],
            service=SERVICE,
            session_token=held.get("session_token"),
        )
        body = await built(build, account, outbound)
        url = (account.api_url or endpoint(held["region"])).rstrip("/") + PATH
        headers = {"Content-Type": "application/json"}
        answer = await ask(
            session,
            "POST",
            url,
            provider="SES",
            headers=signer.sign("POST", url, headers, body, datetime.now(UTC)),
            body=body,
            limits=self.limits,
        )
        return read(answer, held["region"])

    async def find(
        self,
        _account: Account,
        _outbound: Outbound,
        _session: aiohttp.ClientSession,
        _since: datetime,
    ) -> list[Sent]:
        """SES has no list of what it took; raises `CannotAsk`."""
        raise CannotAsk("SES cannot be asked what it took: only its reports tell.", code="no-list")


half = Ses()
