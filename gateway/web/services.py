"""What the handlers of one process share, and the key for it in the application."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
from aiohttp import web

from channels.rendering.renderer import Renderer
from gateway.accept.accepting import Accepting
from gateway.accept.drafting import Drafting
from gateway.api.auth import Callers
from gateway.api.keyring import Keyring
from gateway.config import Settings
from gateway.live.hub import Live
from gateway.media.links import MediaLinks
from gateway.media.store import MediaStore
from gateway.observability.metrics import Metrics
from gateway.receive.hook_accounts import HookAccounts
from gateway.receive.receiving import Receiving
from gateway.store.database import Database
from gateway.vault import Vault


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """Everything that a handler may use."""

    settings: Settings
    database: Database
    vault: Vault
    metrics: Metrics
    renderer: Renderer
    keyring: Keyring
    callers: Callers
    drafting: Drafting
    accepting: Accepting
    hook_accounts: HookAccounts
    receiving: Receiving
    media_store: MediaStore
    media_links: MediaLinks
    http: aiohttp.ClientSession
    live: Live


SERVICES: web.AppKey[Services] = web.AppKey("services", Services)
