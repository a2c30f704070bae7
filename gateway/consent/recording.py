"""Consent: who must not be written to, under every address that we know them by.

WhatsApp knows a person by a number, by user ids, or by both, and may tell only one of them. A stop
under one address holds for the others that came up in the same conversation. A start lifts it only
for the addresses that the same stop was said of: several people may share a conversation.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from channels.model import Account, Channel
from gateway import addresses
from gateway.consent import inheriting, standing
from gateway.ids import derived_id
from gateway.registry import CARRIED
from gateway.store import reports, suppressions
from gateway.store.database import Connection
from gateway.store.suppressions import Person, Statement
from webhooks.mail.letter import mailboxes
from webhooks.model import ConsentChange, Renamed

# Members of the evidence that we set and read ourselves: a provider must not set them.
_OURS = frozenset({"said_of", "of_group"})
_PLAIN = re.compile(r"[\w.+-]+@[\w.-]+", re.ASCII)


async def store(
    db: Connection,
    account: Account,
    changes: Sequence[ConsentChange],
    renamed: Sequence[Renamed] = (),
    people: Sequence[Person] = (),
    *,
    at: datetime | None = None,
) -> int:
    """Store changes of consent as evidence, and apply them to all addresses of the person.

    `at` is when they came, if that is long ago: those that were stored then are left out, because
    they would now reach addresses that came up later. `people` turned out to have several
    addresses. Returns how many statements are new.
    """
    if at is not None:
        changes = await _unknown(db, account, changes)
    named = await _named(db, account, changes) if changes else []
    named += await _also(db, account.organization_id, named)
    named += _lifted_in_other_forms(named)
    named += _lifted_of_no_group(named)
    said_of: dict[str, set[str]] = defaultdict(set)
    for change, address in named:
        if change.channel is Channel.WHATSAPP:
            said_of[_word(change)].add(_key(change.channel, address))
    said = [
        _statement(
            account,
            change,
            address,
            sorted(said_of[_word(change)]) if change.channel is Channel.WHATSAPP else [],
        )
        for change, address in named
    ]
    for news in renamed:
        said += await _inherited(db, account, news, at)
    said += await inheriting.inherited(db, account.organization_id, people)
    return await suppressions.change(db, account.organization_id, said)


async def _unknown(
    db: Connection, account: Account, changes: Sequence[ConsentChange]
) -> list[ConsentChange]:
    """The changes that were not stored yet, and all lifts: they lift nothing that was said later,
    and an earlier stop may only be stored now."""
    ids = [_id(account, change.key) for change in changes]
    known = await suppressions.known(db, account.organization_id, ids) if ids else set()
    return [
        change
        for change, own_id in zip(changes, ids, strict=True)
        if change.is_lifted or own_id not in known
    ]


def _id(account: Account, key: str) -> UUID:
    return derived_id(account.organization_id, account.id, "consent", key)


Named = list[tuple[ConsentChange, str]]


async def _named(db: Connection, account: Account, changes: Sequence[ConsentChange]) -> Named:
    """Each change with its address: the one it names, or that of its message."""
    unnamed = [change for change in changes if change.address is None]
    meant: dict[int, UUID] = {}
    reached: dict[UUID, str] = {}
    if unnamed:
        of = (account.organization_id, account.provider)
        meant = await reports.resolve(
            db, CARRIED, [(*of, each.message_id, each.external_id) for each in unnamed]
        )
        reached = await reports.addressees(db, account.organization_id, list(meant.values()))
    theirs = {id(unnamed[n]): reached[about] for n, about in meant.items() if about in reached}
    return [
        (change, address)
        for change in changes
        if (address := change.address or theirs.get(id(change)))
    ]


async def _also(db: Connection, organization_id: UUID, named: Named) -> Named:
    """The same changes for the other addresses of these people on WhatsApp."""
    about = [(change, address) for change, address in named if change.channel is Channel.WHATSAPP]
    stopped = {_key(Channel.WHATSAPP, address) for change, address in about if not change.is_lifted}
    lifted = {_key(Channel.WHATSAPP, address) for change, address in about if change.is_lifted}
    known: dict[tuple[bool, str], list[str]] = defaultdict(list)
    if stopped:
        for of, other in await suppressions.also_known_as(db, organization_id, sorted(stopped)):
            known[False, of].append(other)
    if lifted:
        # If one request has both words.
        for of in lifted & stopped:
            known[True, of] = list(known[False, of])
        for of, other in await suppressions.said_of(db, organization_id, sorted(lifted)):
            known[True, of].append(other)
    told = {_mark(change, address) for change, address in about}
    also: Named = []
    for change, address in about:
        for other in known[change.is_lifted, _key(Channel.WHATSAPP, address)]:
            if (mark := _mark(change, other)) not in told:
                told.add(mark)
                also.append((replace(change, key=f"{change.key}:{other}"), other))
    return also


def _lifted_in_other_forms(named: Named) -> Named:
    """The lifts for the other form of a number, because both forms must be free."""
    return [
        (replace(change, key=f"{change.key}:{form}"), form)
        for change, address in named
        if change.is_lifted and change.channel in (Channel.SMS, Channel.CALL)
        for form in addresses.forms(change.channel, address)
        if form != address
    ]


def _lifted_of_no_group(named: Named) -> Named:
    """The lifts of one account's statements, also for those that an earlier version stored without
    an account."""
    return [
        (replace(change, key=f"{change.key}:of no group", group="", is_accounts=False), address)
        for change, address in named
        if change.is_lifted and change.is_own and change.is_accounts
    ]


def _mark(change: ConsentChange, address: str) -> tuple[object, ...]:
    """What identifies a change, in whichever form it names the address."""
    return (change.reason, change.is_lifted, change.occurred_at, _key(change.channel, address))


async def _inherited(
    db: Connection, account: Account, news: Renamed, at: datetime | None
) -> list[Statement]:
    """The suppressions of the former addresses, as statements about the new ones.

    Somebody else may have the former ones since the news came (`at`).
    """
    former = [_key(news.channel, each) for each in news.former]
    reasons = await suppressions.held_against(
        db, account.organization_id, news.channel, former, before=at
    )
    return [
        Statement(
            id=_id(account, key),
            channel=news.channel,
            address=_key(news.channel, address),
            reason=reason,
            is_lifted=False,
            source=account.provider,
            occurred_at=news.occurred_at,
            detail={
                "word": news.word,
                "former": list(news.former),
                "said_of": [_key(news.channel, each) for each in news.addresses],
                **news.detail,
            },
        )
        for reason in reasons
        for address in news.addresses
        for key in (f"{news.key}:{reason}:{address}",)
    ]


def _word(change: ConsentChange) -> str:
    """A key that is the same where one word is said of several addresses."""
    return repr(replace(change, address=None, key=""))


def _key(channel: Channel, address: str) -> str:
    """The form in which an address is suppressed, without what a provider writes around it."""
    if channel is Channel.EMAIL and _PLAIN.fullmatch(address) is None:
        found = mailboxes([address])
        address = found[0] if len(found) == 1 else address
    return addresses.key(channel, address)


def _statement(
    account: Account, change: ConsentChange, address: str, said_of: Sequence[str]
) -> Statement:
    """What was said about an address, and by the same word perhaps about others, as evidence."""
    group = _group(account, change)
    return Statement(
        id=_id(account, change.key),
        channel=change.channel,
        address=_key(change.channel, address),
        reason=change.reason,
        is_lifted=change.is_lifted,
        source=account.provider,
        occurred_at=change.occurred_at,
        of_source=_of_source(account, change),
        detail={
            "word": change.word,
            **({"external_id": change.external_id} if change.external_id else {}),
            **({"message_id": str(change.message_id)} if change.message_id else {}),
            **({"said_of": said_of} if len(said_of) > 1 else {}),
            **{name: said for name, said in change.detail.items() if name not in _OURS},
            **({"of_group": group} if group else {}),
        },
    )


def _of_source(account: Account, change: ConsentChange) -> str | None:
    """Whose statements a lift takes back: those of everybody, of its provider, or of one group."""
    if not change.is_own:
        return None
    group = _group(account, change)
    return account.provider if group is None else f"{account.provider}:{group}"


def _group(account: Account, change: ConsentChange) -> str | None:
    """The group that a change is about, "" for what was said of none."""
    return standing.group(account.id, change.group) if change.is_accounts else change.group
