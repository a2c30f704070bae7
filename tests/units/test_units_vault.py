"""gateway/vault.py: what is sealed opens for its organization and with a key that is held."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.vault import Vault, VaultError

OLD, NEW = b"o" * 32, b"n" * 32
SECRETS = {"auth_token": "t0p-secret", "account_sid": "AC1"}


@given(secrets=st.dictionaries(st.text(), st.text()))
def test_what_is_sealed_opens(secrets: dict[str, str]) -> None:
    """Any names and values come back as they were."""
    vault, organization = Vault([NEW]), uuid4()

    assert secrets == vault.open(organization, vault.seal(organization, secrets))


def test_nothing_can_be_read_or_recognised() -> None:
    """The sealed bytes hold no secret, and the same secrets are never sealed alike."""
    vault, organization = Vault([NEW]), uuid4()
    first, second = (vault.seal(organization, SECRETS) for _ in range(2))

    assert b"t0p-secret" not in first
    assert first != second


def test_keys_are_changed_one_by_one() -> None:
    """The first key seals; what an older one sealed opens as long as that is in the ring."""
    organization = uuid4()
    old = Vault([OLD]).seal(organization, SECRETS)
    new = Vault([NEW, OLD]).seal(organization, SECRETS)

    assert SECRETS == Vault([NEW, OLD]).open(organization, old)
    assert SECRETS == Vault([NEW]).open(organization, new)
    with pytest.raises(VaultError, match="GATEWAY_SECRET_KEYS") as caught:
        Vault([NEW]).open(organization, old)
    assert "t0p-secret" not in str(caught.value)


def test_a_row_that_was_moved_does_not_open() -> None:
    """Another organization's row opens for nobody else."""
    vault = Vault([NEW])

    with pytest.raises(VaultError, match="organization"):
        vault.open(uuid4(), vault.seal(uuid4(), SECRETS))


def test_a_row_that_was_changed_does_not_open() -> None:
    """Every byte counts: key id, nonce, text and tag; so does the length."""
    vault, organization = Vault([NEW]), uuid4()
    sealed = vault.seal(organization, SECRETS)
    changed = [sealed[:n] + bytes([sealed[n] ^ 1]) + sealed[n + 1 :] for n in range(len(sealed))]

    for broken in [*changed, sealed[:-1], sealed + b"x", sealed[:20], sealed[:4], b""]:
        with pytest.raises(VaultError):
            vault.open(organization, broken)


def test_no_key_no_vault() -> None:
    """Without a key there is nothing to seal with, and the error names the setting."""
    with pytest.raises(VaultError, match="GATEWAY_SECRET_KEYS"):
        Vault([])
