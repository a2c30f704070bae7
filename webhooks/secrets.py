"""Webhooks without a signature, but with a secret in their URL: `user:secret@` or `?secret=`.

HTTP clients send the first as the password of Basic authentication (RFC 7617).
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from urllib.parse import unquote_to_bytes

from webhooks.model import InvalidSignature, WebhookRequest


def verify_secret(request: WebhookRequest, secret: str | None) -> None:
    """Return if the request has the secret; else raises `InvalidSignature`.

    As the password of Basic authentication, for any user, or as the query parameter `secret`.
    """
    if not secret:
        raise InvalidSignature("The account has no secret to verify with.")
    given = _password(request) + _parameter(request)
    if not given:
        raise InvalidSignature("The request carries no secret.")
    right = [hmac.compare_digest(each, form) for each in given for form in _forms(secret)]
    if not any(right):
        raise InvalidSignature("The secret is not that of this account.")


def _password(request: WebhookRequest) -> list[bytes]:
    """The password of Basic authentication, if there is one."""
    scheme, _, credentials = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() != "basic":
        return []
    try:
        _, colon, password = b64decode(credentials.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError) as error:
        raise InvalidSignature("The credentials of the request cannot be read.") from error
    if not colon:
        raise InvalidSignature("The credentials of the request have no password.")
    return [password]


def _parameter(request: WebhookRequest) -> list[bytes]:
    """The query parameter `secret`, read with + as itself, and as a space."""
    query = request.url.partition("#")[0].partition("?")[2]
    values = [part[7:] for part in query.split("&") if part.startswith("secret=")]
    if len(values) > 1:
        raise InvalidSignature("The request carries more than one secret.")
    raw = [value.encode(errors="surrogatepass") for value in values]
    return [unquote_to_bytes(each) for value in raw for each in (value, value.replace(b"+", b" "))]


def _forms(secret: str) -> list[bytes]:
    """The secret as clients encode it: in UTF-8, or older ones in Latin-1."""
    utf_8 = secret.encode(errors="surrogatepass")
    return [utf_8, secret.encode("latin-1")] if max(secret) <= "\xff" else [utf_8]
