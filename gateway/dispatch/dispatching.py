"""Dispatch: queue entry → provider → outcome. No database connection is held while the worker talks
to a provider.

The results of an attempt (`outcomes` records them):
- taken by the provider: the message gets the provider's id, and the entry is removed;
- refused: the message has failed;
- refused for now: the entry waits (as long as the provider says, else longer each time);
- answer lost: the message is `unknown`. After a while the provider is asked whether it has the
  message, which is sent again only if it certainly does not. The same goes for an entry whose
  worker died. If the provider cannot be asked, the message stays `unknown` until a report comes.
  For such a provider it is recorded before each request that it is about to leave, so that an
  entry which a dead worker had claimed but not begun is still sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp

from channels.errors import Busy, CannotAsk, CutOff, NotLookedAt, Refused, RefusedForNow, SendError
from channels.json_text import as_object
from channels.model import Account, Outbound
from channels.moment import Moment
from gateway.dispatch import refusals
from gateway.dispatch.asking import Asking
from gateway.dispatch.claiming import Claiming
from gateway.dispatch.entry import (
    is_settled,
    may_have_left,
    only_sending_tells,
    was_claimed_before,
)
from gateway.dispatch.events import ids, log_defect
from gateway.dispatch.identity import check_identity
from gateway.dispatch.outbound import Outbounds
from gateway.dispatch.outcomes import Outcomes
from gateway.dispatch.pace import Pace
from gateway.dispatch.room import NoRoomError, Room, Share
from gateway.dispatch.sizes import file_bytes, most_file_bytes, slow_seconds
from gateway.dispatch.turns import Turn
from gateway.dispatch.window import NotNowError
from gateway.ids import new_id
from gateway.media.files import Files
from gateway.observability.logs import logger
from gateway.observability.metrics import Metrics
from gateway.registry import PROVIDERS, status_url
from gateway.store import queue
from gateway.store.database import Database
from gateway.store.errors import DatabaseAwayError
from gateway.store.queue import Claimed
from gateway.vault import Vault, VaultError

_log = logger(__name__)

# Seconds to load a message's files: if it takes longer, the message is tried again later.
_FILES = 120.0
# Seconds that an entry may wait here before suppressions and the like are checked again.
_SOON = 1.0


class Dispatching:
    """The coordinator of dispatch, for one worker and its leases."""

    def __init__(
        self,
        database: Database,
        vault: Vault,
        session: aiohttp.ClientSession,
        metrics: Metrics,
        *,
        base_url: str,
        api_urls: Mapping[str, str | None],
        files: Files,
        pace: Pace | None = None,
    ) -> None:
        self.lease_id = new_id()
        self._database = database
        self._vault = vault
        self._session = session
        self._metrics = metrics
        self._base_url = base_url
        self._api_urls = dict(api_urls)
        self._outbounds = Outbounds(database, vault, files, base_url, self.lease_id)
        self._pace = pace or Pace()
        self._room = Room(self._pace.most_bytes)
        self.claim = Claiming(database, self.lease_id, self._pace.lease).claim
        self._outcomes = Outcomes(database, metrics, self.lease_id, self._pace)
        self._asking = Asking(
            database, session, self._outbounds, self._outcomes, self._pace, self._account
        )

    async def work(self, turn: Turn) -> None:
        """Take one entry one step further, and record the result."""
        claimed = turn.claimed
        if is_settled(claimed):
            await self._outcomes.settled(claimed)
        elif claimed.is_test and (claimed.phase == "ask" or claimed.was_leased):
            await self._outcomes.pretended(claimed)  # whatever happened to its first attempt
        elif claimed.phase == "ask":
            await self._asking.ask(claimed)
        elif claimed.was_leased and may_have_left(claimed):
            await self._outcomes.abandoned(claimed)
        elif was_claimed_before(claimed) and await self._is_off(claimed):
            return
        elif claimed.is_expired:
            await self._outcomes.given_up(claimed, refusals.expired())
        elif claimed.suppressed is not None:
            await self._outcomes.given_up(claimed, refusals.suppressed(claimed.suppressed))
        elif claimed.provider is None or not claimed.is_active:
            await self._outcomes.given_up(claimed, refusals.no_sender())
        elif claimed.is_test:
            await self._outcomes.pretended(claimed)
        else:
            await self._send(turn)

    async def _is_off(self, claimed: Claimed) -> bool:
        """Whether a message may not be sent any more as things are now; if so, that is recorded."""
        async with self._database.as_service() as db:
            now = await queue.as_it_is(db, claimed)
        newer = replace(claimed, status=now.status or claimed.status, external_id=now.external_id)
        if now.status is None or is_settled(newer):  # since it was claimed
            await self._outcomes.settled(newer)
        elif now.is_followed:
            await self._outcomes.overtaken(claimed)
        elif now.suppressed is not None:
            await self._outcomes.given_up(claimed, refusals.suppressed(now.suppressed))
        elif not now.is_active:
            await self._outcomes.given_up(claimed, refusals.no_sender())
        else:
            return False
        return True

    async def give_back(self, turns: Sequence[Turn]) -> None:
        """Return entries that were not begun. What a dead worker had stays leased, so that the next
        claim sees that it was."""
        own = [turn.claimed for turn in turns if not turn.claimed.was_leased]
        await self._outcomes.not_begun(own)

    async def _send(self, turn: Turn) -> None:
        claimed = turn.claimed
        try:
            account = self._account(claimed)
        except VaultError as error:
            # The message waits: the operator may restore the key.
            _log.error("credentials do not open", error=str(error), **ids(claimed))
            refusal = RefusedForNow("The account's credentials do not open.", code="credentials")
            await self._outcomes.refused_for_now(claimed, refusal)
            return
        # Waiting for room and loading the files may each take longer than a lease lasts.
        wait = self._pace.longest_wait + _FILES + self._pace.lease
        if claimed.attachments and not await self._hold(claimed, wait):
            return
        size, owner = most_file_bytes(claimed), claimed.organization_id
        try:
            async with self._room.hold(owner, size, self._pace.longest_wait) as share:
                await self._send_from(turn, account, share)
        except NoRoomError:
            await self._outcomes.not_begun([claimed])

    async def _send_from(self, turn: Turn, account: Account, share: Share) -> None:
        claimed = turn.claimed
        try:
            outbound = await self._prepared(turn, account, share)
            if outbound is None or await self._is_too_late_to_ask(claimed, account, outbound):
                return
        except (asyncio.CancelledError, DatabaseAwayError):
            # Nothing has left, though it may have been recorded just now that the request begins.
            await self._outcomes.not_begun([claimed])
            raise
        callback = status_url(
            self._base_url, account.provider, account.id, outbound.channel, outbound.message_id
        )
        provider, started, begun = PROVIDERS[account.provider], time.perf_counter(), Moment.now()
        seconds = self._pace.longest_send + slow_seconds(outbound) + provider.more_seconds
        try:
            async with asyncio.timeout(seconds) as limit:
                sent = await provider.send.send(account, outbound, self._session, callback)
        except (SendError, TimeoutError) as error:
            self._metrics.send_took(account.provider, time.perf_counter() - started)
            if isinstance(error, CutOff) and not limit.expired():
                await self._outcomes.cut_off(claimed, error)
            else:
                await self._not_sent(claimed, error, begun.steady_age())
        else:
            self._metrics.send_took(account.provider, time.perf_counter() - started)
            await self._outcomes.sent(claimed, sent, begun.steady_age())

    async def _prepared(self, turn: Turn, account: Account, share: Share) -> Outbound | None:
        """The message, once it may be sent; None if it is not sent this time."""
        claimed, since = turn.claimed, turn.since
        outbound = await self._made(turn, account)
        if outbound is None:
            return None
        share.shrink_to(file_bytes(outbound))
        provider = PROVIDERS[account.provider]
        lease = self._pace.lease + slow_seconds(outbound) + provider.more_seconds
        # For providers that cannot be asked it is always extended below, just before the request.
        if claimed.attachments or (provider.can_be_asked and lease > self._pace.lease):
            since = Moment.now()
            if not await self._hold(claimed, lease):
                return None
        if (wait := turn.not_before - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        if since.age() > self._pace.latest_start:
            # The machine was frozen or suspended: another worker may hold the lease by now, or may
            # have learned that the provider does not have the message.
            await self._outcomes.not_begun([claimed])
            return None
        if turn.since.age() > _SOON and await self._is_off(claimed):
            return None
        if (left := turn.left) == 0:
            await self._outcomes.given_up(claimed, refusals.expired())
            return None
        if provider.can_be_asked or await self._hold(claimed, lease, is_begun=True):
            return outbound if left is None else replace(outbound, valid_for=left)
        return None

    async def _made(self, turn: Turn, account: Account) -> Outbound | None:
        """The message with its files; None if it cannot be made now, which is then recorded."""
        claimed = turn.claimed
        try:
            async with asyncio.timeout(_FILES) if claimed.attachments else nullcontext():
                return await self._outbounds.make(claimed, account)
        except NotNowError:
            await self._outcomes.not_begun([claimed])
        except TimeoutError:
            late = RefusedForNow("Its files were not had in time.", code="attachment")
            await self._outcomes.refused_for_now(claimed, late)
        except Refused as error:  # by us: the provider may have it from an earlier attempt
            await self._outcomes.given_up(claimed, error)
        except SendError as error:
            await self._not_sent(claimed, error, 0.0)
        return None

    async def _is_too_late_to_ask(
        self, claimed: Claimed, account: Account, outbound: Outbound
    ) -> bool:
        """Whether an earlier request is so old that the provider would take its repetition for new.

        Since then the entry may have waited for the pause after a refusal, or while no worker ran.
        """
        if not only_sending_tells(claimed):
            return False
        async with self._database.as_service() as db:
            lost = await queue.lost_since(db, claimed.organization_id, claimed.message_id)
        since = lost or claimed.created_at
        try:
            check_identity(claimed, (datetime.now(UTC) - since).total_seconds())
            find = PROVIDERS[account.provider].send.find
            await find(account, outbound, self._session, since)
        except CannotAsk as error:
            await self._outcomes.cannot_ask(claimed, error)
            return True
        return False

    async def _hold(self, claimed: Claimed, seconds: float, *, is_begun: bool = False) -> bool:
        """Extend the lease; False when another worker has taken over the entry."""
        async with self._database.as_service() as db:
            return await queue.extend(db, claimed, self.lease_id, seconds, is_begun=is_begun)

    async def _not_sent(
        self, claimed: Claimed, error: SendError | TimeoutError, open_for: float
    ) -> None:
        log_defect(claimed, error)
        if isinstance(error, NotLookedAt) and only_sending_tells(claimed):
            # The account may be corrected while the provider still knows what it has.
            later = RefusedForNow(error.message, code=error.code)
            await self._outcomes.refused_for_now(claimed, later)
        elif isinstance(error, Refused):
            await self._outcomes.refused(claimed, error)
        elif isinstance(error, Busy):
            await self._outcomes.busy(claimed, error)
        elif isinstance(error, RefusedForNow):
            await self._outcomes.refused_for_now(claimed, error)
        elif isinstance(error, CannotAsk):
            await self._outcomes.cannot_ask(claimed, error)
        elif isinstance(error, SendError):
            await self._outcomes.lost(claimed, error.message, open_for)
        else:
            await self._outcomes.lost(claimed, "It took too long to be sent.", open_for)

    def _account(self, claimed: Claimed) -> Account:
        if claimed.account_id is None or claimed.provider is None or claimed.credentials is None:
            raise VaultError("its provider account was removed")
        if claimed.provider not in PROVIDERS:
            raise VaultError(f"this version of the gateway has no provider {claimed.provider}")
        return Account(
            id=claimed.account_id,
            organization_id=claimed.organization_id,
            provider=claimed.provider,
            credentials=self._vault.open(claimed.organization_id, claimed.credentials),
            api_url=self._api_urls.get(claimed.provider),
            settings=as_object(claimed.settings),
        )
