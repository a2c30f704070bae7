"""Fetching: a file or an answer from a provider, with the credentials of the account."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from channels.http import Limits
from channels.model import Account
from gateway.media.files import MAX_BYTES
from gateway.outside.download import Downloader, DownloadRefused, File
from gateway.outside.download import origin as origin_of
from gateway.registry import Provider
from gateway.store.media import Errand
from gateway.vault import Vault


class Fetching:
    """Fetches for errands; `api_urls` are the base addresses that the environment names."""

    def __init__(
        self,
        vault: Vault,
        downloader: Downloader,
        *,
        api_urls: Mapping[str, str | None],
        providers: Mapping[str, Provider],
        limits: Limits,
    ) -> None:
        self._vault = vault
        self._downloader = downloader
        self._api_urls = api_urls
        self._providers = providers
        self._limits = limits

    def account(self, errand: Errand) -> Account:
        """The account of an errand; raises `VaultError`, or `DownloadRefused`."""
        if errand.provider not in self._providers:
            raise DownloadRefused(f"There is no provider {errand.provider} in this version.")
        return Account(
            id=errand.account_id,
            organization_id=errand.organization_id,
            provider=errand.provider,
            credentials=self._vault.open(errand.organization_id, errand.credentials),
            api_url=self._api_urls.get(errand.provider),
        )

    async def answer(self, account: Account, url: str) -> File:
        """The provider's answer at a URL of its API; raises a `DownloadError`."""
        return await self._get(account, _rebased(url, account.api_url))

    async def file(self, account: Account, url: str) -> File:
        """The file itself, also if the provider first answers with its URL.

        Raises a `DownloadError`.
        """
        file = await self._get(account, self._at(account, url))
        file_url = self._providers[account.provider].file_url
        named = file_url(url, file.content) if file_url else None
        if named is None:
            return file
        if not named:
            raise DownloadRefused("The provider's answer names no URL of the file.")
        return await self._get(account, self._at(account, named))

    async def _get(self, account: Account, url: str) -> File:
        row = self._providers[account.provider]
        return await self._downloader.get(
            url,
            max_bytes=MAX_BYTES,
            limits=self._limits,
            authorize=lambda where: row.authorize(account, where),
            may_pass=row.may_pass,
            allowed_origin=account.api_url,
        )

    def _at(self, account: Account, url: str) -> str:
        """A URL; one of the provider itself at the base address that the environment names."""
        if account.api_url is None or origin_of(url) == origin_of(account.api_url):
            return url
        is_theirs = bool(self._providers[account.provider].authorize(account, url))
        return _rebased(url, account.api_url) if is_theirs else url


def _rebased(url: str, api_url: str | None) -> str:
    """The same path and query at another base address."""
    if api_url is None or origin_of(url) == origin_of(api_url):
        return url
    try:
        parts = urlsplit(url)
    except ValueError:
        return url  # the downloader says what is wrong with it
    return api_url.rstrip("/") + parts.path + (f"?{parts.query}" if parts.query else "")
