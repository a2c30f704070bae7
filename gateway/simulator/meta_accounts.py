"""Meta accounts, each with a phone number, an access token, and the app secret for signatures."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import Field, PrivateAttr

from gateway.simulator.accounts import AccountBook, SimAccount
from gateway.simulator.meta_errors import MetaError
from gateway.simulator.plan import bare


class MetaAccount(SimAccount):
    """An account as in `POST /_sim/accounts`.

    `display_phone_number` is the number that people write to (default: any, and the last one that
    somebody wrote to counts). `templates` are bodies by `name` or `name/language`, with `{{1}}` for
    variables; if any are given, no other is accepted. With `enforce_window` free texts fail outside
    the 24 hours.
    """

    access_token: str = Field(min_length=1, repr=False)
    phone_number_id: str = Field(min_length=1, pattern=r"^[0-9A-Za-z_-]+$")
    app_secret: str = Field(min_length=1, repr=False)
    verify_token: str | None = Field(default=None, repr=False)
    business_account_id: str = "102290129340398"
    display_phone_number: str | None = None
    templates: dict[str, str] = Field(default_factory=dict)
    enforce_window: bool = False
    _written_to: str | None = PrivateAttr(default=None)

    @property
    def key(self) -> str:
        """The id of its phone number."""
        return self.phone_number_id

    @property
    def names_addresses(self) -> bool:
        """Whether its number was given."""
        return self.display_phone_number is not None

    @property
    def number(self) -> str:
        """Its number, only the digits."""
        known = self.display_phone_number or self._written_to or "15550000000"
        return bare(known).removeprefix("+")

    def note_written_to(self, address: str) -> None:
        """Somebody wrote to this number: it is the account's, unless another was given."""
        self._written_to = address

    def owns(self, address: str) -> bool:
        """Whether `address` is its number."""
        return self.names_addresses and bare(address).removeprefix("+") == self.number

    def sign(self, body: bytes) -> str:
        """The signature header for the raw body.

        https://developers.facebook.com/docs/graph-api/webhooks/getting-started#validate-payloads
        """
        return "sha256=" + hmac.new(self.app_secret.encode(), body, hashlib.sha256).hexdigest()


class MetaAccounts(AccountBook[MetaAccount]):
    """All accounts, found by the token of a request."""

    def __init__(self) -> None:
        """Start with none: every request is refused."""
        super().__init__("meta")

    @property
    def has_secret_number(self) -> bool:
        """Whether the number of an account here was not given: Meta's paths have only its id."""
        return any(not some.names_addresses for some in self)

    def register(self, fields: Mapping[str, Any]) -> MetaAccount:
        """Accept an account, or replace it; raises pydantic's `ValidationError`."""
        account = MetaAccount.model_validate(fields)
        self.put(account)
        return account

    def opened(self, request: web.Request) -> list[MetaAccount]:
        """Every account that the request's token opens, at least one; raises `MetaError`."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        token = given.strip().encode()
        found = [
            account
            for account in self
            if scheme.lower() == "bearer"
            and hmac.compare_digest(token, account.access_token.encode())
        ]
        if not found:
            raise MetaError(190)
        return found

    def open(self, request: web.Request, phone_number_id: str) -> MetaAccount:
        """The account of that phone number, opened by the request's token; raises `MetaError`."""
        for account in self.opened(request):
            if account.phone_number_id == phone_number_id:
                return account
        raise MetaError(33, f"Object with ID '{phone_number_id}' does not exist.")
