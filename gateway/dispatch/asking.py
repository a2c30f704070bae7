"""Asking a provider whether it has a message whose answer was lost, and which of its messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import aiohttp

from channels.errors import CannotAsk, RefusedForNow, SendError
from channels.model import Account
from gateway.dispatch.events import ids
from gateway.dispatch.outbound import Outbounds
from gateway.dispatch.outcomes import Outcomes
from gateway.dispatch.pace import Pace
from gateway.dispatch.sizes import slowest_seconds
from gateway.observability.logs import logger
from gateway.registry import PROVIDERS
from gateway.store import queue
from gateway.store.database import Database
from gateway.store.queue import Claimed
from gateway.vault import VaultError

_log = logger(__name__)

# Seconds by which what was waited may exceed the attempt's age: by more, the clock was set back.
_SET_BACK = 5.0


class Asking:
    """Asks about entries, and records the result; `account` opens an entry's provider account."""

    def __init__(
        self,
        database: Database,
        session: aiohttp.ClientSession,
        outbounds: Outbounds,
        outcomes: Outcomes,
        pace: Pace,
        account: Callable[[Claimed], Account],
    ) -> None:
        self._database = database
        self._session = session
        self._outbounds = outbounds
        self._outcomes = outcomes
        self._pace = pace
        self._account = account

    async def ask(self, claimed: Claimed) -> None:
        """Ask the provider whether it has a message whose answer was lost."""
        if claimed.provider is None or claimed.asked >= self._pace.most_questions:
            await self._outcomes.settled(claimed)
            _log.error("nobody can say what became of it: it stays unknown", **ids(claimed))
            return
        # Measured before the list is read: a message that it lacks may arrive afterwards.
        age = claimed.attempt_age or 0.0
        # By this machine's clock, which the send half can compare with the provider's.
        ago = timedelta(seconds=max(age, claimed.open_for))
        since = datetime.now(UTC) - ago if age else claimed.created_at
        try:
            account = self._account(claimed)
            found = await PROVIDERS[account.provider].send.find(
                account,
                await self._outbounds.make(claimed, account, with_files=False),
                self._session,
                since,
            )
        except CannotAsk as error:
            await self._outcomes.cannot_ask(claimed, error)
            return
        except (SendError, VaultError) as error:
            _log.warning("the provider could not be asked", error=str(error), **ids(claimed))
            wait = min(self._pace.ask_every * (claimed.asked + 1), 300)
            if isinstance(error, RefusedForNow):
                wait = max(wait, error.retry_after or 0.0)
            await self._outcomes.ask_again(claimed, wait)
            return
        # After the list was read: whoever sent a message on it had claimed it before.
        async with self._database.as_service() as db:
            twins = await queue.twins(db, claimed.organization_id, claimed.message_id)
            listed = [sent for sent in found if sent.has_id]
            known = await queue.known_external_ids(db, [sent.external_id for sent in listed])
        free = [sent for sent in listed if sent.external_id not in known]
        sure_after = self._pace.sure_after + slowest_seconds(claimed)
        # The database's clock, which the age is by, may have been set forward since the attempt. Or
        # back: then the list may have been read from too late on, and its silence says nothing.
        is_sure = min(age, claimed.open_for) >= sure_after and claimed.open_for - age <= _SET_BACK
        # What was left out may be this message.
        is_sure = is_sure and len(listed) == len(found)
        if twins.in_flight:
            await self._outcomes.ask_again(claimed, self._pace.twin_wait)
            return
        # While the provider lists fewer than are open, reports, which name their message, may still
        # tell which is which: the listed one may belong to a twin whose worker has just died. Not
        # for ever, though: more twins may follow.
        is_known = twins.youngest >= sure_after or age >= 2 * sure_after
        may_adopt = len(free) >= twins.unresolved or (is_sure and is_known)
        if free and not may_adopt:
            await self._outcomes.ask_again(claimed, self._pace.ask_every)
        elif free and await self._outcomes.adopted(claimed, free):
            return
        elif is_sure:
            await self._outcomes.not_there(claimed)
        else:
            await self._outcomes.ask_again(claimed, self._pace.ask_every)
