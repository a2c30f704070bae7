"""Links and addresses with signed ids: to unsubscribe, to reply to, and to sign in."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import urlsplit
from uuid import UUID

from gateway.vault import Vault

_UNSUBSCRIBE, _REPLY, _SIGN_IN = "unsubscribe", "reply", "sign in"
_MAC = 16
# Base 32, because mail systems fold the case of addresses; a local part has 64 characters at most.
_REPLY_MAC = 10
_REPLY_ADDRESS = re.compile(r"(?:^|[.+])r-([a-z2-7]{42})@", re.IGNORECASE | re.ASCII)


def shown(base_url: str) -> str:
    """PUBLIC_URL as people see it: without the user and password that providers may need."""
    parts = urlsplit(base_url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def unsubscribe_url(vault: Vault, base_url: str, organization_id: UUID, message_id: UUID) -> str:
    """The URL with which the recipient of a message unsubscribes with one click (RFC 8058)."""
    token = _token(vault, _UNSUBSCRIBE, organization_id, message_id)
    return f"{shown(base_url)}/unsubscribe/{token}"


def read_unsubscribe(vault: Vault, token: str) -> tuple[UUID, UUID] | None:
    """(organization, message) of a token of ours; None for any other."""
    return _read(vault, _UNSUBSCRIBE, token)


def sign_in_url(vault: Vault, base_url: str, organization_id: UUID, link_id: UUID) -> str:
    """The URL with which staff sign in once: created when it is sent, never stored."""
    return f"{shown(base_url)}/inbox/link/{_token(vault, _SIGN_IN, organization_id, link_id)}"


def read_sign_in(vault: Vault, token: str) -> tuple[UUID, UUID] | None:
    """(organization, link) of a token of ours; None for any other."""
    return _read(vault, _SIGN_IN, token)


def reply_address(vault: Vault, domain: str, organization_id: UUID, message_id: UUID) -> str:
    """The address for replies to this message."""
    mac = vault.sign(_REPLY, organization_id.bytes + message_id.bytes, _REPLY_MAC)
    token = base64.b32encode(message_id.bytes + mac).decode().rstrip("=").lower()
    return f"r-{token}@{domain}"


def read_reply(vault: Vault, organization_id: UUID, address: str) -> UUID | None:
    """The message whose reply address this is; None for any other address."""
    found = _REPLY_ADDRESS.search(address)
    if found is None:
        return None
    raw = base64.b32decode(found[1].upper() + "=" * (-len(found[1]) % 8))
    named, mac = raw[:16], raw[16:]
    if not vault.is_signed(_REPLY, organization_id.bytes + named, mac):
        return None
    return UUID(bytes=named)


def _token(vault: Vault, purpose: str, organization_id: UUID, named_id: UUID) -> str:
    named = organization_id.bytes + named_id.bytes
    token = named + vault.sign(purpose, named, _MAC)
    return base64.urlsafe_b64encode(token).decode().rstrip("=")


def _read(vault: Vault, purpose: str, token: str) -> tuple[UUID, UUID] | None:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    named, mac = raw[:32], raw[32:]
    if len(raw) != 32 + _MAC or not vault.is_signed(purpose, named, mac):
        return None
    return UUID(bytes=named[:16]), UUID(bytes=named[16:])
