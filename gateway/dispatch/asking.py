"""Asking a provider whether it has a message whose answer was lost, and under which id."""

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

# Seconds by which the time that workers waited may exceed the attempt's age by the database's
# clock: if it is more, that clock was set back.
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
        # Taken before the list is read: a message that is not on it may still arrive afterwards.
        age = claimed.attempt_age or 0.0
        if (listed := await self._listed(claimed, age)) is not None:
            await self._conclude(claimed, age, *listed)

    async def _give_up(self, claimed: Claimed) -> None:
        """Ask no more, once the questions about its twins are used up, too.

        Otherwise a twin that is still asked about would seem to be the only message that the
        provider's record of this one can belong to.
        """
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
        """The account, the message, and those like it that the provider lists; None if it gave no
        list."""
        # On this machine's clock, because the send half compares it with the provider's.
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
        """Act on the provider's list: take one of it for this message, ask again, or send again."""
        listed = [sent for sent in found if sent.has_id]
        has_pool = PROVIDERS[account.provider].pool_credential in account.credentials
        # Read after the list: whatever was sent and is on the list, was claimed before.
        async with self._database.as_service() as db:
            open_ones = await queue.twins(
                db, claimed.organization_id, claimed.message_id, from_any=has_pool
            )
            known = await queue.known_external_ids(db, [sent.external_id for sent in listed])
        free = [sent for sent in listed if sent.external_id not in known]
        twins = _alike(open_ones, outbound, is_hidden=any(sent.is_hidden for sent in free))
        if any(twin.is_in_flight for twin in twins):
            # Not counted as a question: equal messages may keep coming for a long time.
            await self._outcomes.ask_again(claimed, self._pace.twin_wait, questions=0)
            return
        sure_after = self._pace.sure_after + slowest_seconds(claimed)
        # A listed message without a usable id may be this one.
        is_sure = len(listed) == len(found) and _is_certain(claimed, age, sure_after)
        # While fewer messages are listed than are open, a report, which names its message, may
        # still tell which is which: the listed one may belong to a twin whose worker has just died.
        youngest = min((twin.age for twin in twins), default=0.0)
        awaits_reports = len(free) < len(twins) and not (is_sure and youngest >= sure_after)
        # A record with exactly this text is given only to messages with this text, to whichever of
        # them: the person has got what each of them says.
        if exact := [sent for sent in free if not sent.may_differ]:
            free, twins = exact, _with_its_text(twins, outbound)
        if not free and is_sure:
            await self._outcomes.not_there(claimed)
        elif not free or awaits_reports:
            counted = 0 if free and is_sure else 1
            await self._outcomes.ask_again(claimed, self._pace.ask_every, questions=counted)
        elif len(free) < len(twins) and _only_reports_tell(twins, outbound):
            await self._outcomes.cannot_tell(claimed)
        else:
            # Both are in order of time: the first attempt is taken for the first that is listed.
            earlier = list(takewhile(lambda each: each.message_id != claimed.message_id, twins))
            try:
                if not await self._outcomes.adopted(claimed, free[len(earlier) :] or free):
                    await self._outcomes.ask_again(claimed, self._pace.ask_every)
            except HeldError:  # as long as that lasts, as with a twin
                await self._outcomes.ask_again(claimed, self._pace.ask_every, questions=0)


def _is_certain(claimed: Claimed, age: float, sure_after: float) -> bool:
    """Whether a message that the provider does not list was certainly not taken.

    `age` is by the database's clock. If that was set forward since the attempt, less time has
    passed than it says; if it was set back, the list may begin too late to have the message.
    """
    return min(age, claimed.open_for) >= sure_after and claimed.open_for - age <= _SET_BACK


def _alike(twins: Sequence[Twin], outbound: Outbound, *, is_hidden: bool) -> list[Twin]:
    """The twins that look like this message in the provider's list, which may hide texts."""
    content = outbound.content
    if is_hidden or outbound.channel is Channel.CALL or content.template is not None:
        return list(twins)  # the list does not show our text
    if outbound.channel is not Channel.SMS:
        return _with_its_text(twins, outbound)
    letters = sms.letters(content.body)
    return [each for each in twins if sms.letters(each.body) == letters]


def _with_its_text(twins: Sequence[Twin], outbound: Outbound) -> list[Twin]:
    """This message and those with the same text, apart from spaces, which a provider may change."""
    own, words = outbound.message_id, outbound.content.body.split()
    return [each for each in twins if each.message_id == own or each.body.split() == words]


def _only_reports_tell(twins: Sequence[Twin], outbound: Outbound) -> bool:
    """Whether only reports can tell which of the twins is listed, so that none is chosen.

    It matters to the person which of them arrived, or one of them cannot be asked about because its
    sender was deleted, or its reports go to another organization.
    """
    if any(each.has_other_parts or not each.has_sender or each.is_others for each in twins):
        return True
    return len(_with_its_text(twins, outbound)) < len(twins)
