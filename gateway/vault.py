"""Credentials at rest: sealed with AES-256-GCM, bound to their organization, with several keys."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_MAC = 10
_KEY_ID = 4


class VaultError(Exception):
    """Credentials cannot be opened: the key is missing, or the row was changed."""


class Vault:
    """Seals with the first key and opens with any, so that keys can be changed one by one.

    A sealed value is `key id (4 bytes) | nonce (12) | ciphertext`. The organization is in the
    additional data: a row that is moved to another tenant does not open.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        if not keys:
            raise VaultError("GATEWAY_SECRET_KEYS holds no key")
        self._ring = {_key_id(key): AESGCM(key) for key in keys}
        self._first = _key_id(keys[0])
        self._keys = tuple(keys)
        # Cached, because every message needs credentials; sealed bytes never change.
        self._opened = lru_cache(maxsize=1024)(self._unseal)

    @property
    def key_id(self) -> bytes:
        """The first bytes of all values that the first key sealed."""
        return self._first

    def sign(self, purpose: str, data: bytes, size: int = 16) -> bytes:
        """A signature of `size` bytes over `data`, different for each purpose."""
        return _mac(self._keys[0], purpose, data)[:size]

    def is_signed(self, purpose: str, data: bytes, mac: bytes) -> bool:
        """Whether `mac` was made by `sign`, with any of the keys; compares in constant time."""
        return (
            any(
                hmac.compare_digest(_mac(key, purpose, data)[: len(mac)], mac) for key in self._keys
            )
            and len(mac) >= _MAC
        )

    def seal(self, organization_id: UUID, secrets: Mapping[str, str]) -> bytes:
        """The secrets sealed, so that they can be opened only for this organization."""
        nonce = os.urandom(_NONCE)
        plain = json.dumps(dict(secrets), separators=(",", ":")).encode()
        sealed = self._ring[self._first].encrypt(
            nonce, plain, _additional(organization_id, self._first)
        )
        return self._first + nonce + sealed

    def open(self, organization_id: UUID, sealed: bytes) -> dict[str, str]:
        """Open sealed secrets; raises `VaultError`, which contains no secret."""
        return dict(self._opened(organization_id, sealed))

    def _unseal(self, organization_id: UUID, sealed: bytes) -> Mapping[str, str]:
        key_id = sealed[:_KEY_ID]
        cipher = self._ring.get(key_id)
        if cipher is None:
            raise VaultError(
                f"credentials were sealed with a key ({key_id.hex()}) that GATEWAY_SECRET_KEYS "
                "no longer holds: put it back behind the new one"
            )
        nonce = sealed[_KEY_ID : _KEY_ID + _NONCE]
        try:
            plain = cipher.decrypt(
                nonce, sealed[_KEY_ID + _NONCE :], _additional(organization_id, key_id)
            )
        except (InvalidTag, ValueError):  # not ours, or not even long enough
            raise VaultError(
                "credentials do not open: the row was changed or belongs to another organization"
            ) from None
        opened: dict[str, str] = json.loads(plain)
        return opened


def _mac(key: bytes, purpose: str, data: bytes) -> bytes:
    # Each purpose has its own key: signing links and sealing secrets never share one.
    return hmac.digest(hmac.digest(key, f"gateway:{purpose}".encode(), "sha256"), data, "sha256")


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()[:_KEY_ID]


def _additional(organization_id: UUID, key_id: bytes) -> bytes:
    return f"org:{organization_id}|kid:{key_id.hex()}".encode()
