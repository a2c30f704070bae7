"""How the Graph API refuses: https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes."""

from __future__ import annotations

import orjson
from aiohttp import web

from gateway.simulator.intake import ProviderError

# code -> (HTTP status, title, details)
ERRORS = {
    0: (401, "AuthException", "We were unable to authenticate the app user."),
    4: (429, "Application request limit reached", "Too many calls of the app."),
    33: (400, "Unsupported request", "The object does not exist or cannot be loaded."),
    100: (400, "Invalid parameter", "The request included unsupported or misspelled parameters."),
    190: (401, "Invalid OAuth access token - Cannot parse access token", "The token is not valid."),
    130429: (429, "Rate limit hit", "Cloud API message throughput has been reached."),
    130472: (400, "User's number is part of an experiment", "The message was not sent."),
    131000: (500, "Something went wrong", "Message failed to send due to an unknown error."),
    131005: (403, "Access denied", "Permission is either not granted or has been removed."),
    131008: (400, "Required parameter is missing", "The request is missing a parameter."),
    131009: (400, "Parameter value is not valid", "One or more parameter values are invalid."),
    131016: (503, "Service unavailable", "A service is temporarily unavailable."),
    131021: (400, "Recipient cannot be sender", "Sender and recipient phone number is the same."),
    131026: (400, "Message undeliverable", "Message Undeliverable."),
    131047: (
        400,
        "Re-engagement message",
        (
            "Message failed to send because more than 24 hours have passed since the customer last "
            "replied to this number."
        ),
    ),
    131049: (400, "Message not delivered", "This message was not delivered to maintain health."),
    131051: (400, "Unsupported message type", "Message type is not currently supported."),
    131053: (400, "Media upload error", "Unable to upload the media used in the message."),
    131056: (400, "Pair rate limit hit", "Too many messages to the same recipient in short time."),
    132000: (
        400,
        "Number of parameters does not match the expected number of params",
        "The number of variable parameter values does not match the template.",
    ),
    132001: (404, "Template name does not exist in the translation", "There is no such template."),
}


def title(code: int) -> str:
    """The title of a code."""
    return ERRORS.get(code, (400, f"Error {code}", ""))[1]


def details(code: int) -> str:
    """The meaning of a code."""
    return ERRORS.get(code, (400, "", f"Error {code}"))[2]


class MetaError(ProviderError):
    """A request that the Graph API refuses: `code` is Meta's own."""

    def __init__(self, code: int, detail: str | None = None, *, status: int | None = None) -> None:
        """Use `detail` as the details, or else the meaning of the code."""
        super().__init__(code)
        self.code: int = code
        self.status = status or ERRORS.get(code, (400,))[0]
        self._detail = detail or details(code)

    def response(self) -> web.Response:
        """The answer: `{"error": {message, type, code, error_data, fbtrace_id}}`."""
        # A missing object has the code of a wrong parameter, with a subcode.
        code = 100 if self.code == 33 else self.code
        said = title(self.code) if code == 190 else f"(#{code}) {title(self.code)}"
        error: dict[str, object] = {
            "message": said,
            "type": "OAuthException",
            "code": code,
            "error_data": {"messaging_product": "whatsapp", "details": self._detail},
            "fbtrace_id": "AsimulatedTraceId000000",
        }
        if self.code == 33:
            error["error_subcode"] = 33
        answer = web.Response(
            status=self.status,
            body=orjson.dumps({"error": error}),
            content_type="application/json",
        )
        if self.status == 429:
            answer.headers["Retry-After"] = "1"
        if self.status == 401:
            answer.headers["WWW-Authenticate"] = 'OAuth "Facebook Platform" "invalid_token"'
        return answer
