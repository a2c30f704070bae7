"""Asking a provider whether it has a message whose answer was lost, and which of its messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import takewhile

import aiohttp

from channels import sms
from channels.errors import CannotAsk, RefusedForNow, SendError
from channels.model import Account, Channel, Outbound, Sent
from gateway.dispatch.events import ids
from gateway.dispatch.identity import check_identity
from gateway.dispatch.outbound import Outbounds
from gateway.dispatch.outcomes import Outcomes
from gateway.dispatch.pace import Pace
from gateway.dispatch.sizes import slowest_seconds
from gateway.observability.logs import logger
from gateway.registry import PROVIDERS
from gateway.store import queue
from gateway.store.database import Database
from gateway.store.errors import HeldError
from gateway.store.queue import Claimed, Twin
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
        if claimed.asked >= self._pace.most_questions:
            await self._give_up(claimed)
            return
        if claimed.provider is None:
            await self._outcomes.not_asked(claimed)
            return
        # Measured before the list is read: a message that it lacks may arrive afterwards.
        age = claimed.attempt_age or 0.0
        if (listed := await self._listed(claimed, age)) is not None:
            await self._conclude(claimed, age, *listed)

    async def _give_up(self, claimed: Claimed) -> None:
        """Ask no more, once the questions about its twins are used up, too: else one of those would
        seem to be the only one that the provider's record of this one may be of."""
        async with self._database.as_service() as db:
            twins = await queue.twins(
                db, claimed.organization_id, claimed.message_id, from_any=True
            )
        if any(twin.asked < self._pace.most_questions for twin in twins):
            await self._outcomes.not_asked(claimed)
            return
        await self._outcomes.settled(claimed)
        _log.error("nobody can say what became of it: it stays unknown", **ids(claimed))

    async def _listed(
        self, claimed: Claimed, age: float
    ) -> tuple[Account, Outbound, list[Sent]] | None:
        """The message, its account, and those like it that the provider took; None where it does
        not say."""
        # By this machine's clock, which the send half can compare with the provider's.
        ago = timedelta(seconds=max(age, claimed.open_for))
        since = datetime.now(UTC) - ago if age else claimed.created_at
        try:
            check_identity(claimed, ago.total_seconds() if age else None)
            account = self._account(claimed)
            outbound = await self._outbounds.make(claimed, account, with_files=False)
            send_half = PROVIDERS[account.provider].send
            found = await send_half.find(account, outbound, self._session, since)
            return account, outbound, found
        except CannotAsk as error:
            await self._outcomes.cannot_ask(claimed, error)
        except (SendError, VaultError) as error:
            _log.warning("the provider could not be asked", error=str(error), **ids(claimed))
            wait = min(self._pace.ask_every * (claimed.asked + 1), 300)
            if isinstance(error, RefusedForNow):
                wait = max(wait, error.retry_after or 0.0)
            await self._outcomes.ask_again(claimed, wait)
        return None

    async def _conclude(
        self,
        claimed: Claimed,
        age: float,
        account: Account,
        outbound: Outbound,
        found: Sequence[Sent],
    ) -> None:
        """What follows from what the provider lists."""
        has_pool = PROVIDERS[account.provider].pool_credential in account.credentials
        # After the list was read: whoever sent a message on it had claimed it before.
        async with self._database.as_service() as db:
            others = await queue.twins(
                db, claimed.organization_id, claimed.message_id, from_any=has_pool
            )
            listed = [sent for sent in found if sent.has_id]
            known = await queue.known_external_ids(db, [sent.external_id for sent in listed])
        free = [sent for sent in listed if sent.external_id not in known]
        sure_after = self._pace.sure_after + slowest_seconds(claimed)
        # The database's clock, which the age is by, may have been set forward since the attempt. Or
        # back: then the list may have been read from too late on, and its silence says nothing.
        is_sure = min(age, claimed.open_for) >= sure_after and claimed.open_for - age <= _SET_BACK
        # What was left out may be this message.
        is_sure = is_sure and len(listed) == len(found)
        twins = _alike(others, outbound)
        # Waiting for younger twins uses up no question: equal messages may come for long.
        if any(twin.is_in_flight for twin in twins):
            await self._outcomes.ask_again(claimed, self._pace.twin_wait, questions=0)
            return
        # While the provider lists fewer than are open, reports, which name their message, may still
        # tell which is which: the listed one may belong to a twin whose worker has just died.
        youngest = min((twin.age for twin in twins), default=0.0)
        may_be_told = len(free) < len(twins) and not (is_sure and youngest >= sure_after)
        # What is listed with our very text is not taken for one with another text, whosever it is:
        # the person has got just what this one says.
        if exact := [sent for sent in free if not sent.may_differ]:
            free, twins = exact, _with_its_text(twins, outbound)
        are_all_listed = len(free) >= len(twins)
        if not free and is_sure:
            await self._outcomes.not_there(claimed)
        elif not free or may_be_told:
            counted = 0 if free and is_sure else 1
            await self._outcomes.ask_again(claimed, self._pace.ask_every, questions=counted)
        elif not are_all_listed and _only_reports_tell(twins, outbound):
            await self._outcomes.cannot_tell(claimed)
        else:
            # The first that was attempted is the first that is listed, as far as anybody knows.
            earlier = list(takewhile(lambda each: each.message_id != claimed.message_id, twins))
            try:
                if not await self._outcomes.adopted(claimed, free[len(earlier) :] or free):
                    await self._outcomes.ask_again(claimed, self._pace.ask_every)
            except HeldError:  # as long as that lasts, as with a twin
                await self._outcomes.ask_again(claimed, self._pace.ask_every, questions=0)


def _alike(twins: Sequence[Twin], outbound: Outbound) -> list[Twin]:
    """Those of which the provider may list what it lists of this one."""
    content = outbound.content
    if outbound.channel is Channel.CALL or content.template is not None:
        return list(twins)  # it lists no text of ours
    if outbound.channel is not Channel.SMS:
        return _with_its_text(twins, outbound)
    letters = sms.letters(content.body)
    return [each for each in twins if sms.letters(each.body) == letters]


def _with_its_text(twins: Sequence[Twin], outbound: Outbound) -> list[Twin]:
    """This one and those that say the same, but for blanks, which a provider may leave out."""
    own, words = outbound.message_id, outbound.content.body.split()
    return [each for each in twins if each.message_id == own or each.body.split() == words]


def _only_reports_tell(twins: Sequence[Twin], outbound: Outbound) -> bool:
    """Whether none may be taken for what is listed: it matters to the person which of them they
    have got, or nobody can be asked about one, or its reports come to somebody else."""
    if any(each.has_other_parts or not each.has_sender or each.is_others for each in twins):
        return True
    return len(_with_its_text(twins, outbound)) < len(twins)
