"""Twilio's signature: HMAC-SHA1 over the public URL and the sorted parameters.

https://www.twilio.com/docs/usage/webhooks/webhooks-security; keyed with the auth token. A body that
is no form is signed through bodySHA256 in the URL. The signed URL may have the port or not.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256

from channels.model import Account
from webhooks.model import InvalidSignature, WebhookRequest
from webhooks.twilio.parameters import as_bytes, is_form, pairs_of

# Twilio's forms have some forty parameters; the limits bound what a stranger's form costs us.
MOST_PARAMETERS, MOST_BYTES = 1000, 2**20
PORTS = {"https": "443", "http": "80"}


def verify(request: WebhookRequest, account: Account) -> None:
    """Return if the account's auth token has signed the request; else raises `InvalidSignature`."""
    given = request.headers.get("x-twilio-signature", "").encode(errors="replace")
    if not given:
        raise InvalidSignature("The request has no X-Twilio-Signature.")
    names = ("auth_token", "auth_token_secondary")
    tokens = [token for name in names if (token := account.credentials.get(name))]
    if not tokens:
        raise InvalidSignature("The account has no auth token to verify with.")
    _verify_body_hash(request)
    parameters = _signed_parameters(request)
    for url in _urls(request.url):
        signed = as_bytes(url) + parameters
        for token in tokens:
            digest = hmac.digest(token.encode(), signed, "sha1")
            if hmac.compare_digest(b64encode(digest), given):
                return
    raise InvalidSignature("The signature is not that of this account.")


def _verify_body_hash(request: WebhookRequest) -> None:
    """A body that is no form must have its hash in the URL; a hash must always be right."""
    _, _, query = request.url.partition("?")
    hashes = []
    if "bodySHA256=" in query:
        hashes = [part[11:] for part in query.split("&") if part.startswith("bodySHA256=")]
    if hashes:
        right = sha256(request.body).hexdigest().encode()
        if not hmac.compare_digest(right, hashes[0].encode(errors="replace")):
            raise InvalidSignature("The body is not the one that was signed.")
    elif request.body and request.method == "POST" and not is_form(request):
        raise InvalidSignature("The body is neither a form nor signed through bodySHA256.")


def _signed_parameters(request: WebhookRequest) -> bytes:
    """Names and values in the order of the signature: by name, then each distinct value in order.

    As bytes: UTF-8 sorts like its code points, and bytes that are not UTF-8 are compared, too.
    """
    if request.method != "POST" or not is_form(request):
        return b""
    if len(request.body) > MOST_BYTES or request.body.count(b"&") >= MOST_PARAMETERS:
        raise InvalidSignature("The form is larger than any that Twilio sends.")
    return b"".join(name + value for name, value in sorted(set(pairs_of(request.body))))


def _urls(url: str) -> Iterator[str]:
    """The forms of our URL that Twilio may have signed, the likeliest first.

    As it is; without its port, or with the default one
    (https://github.com/twilio/twilio-python/blob/9.13.0/twilio/request_validator.py#L20); and each
    with ' as %27 in the query (https://github.com/twilio/twilio-node, validateRequest).
    """
    url, _, _ = url.partition("#")
    for form in (str, _other_port):
        yield (each := form(url))
        path, mark, query = each.partition("?")
        if "'" in query:
            yield path + mark + query.replace("'", "%27")


def _other_port(url: str) -> str:
    scheme, _, rest = url.partition("://")
    end = next((index for index, character in enumerate(rest) if character in "/?"), len(rest))
    userinfo, at, host = rest[:end].rpartition("@")
    name, colon, port = host.rpartition(":")
    has_port = colon and port.isdigit()
    host = name if has_port else f"{host}:{PORTS.get(scheme.lower(), '443')}"
    return f"{scheme}://{userinfo}{at}{host}{rest[end:]}"
