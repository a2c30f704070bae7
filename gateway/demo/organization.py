"""The organization of `gateway demo`: accounts at three providers, senders, and an API key."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from channels.model import Channel
from gateway.config import Settings
from gateway.demo.story import MAILBOX, NUMBER, WHATSAPP, NotAsPlannedError, ask
from gateway.ids import new_id
from gateway.manage import setup
from gateway.registry import webhook_urls
from gateway.store import accounts
from gateway.store.database import Database
from gateway.vault import Vault

NAME = "Riverside Clinic"
PROVIDERS = ("twilio", "sendgrid", "meta")
# The link works for as long as somebody may look at the demo.
_LINK_SECONDS = 86400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Account:
    """An account: its credentials, what the simulator is told about it, and its senders."""

    provider: str
    credentials: Mapping[str, str]
    simulated: Mapping[str, Any]
    senders: tuple[tuple[Channel, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Access to the demo's organization: an API key, and a link that signs in to its inbox."""

    key: str
    inbox: str


async def settle(settings: Settings, url: str, simulator: aiohttp.ClientSession) -> Settled:
    """Create the organization, and its accounts here and in the simulator."""
    held = [_twilio(), await _sendgrid(simulator), _meta()]
    database = await Database.connect(str(settings.database_url), size=2)
    try:
        organization_id = await _organization(database)
        key = await setup.create_key(database, organization_id, "demo", is_test=False)
        vault = Vault(settings.gateway_secret_keys)
        for account in held:
            account_id = await setup.add_account(
                database, vault, organization_id, account.provider, account.credentials
            )
            for channel, address in account.senders:
                await setup.add_sender(
                    database, account_id, channel, address, is_default=True, rate=None
                )
            webhooks = webhook_urls(url, account.provider, account_id, account.credentials)
            body = {"provider": account.provider, **account.simulated, "webhooks": webhooks}
            known = await ask(simulator, "POST", "/_sim/accounts", body)
            if account.provider == "meta":
                await _shake_hands(simulator, known["id"])
        email = f"you-{organization_id.hex[-12:]}@{MAILBOX.rpartition('@')[2]}"
        await setup.create_staff(database, organization_id, email, "owner", full_name="You")
        inbox = await setup.sign_in_url(database, vault, url, email, seconds=_LINK_SECONDS)
    finally:
        await database.close()
    return Settled(key=key.key, inbox=inbox)


async def _organization(database: Database) -> UUID:
    """A clinic with transcribed voicemail; a new one each time the demo runs."""
    organization_id = new_id()
    settings = {
        "country": "US",
        "call": {
            "greeting": f"You have reached {NAME}. Please leave a message after the tone.",
            "transcribe": True,
        },
    }
    async with database.as_service() as db:
        slug = f"demo-{organization_id.hex[-12:]}"
        await accounts.insert_organization(db, organization_id, NAME, slug, settings)
    return organization_id


async def _shake_hands(simulator: aiohttp.ClientSession, account: str) -> None:
    """Let the simulated Meta verify the webhook, as the real one does before it uses it."""
    body = {"provider": "meta", "account": account}
    answer = await ask(simulator, "POST", "/_sim/handshake", body)
    if not answer["verified"]:
        raise NotAsPlannedError(f"Meta's handshake was answered {answer['status']}")


def _twilio() -> _Account:
    credentials = {
        "account_sid": f"AC{secrets.token_hex(16)}",
        "auth_token": secrets.token_hex(16),
    }
    return _Account(
        provider="twilio",
        credentials=credentials,
        simulated={**credentials, "numbers": [NUMBER]},
        senders=((Channel.SMS, NUMBER), (Channel.CALL, NUMBER)),
    )


async def _sendgrid(simulator: aiohttp.ClientSession) -> _Account:
    """SendGrid makes the key that verifies its events, so the simulator is asked for it first."""
    api_key = f"SG.{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}"
    simulated = {"api_key": api_key, "addresses": [f"@{MAILBOX.rpartition('@')[2]}"]}
    body = {"provider": "sendgrid", **simulated}
    shown = await ask(simulator, "POST", "/_sim/accounts", body)
    return _Account(
        provider="sendgrid",
        credentials={
            "api_key": api_key,
            "webhook_public_key": shown["webhook_public_key"],
            "inbound_secret": secrets.token_urlsafe(24),
        },
        simulated=simulated,
        senders=((Channel.EMAIL, MAILBOX),),
    )


def _meta() -> _Account:
    credentials = {
        "access_token": f"EAA{secrets.token_hex(40)}",
        "phone_number_id": str(10**14 + secrets.randbelow(10**14)),
        "app_secret": secrets.token_hex(16),
        "verify_token": secrets.token_urlsafe(16),
    }
    return _Account(
        provider="meta",
        credentials=credentials,
        simulated={**credentials, "display_phone_number": WHATSAPP, "enforce_window": True},
        senders=((Channel.WHATSAPP, WHATSAPP),),
    )
