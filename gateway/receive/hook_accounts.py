"""The accounts that webhooks name, with their credentials opened, cached for five seconds.

A provider that calls one URL for all senders of an app names a sender by its own id, which is
sealed with the credentials of an account. Opened ids are kept here, and only accounts that were
changed are opened again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from uuid import UUID

from channels.json_text import as_object
from channels.model import Account
from gateway.observability.logs import logger
from gateway.registry import PROVIDERS
from gateway.store import accounts
from gateway.store.accounts import SealedAccount
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError
from gateway.vault import Vault, VaultError

_log = logger(__name__)

_ACCOUNT_SECONDS = 5.0
# Seconds after which senders are read anew, if a sender is not among the known ones.
ANEW_SECONDS = 1.0
_KNOWN_ACCOUNTS = 10_000
# How many accounts are opened at once.
_AT_ONCE = 200
_ID_CHARACTERS = 36


class UnknownHookError(Exception):
    """No such provider, event or account, or an account of another provider."""


_uuid = lru_cache(_KNOWN_ACCOUNTS)(UUID)


@dataclass(frozen=True, slots=True)
class _Known:
    account: Account
    until: float


@dataclass(slots=True)
class _Senders:
    """The senders of an organization's accounts at one provider, as of `read_at`."""

    read_at: float = -float("inf")
    # By account, active ones first: when it was changed, and the provider's id of its sender.
    named: dict[UUID, tuple[datetime, str | None]] = field(default_factory=dict)
    accounts: dict[str | None, list[UUID]] = field(default_factory=dict)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)
    # When reading them failed, and why: that is the result for all who waited for it.
    failed_at: float = -float("inf")
    failure: str | None = None


class HookAccounts:
    """Opens accounts, and caches them for five seconds: a changed secret counts after that."""

    def __init__(
        self, database: Database, vault: Vault, api_urls: Mapping[str, str | None]
    ) -> None:
        self._database = database
        self._vault = vault
        self._api_urls = api_urls
        self._known: dict[UUID, _Known] = {}
        self._senders: dict[tuple[UUID, str], _Senders] = {}

    async def named(self, provider: str, account_id: str, event: str) -> Account:
        """The account that a webhook's path names; raises `UnknownHookError`."""
        row = PROVIDERS.get(provider)
        # `UUID` takes a text with any number of hyphens, which the cache would keep.
        if row is None or event not in row.events or len(account_id) > _ID_CHARACTERS:
            raise UnknownHookError
        try:
            wanted = _uuid(account_id)
        except ValueError:
            raise UnknownHookError from None
        account = await self.by_id(wanted)
        if account is None or account.provider != provider:
            raise UnknownHookError
        return account

    async def by_id(self, account_id: UUID) -> Account | None:
        """The account; None if there is none, or this version does not have its provider."""
        known = self._known.get(account_id)
        if known is None or known.until < time.monotonic():
            account = await self._open(account_id)
            if account is None:
                return None
            if len(self._known) >= _KNOWN_ACCOUNTS:
                self._known.clear()
            known = _Known(account, time.monotonic() + _ACCOUNT_SECONDS)
            self._known[account_id] = known
        return known.account

    async def siblings(
        self, account: Account, sender_ids: Collection[str], *, anew: bool = False
    ) -> dict[str, list[Account]]:
        """By sender, the organization's other accounts at the same provider that have it, active
        ones first; cached as long as accounts are, or, with `anew`, for one second."""
        if len(self._senders) >= _KNOWN_ACCOUNTS:
            self._senders.clear()
        senders = self._senders.setdefault((account.organization_id, account.provider), _Senders())
        oldest = time.monotonic() - (ANEW_SECONDS if anew else _ACCOUNT_SECONDS)
        await self._read_once(senders, account, oldest)
        found = {}
        for sender_id in sender_ids:
            others = [each for each in senders.accounts.get(sender_id, ()) if each != account.id]
            if opened := [one for each in others if (one := await self.by_id(each))]:
                found[sender_id] = opened
        return found

    def forget(self, account_id: UUID) -> None:
        """Read an account anew the next time, because it is new or was changed."""
        self._known.pop(account_id, None)
        for senders in self._senders.values():
            senders.read_at = -float("inf")

    async def _read_once(self, senders: _Senders, account: Account, oldest: float) -> None:
        """Read the senders if they were read before `oldest`. All who wait meanwhile share the
        result: otherwise each would try for as long, one after the other."""
        asked_at = time.monotonic()
        async with senders.reading:
            if senders.failure is not None and senders.failed_at >= asked_at:
                raise DatabaseAwayError(senders.failure)
            if senders.read_at > oldest:
                return
            senders.failure = None
            try:
                await self._read(senders, account)
            except DatabaseAwayError as error:
                senders.failed_at, senders.failure = time.monotonic(), str(error)
                raise

    async def _read(self, senders: _Senders, account: Account) -> None:
        """Read the senders of all accounts; open those that are new or were changed."""
        name = PROVIDERS[account.provider].sender_credential or ""
        at = time.monotonic()
        async with self._database.as_service() as db:
            versions = await accounts.versions(db, account.organization_id, account.provider)
            # These versions are at most as new as the credentials that are opened below.
            changed = [
                each
                for each, version in versions.items()
                if each not in senders.named or senders.named[each][0] != version
            ]
            for start in range(0, len(changed), _AT_ONCE):
                sealed = await accounts.sealed(db, changed[start : start + _AT_ONCE])
                for each, credentials in sealed.items():
                    sender_id = self._sender_id(account, each, credentials, name)
                    senders.named[each] = versions[each], sender_id
                    self._known.pop(each, None)
        senders.named = {each: senders.named[each] for each in versions if each in senders.named}
        senders.accounts = {}
        for each, (_, sender_id) in senders.named.items():
            senders.accounts.setdefault(sender_id, []).append(each)
        senders.read_at = at

    def _sender_id(
        self, account: Account, sibling: UUID, credentials: bytes, name: str
    ) -> str | None:
        """The provider's id of an account's sender; None if its credentials cannot be opened, which
        must not hinder the other accounts."""
        try:
            return self._vault.open(account.organization_id, credentials).get(name)
        except VaultError as error:
            _log.error(
                "credentials do not open",
                error=str(error),
                account_id=str(sibling),
                provider=account.provider,
            )
            return None

    async def _open(self, account_id: UUID) -> Account | None:
        async with self._database.as_service() as db:
            sealed = await accounts.open_account(db, account_id)
        if sealed is None or sealed.provider not in PROVIDERS:
            return None
        return self._opened(sealed)

    def _opened(self, sealed: SealedAccount) -> Account:
        return Account(
            id=sealed.id,
            organization_id=sealed.organization_id,
            provider=sealed.provider,
            credentials=self._vault.open(sealed.organization_id, sealed.credentials),
            api_url=self._api_urls.get(sealed.provider),
            settings=as_object(sealed.settings),
        )
