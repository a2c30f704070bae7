"""How SendGrid refuses: https://www.twilio.com/docs/sendgrid/api-reference/how-to-use-the-sendgrid-v3-api/responses."""

from __future__ import annotations

import orjson
from aiohttp import web

from gateway.simulator.intake import ProviderError

HELP = "https://sendgrid.api-docs.io/v3.0/how-to-use-the-sendgrid-v3-api/responses"
WORDS = {
    400: "Bad Request",
    401: "The provided authorization grant is invalid, expired, or revoked",
    403: "The from address does not match a verified Sender Identity.",
    404: "not found",
    405: "method not allowed",
    413: "The JSON payload you have included in your request is too large.",
    415: "Content-Type should be application/json.",
    429: "too many requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

# What is wrong with a mail: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/errors
NO_TO = (
    "The to array is required for all personalization objects, and must have at least "
    "one email object with a valid email address."
)
DUPLICATE = (
    "Each email address in the personalization block should be unique between "
    "to, cc, and bcc. We found the first duplicate instance of "
    "[{email}] in the {where} field."
)
NO_SUBJECT = (
    "The subject is required. You can get around this requirement if you use a "
    "template with a subject defined or if every personalization has a subject "
    "defined."
)
NO_FROM = (
    "The from object must be provided for every email send. It is an object that requires "
    "the email parameter, but may also contain a name parameter."
)
NO_CONTENT = (
    "Unless a valid template_id is provided, the content parameter is required. There must "
    "be at least one defined content block."
)
ORDER = (
    "If present, text/plain content must be first, followed by text/html, followed by any "
    "other content."
)
UNVERIFIED = (
    "The from address does not match a verified Sender Identity. Mail cannot be sent until this "
    "error is resolved."
)


class SendGridError(ProviderError):
    """A request that SendGrid refuses, with every problem as (field, message)."""

    def __init__(self, status: int, *problems: tuple[str | None, str]) -> None:
        """Answer with the `problems`, or else with the words for `status`."""
        super().__init__(status)
        self.status = status
        self.code = None
        self._problems = problems or ((None, WORDS.get(status, "error")),)

    def response(self) -> web.Response:
        """The answer: `{"errors": [{message, field, help}]}`."""
        errors = [
            {"message": message, "field": field, "help": HELP if field else None}
            for field, message in self._problems
        ]
        answer = web.Response(
            status=self.status,
            body=orjson.dumps({"errors": errors}),
            content_type="application/json",
        )
        if self.status == 429:
            answer.headers.update(
                {
                    "X-RateLimit-Limit": "600",
                    "X-RateLimit-Remaining": "0",
                    "X-RateLimit-Reset": "1",
                    "Retry-After": "1",
                }
            )
        return answer
