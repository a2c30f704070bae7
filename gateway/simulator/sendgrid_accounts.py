"""SendGrid accounts, each with an API key, and a key pair that signs its events."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Annotated, Any

from aiohttp import web
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from gateway.simulator.accounts import AccountBook, MailAccount
from gateway.simulator.sendgrid_errors import SendGridError


def read_key(text: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key, PEM or base64 DER; raises `ValueError`."""
    raw = text.strip().encode()
    try:
        key = (
            serialization.load_pem_private_key(raw, None)
            if raw.startswith(b"-----")
            else serialization.load_der_private_key(base64.b64decode(raw, validate=True), None)
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        message = "must be a P-256 private key, PEM or base64 DER"
        raise ValueError(message)
    return key


def _key(text: str) -> str:
    read_key(text)
    return text


def _new_key() -> str:
    return (
        ec.generate_private_key(ec.SECP256R1())
        .private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        .decode()
    )


def _public(private_key: str) -> str:
    key = read_key(private_key).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return base64.b64encode(key.public_bytes(serialization.Encoding.DER, form)).decode()


def _name(api_key: str) -> str:
    return f"sendgrid-{sha256(api_key.encode()).hexdigest()[:12]}"


class SendGridAccount(MailAccount):
    """An account as in `POST /_sim/accounts`.

    `addresses` are mailboxes or `@domains` that it receives for and may send from (default: any).
    Without `private_key` it makes a key pair of its own. `inbound_secret` is not used, because the
    webhook's URL contains it, and `webhook_public_key` can only be that of its key pair; both are
    allowed because they belong to the gateway's credentials.
    """

    api_key: str = Field(min_length=1, repr=False)
    private_key: Annotated[str, AfterValidator(_key)] = Field(default_factory=_new_key, repr=False)
    inbound_secret: str | None = Field(default=None, repr=False)
    webhook_public_key: str | None = None

    @field_validator("webhook_public_key")
    @classmethod
    def _is_own(cls, given: str | None, info: ValidationInfo) -> str | None:
        pair = info.data.get("private_key")  # missing if it is wrong itself
        if given is not None and pair is not None and given.strip() != _public(pair):
            raise ValueError(
                "is not of this account's key pair: leave it out and take that of the answer, or "
                "give its private_key"
            )
        return given

    @property
    def key(self) -> str:
        """A name for the account that does not reveal the API key."""
        return _name(self.api_key)

    def public_key(self) -> str:
        """The key that verifies its events: base64 DER SPKI, as SendGrid shows it."""
        return _public(self.private_key)

    def sign(self, timestamp: str, body: bytes) -> str:
        """The signature of timestamp and body: ECDSA, SHA-256, DER, base64.

        https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features
        """
        signature = read_key(self.private_key).sign(
            timestamp.encode() + body, ec.ECDSA(hashes.SHA256())
        )
        return base64.b64encode(signature).decode()


class SendGridAccounts(AccountBook[SendGridAccount]):
    """All accounts, found by the API key of a request."""

    def __init__(self) -> None:
        """Start with none: every request is refused."""
        super().__init__("sendgrid")

    def register(self, fields: Mapping[str, Any]) -> SendGridAccount:
        """Accept an account, or replace it: it keeps its key pair unless `private_key` is given."""
        api_key = fields.get("api_key")
        known = self.get(_name(api_key)) if isinstance(api_key, str) else None
        kept = {"private_key": known.private_key} if known is not None else {}
        account = SendGridAccount.model_validate({**kept, **fields})
        self.put(account)
        return account

    def open(self, request: web.Request) -> SendGridAccount:
        """The account with the request's API key; raises `SendGridError`."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        for account in self:
            if scheme.lower() == "bearer" and hmac.compare_digest(
                given.strip().encode(), account.api_key.encode()
            ):
                return account
        raise SendGridError(401)
