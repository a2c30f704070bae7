"""Twilio accounts: their credentials, numbers and callback URLs."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import Field, PrivateAttr

from gateway.simulator.accounts import AccountBook, SimAccount
from gateway.simulator.plan import bare
from gateway.simulator.twilio_errors import ApiError

# A From that every account owns: https://www.twilio.com/docs/iam/test-credentials#test-sms-messages
ALWAYS_OWNED = "+15005550006"


class TwilioAccount(SimAccount):
    """An account as in `POST /_sim/accounts`; without `numbers` it may send from any.

    `contents` are templates by ContentSid, with `{{1}}` for variables; if any are given, no other
    is accepted. With `enforce_window` free WhatsApp texts fail outside the 24 hours.
    """

    account_sid: str = Field(min_length=1, pattern=r"^[A-Za-z0-9_-]+$")
    auth_token: str = Field(min_length=1, repr=False)
    auth_token_secondary: str | None = Field(default=None, repr=False)
    api_key_sid: str | None = None
    api_key_secret: str | None = Field(default=None, repr=False)
    messaging_service_sid: str | None = None
    numbers: tuple[str, ...] = ()
    contents: dict[str, str] = Field(default_factory=dict)
    enforce_window: bool = False

    _own: frozenset[str] = PrivateAttr(default=frozenset())

    def model_post_init(self, _context: object) -> None:
        """Parse the numbers once, instead of for every message."""
        self._own = frozenset(bare(number) for number in self.numbers)

    @property
    def key(self) -> str:
        """The account's sid."""
        return self.account_sid

    @property
    def names_addresses(self) -> bool:
        """Whether `numbers` were given."""
        return bool(self.numbers)

    def logins(self) -> list[tuple[str, str]]:
        """All pairs of user and password that are valid for the account."""
        pairs = [
            (self.account_sid, self.auth_token),
            (self.account_sid, self.auth_token_secondary),
            (self.api_key_sid, self.api_key_secret),
        ]
        return [(user, password) for user, password in pairs if user and password]

    def owns(self, address: str) -> bool:
        """Whether `address` is among its numbers."""
        return bare(address) in self._own

    def may_send_from(self, address: str) -> bool:
        """Whether a message may come from `address`."""
        return not self._own or self.owns(address) or bare(address) == ALWAYS_OWNED


class Accounts(AccountBook[TwilioAccount]):
    """All accounts, by sid and by credentials."""

    def __init__(self) -> None:
        """Start with none: every request is refused."""
        super().__init__("twilio")
        self._logins: dict[str, list[tuple[bytes, TwilioAccount]]] = {}

    def register(self, fields: Mapping[str, Any]) -> TwilioAccount:
        """Accept an account, or replace it; raises pydantic's `ValidationError`."""
        account = TwilioAccount.model_validate(fields)
        self.put(account)
        self._logins = {}
        for some in self:
            for user, password in some.logins():
                self._logins.setdefault(user, []).append((password.encode(), some))
        return account

    def clear(self) -> None:
        """Drop all."""
        super().clear()
        self._logins.clear()

    def open(self, request: web.Request) -> TwilioAccount:
        """The account of the path, opened by the request's credentials; raises `ApiError`."""
        login, given = _credentials(request.headers.get("Authorization", ""))
        for password, account in self._logins.get(login, ()):
            if hmac.compare_digest(password, given):
                if account.account_sid != request.match_info["account_sid"]:
                    raise ApiError(20404, {"path": request.path})
                return account
        raise ApiError(20003)


def _credentials(header: str) -> tuple[str, bytes]:
    """User and password of HTTP Basic; raises `ApiError` if there are none."""
    scheme, _, text = header.partition(" ")
    try:
        login, colon, password = base64.b64decode(text, validate=True).partition(b":")
        if scheme.lower() == "basic" and colon:
            return login.decode(), password
    except ValueError:
        # Not base64, or not UTF-8: simply wrong credentials.
        pass
    raise ApiError(20003)
