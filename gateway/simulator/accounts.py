"""Accounts of any provider: their addresses, and whose webhook gets an inbound message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from gateway.simulator.mime import mailbox
from gateway.simulator.plan import bare
from gateway.simulator.provider import InboundBody, UnfitError, WebhookUrl


class SimAccount(BaseModel):
    """An account as in `POST /_sim/accounts`; each provider's own class adds credentials."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    webhooks: dict[str, WebhookUrl] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The account's name in `/_sim`; never a secret."""
        raise NotImplementedError

    @property
    def names_addresses(self) -> bool:
        """Whether it lists its own addresses; otherwise it may own any."""
        return False

    def owns(self, address: str) -> bool:  # noqa: ARG002 - for those that name addresses
        """Whether it lists `address`."""
        return False


class MailAccount(SimAccount):
    """An account for e-mail; `addresses` are the mailboxes and `@domains` that it receives for."""

    addresses: tuple[str, ...] = ()

    @property
    def names_addresses(self) -> bool:
        """Whether `addresses` were given."""
        return bool(self.addresses)

    def owns(self, address: str) -> bool:
        """Whether `address`, or its domain, is among its own."""
        box = mailbox(address).lower()
        domain = f"@{box.rpartition('@')[2]}"
        return any(own.lower() in {box, domain} for own in self.addresses)


A = TypeVar("A", bound=SimAccount)


class AccountBook(Generic[A]):
    """All accounts of one provider, by key."""

    def __init__(self, provider: str) -> None:
        """Start with none: every request is refused."""
        self._provider = provider
        self._by_key: dict[str, A] = {}
        # The account that has sent from an address.
        self._senders: dict[str, str] = {}

    def put(self, account: A) -> None:
        """Accept an account, or replace the one with the same key."""
        self._by_key[account.key] = account

    def get(self, key: str) -> A | None:
        """The account of that key."""
        return self._by_key.get(key)

    def clear(self) -> None:
        """Drop all."""
        self._by_key.clear()
        self._senders.clear()

    def __iter__(self) -> Iterator[A]:
        """Every account, oldest first."""
        return iter(self._by_key.values())

    def note_sender(self, account: A, address: str) -> None:
        """The account has sent from this address: messages to the address are the account's."""
        self._senders[_same(address)] = account.key

    def fitness(self, body: InboundBody) -> int:
        """How certainly an account here is meant: 4 named, 3 owns `to`, 2 sent from it, 1 any."""
        if body.account is not None:
            return 4 if body.account in self._by_key else 0
        if any(some.owns(body.to) for some in self):
            return 3
        if _same(body.to) in self._senders:
            return 2
        return 1 if self._by_key else 0

    @property
    def has_secret_number(self) -> bool:
        """Whether an account here has a number that its requests never show, and that no one named.

        Who writes to a number of nobody's means such an account, rather than one of another
        provider.
        """
        return False

    def owner(self, address: str, key: str | None) -> A:
        """The account `key`, else the one that owns `address`; raises `UnfitError`.

        Without an owner it is the account that has sent from `address`, else the only account, else
        the only one that names no addresses.
        """
        if key is not None:
            if key not in self._by_key:
                raise UnfitError(f"no {self._provider} account {key}", status=404)
            return self._by_key[key]
        everyone = list(self)
        owners = [some for some in everyone if some.owns(address)] or [
            some for some in everyone if some.key == self._senders.get(_same(address))
        ]
        candidates = owners or [some for some in everyone if not some.names_addresses]
        if not owners and len(everyone) == 1:
            candidates = everyone
        if len(candidates) != 1:
            how = "several" if candidates else "no"
            could = "accounts could own" if candidates else "account owns"
            raise UnfitError(
                f"{how} {self._provider} {could} {address}: say which are an account's own "
                f"('numbers', 'addresses'), or name the 'account' here"
            )
        return candidates[0]

    def webhook(self, account: A, event: str) -> str:
        """The URL for `event`; raises `UnfitError` if the account has none."""
        url = account.webhooks.get(event)
        if url is None:
            raise UnfitError(f"{self._provider} account {account.key} has no webhook {event!r}")
        return url


def _same(address: str) -> str:
    return mailbox(address).lower() if "@" in address else bare(address)
