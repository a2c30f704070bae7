"""How Twilio refuses: codes, texts and the error body (https://www.twilio.com/docs/api/errors)."""

from __future__ import annotations

from collections.abc import Mapping

import orjson
from aiohttp import web

from gateway.simulator.intake import ProviderError

# code -> (HTTP status, text); {to} and {from_} are filled in.
ERRORS: Mapping[int, tuple[int, str]] = {
    20001: (400, "Bad request"),
    20003: (401, "Authenticate"),
    20004: (405, "Method not allowed"),
    20009: (409, "Cannot delete this Message: its delivery has not been completed"),
    20404: (404, "The requested resource {path} was not found"),
    20413: (413, "Request entity too large"),
    20429: (429, "Too Many Requests"),
    20500: (500, "An internal server error has occurred"),
    20503: (503, "Service unavailable"),
    21201: (400, "No 'To' number is specified"),
    21205: (400, "Url is not a valid URL: {url}"),
    21210: (400, "'From' phone number not verified: {from_}"),
    21211: (400, "Invalid 'To' Phone Number: {to}"),
    21212: (
        400,
        (
            "The 'From' number {from_} is not a valid phone number, shortcode, or alphanumeric "
            "sender ID."
        ),
    ),
    21213: (400, "A 'From' phone number is required."),
    21214: (400, "'To' phone number cannot be reached: {to}"),
    21215: (400, "Account not authorized to call {to}. Perhaps you need some permissions?"),
    21216: (400, "Account not allowed to call {to}"),
    21217: (400, "Phone number does not appear to be valid: {to}"),
    21218: (400, "Invalid ApplicationSid"),
    21220: (400, "Invalid call state: the call is not in-progress. Cannot redirect."),
    21408: (
        400,
        (
            "Permission to send an SMS has not been enabled for the region indicated by the "
            "'To' number: {to}"
        ),
    ),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21606: (
        400,
        (
            "The 'From' phone number provided ({from_}) is not a valid message-capable Twilio "
            "phone number for this destination"
        ),
    ),
    21609: (400, "The 'StatusCallback' URL is not a valid URL."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21611: (400, "This 'From' number has exceeded the maximum number of queued messages"),
    21612: (
        400,
        (
            "The 'To' phone number: {to}, is not currently reachable using the 'From' phone "
            "number: {from_} via SMS."
        ),
    ),
    21614: (400, "'To' number: {to}, is not a valid mobile number"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
    21620: (400, "Invalid media URL(s)"),
    21623: (400, "Number of media files exceeds allowed limit"),
    21624: (400, "Invalid validity period value"),
    21655: (400, "The ContentSid is Invalid"),
    21656: (400, "The ContentVariables Parameter is invalid"),
    21701: (400, "The Messaging Service does not exist"),
    21910: (400, "Invalid 'From' and 'To' pair. 'From' and 'To' should be of the same channel"),
    30409: (409, "This message cannot be canceled"),
    35111: (400, "SendAt parameter missing"),
    35115: (400, "Scheduling does not support this timestamp"),
    35118: (400, "MessagingServiceSid is required to schedule a message"),
    63007: (400, "Twilio could not find a Channel with the specified From address"),
}


class ApiError(ProviderError):
    """A request that Twilio refuses: `code` is Twilio's, the answer is its error body."""

    def __init__(
        self, code: int, named: Mapping[str, str] | None = None, *, status: int | None = None
    ) -> None:
        """Fill `named` into the text of `code`; unknown codes have a generic text."""
        known, text = ERRORS.get(code, (400, f"Error {code}"))
        super().__init__(code)
        self.code: int = code
        self.status = status or known
        self.text = text.format_map({"to": "", "from_": "", "path": "", "url": "", **(named or {})})

    def response(self) -> web.Response:
        """The answer: `{code, message, more_info, status}`."""
        answer = web.Response(
            status=self.status,
            content_type="application/json",
            body=orjson.dumps(
                {
                    "code": self.code,
                    "message": self.text,
                    "more_info": f"https://www.twilio.com/docs/errors/{self.code}",
                    "status": self.status,
                }
            ),
        )
        if self.status == 429:
            answer.headers["Retry-After"] = "1"
        if self.status == 401:
            answer.headers["WWW-Authenticate"] = 'Basic realm="Twilio API"'
        return answer
