"""The accounts that webhooks name, with their credentials opened, cached for five seconds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from channels.model import Account
from gateway.registry import PROVIDERS
from gateway.store import accounts
from gateway.store.accounts import SealedAccount
from gateway.store.codecs import as_object
from gateway.store.database import Database
from gateway.vault import Vault

_ACCOUNT_SECONDS = 5.0
_KNOWN_ACCOUNTS = 10_000
_MOST_SIBLINGS = 100
_ID_CHARACTERS = 36


class UnknownHookError(Exception):
    """No such provider, event or account, or an account of another provider."""


_uuid = lru_cache(_KNOWN_ACCOUNTS)(UUID)


@dataclass(frozen=True, slots=True)
class _Known:
    account: Account
    until: float


class HookAccounts:
    """Opens accounts, and caches them for five seconds: a changed secret counts after that."""

    def __init__(
        self, database: Database, vault: Vault, api_urls: Mapping[str, str | None]
    ) -> None:
        self._database = database
        self._vault = vault
        self._api_urls = api_urls
        self._known: dict[UUID, _Known] = {}
        self._siblings: dict[UUID, tuple[list[Account], float]] = {}

    async def named(self, provider: str, account_id: str, event: str) -> Account:
        """The account that a webhook's path names; raises `UnknownHookError`."""
        row = PROVIDERS.get(provider)
        # Python reads a UUID with any number of hyphens, and the cache would keep the text.
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
        """The account; None where there is none, or no such provider in this version."""
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

    async def siblings(self, account: Account) -> Sequence[Account]:
        """The organization's other accounts at the same provider, cached as long."""
        known = self._siblings.get(account.id)
        if known is None or known[1] < time.monotonic():
            async with self._database.as_service() as db:
                sealed = await accounts.open_siblings(db, account.id, _MOST_SIBLINGS)
            if len(self._siblings) >= _KNOWN_ACCOUNTS:
                self._siblings.clear()
            known = [*map(self._opened, sealed)], time.monotonic() + _ACCOUNT_SECONDS
            self._siblings[account.id] = known
        return known[0]

    def forget(self, account_id: UUID) -> None:
        """Read an account anew the next time: it was changed."""
        self._known.pop(account_id, None)
        self._siblings.clear()

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
