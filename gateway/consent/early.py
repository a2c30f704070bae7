"""Changes of consent that are kept with a report until its message, and so its recipient, is
known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from channels.model import Account, Channel
from gateway.consent import recording
from gateway.store.database import PLANNED_AS_EVER, Connection
from gateway.store.kept_reports import CONSENT
from gateway.store.reports import Event
from webhooks.model import ConsentChange, Reason

# Changes by the id of the account that told them.
ByAccount = dict[UUID, tuple[Account, list[ConsentChange]]]


def unnamed(changes: Iterable[ConsentChange]) -> dict[str, list[ConsentChange]]:
    """The changes that name no address, by the provider's id of their message.

    Without lifts: when in doubt, nobody is written to.
    """
    found: dict[str, list[ConsentChange]] = {}
    for change in changes:
        if change.address is None and change.external_id and not change.is_lifted:
            found.setdefault(change.external_id, []).append(change)
    return found


def as_kept(
    account: Account, changes: Iterable[ConsentChange], occurred_at: datetime | None, at: datetime
) -> dict[str, Any]:
    """Changes as a member of the detail of a kept report of what `occurred_at`, which came `at`.

    The member is there also without changes, so that the provider's own details cannot be taken for
    it.
    """
    kept = [
        {
            "account_id": account.id,
            "channel": change.channel,
            "reason": change.reason,
            "word": change.word,
            "key": change.key,
            "group": change.group,
            "is_accounts": change.is_accounts,
            # Not later than the report came: a START may follow before this is applied.
            "occurred_at": min(change.occurred_at or occurred_at or at, at),
            "detail": change.detail,
        }
        for change in changes
    ]
    return {CONSENT: kept}


def read(events: Iterable[Event]) -> ByAccount:
    """The changes that were kept with reports, now that their messages are known."""
    by_account: ByAccount = {}
    for event in events:
        for kept in event.consent:
            account = Account(
                id=UUID(kept["account_id"]),
                organization_id=event.organization_id,
                provider=event.source,
                credentials={},
            )
            by_account.setdefault(account.id, (account, []))[1].append(_change(event, kept))
    return by_account


def _change(event: Event, kept: Mapping[str, Any]) -> ConsentChange:
    return ConsentChange(
        channel=Channel(kept["channel"]),
        reason=Reason(kept["reason"]),
        message_id=event.message_id,
        external_id=event.external_id,
        word=kept["word"],
        key=kept["key"],
        # Changes kept by an earlier version have neither of these.
        group=kept.get("group"),
        is_accounts=kept.get("is_accounts", False),
        occurred_at=datetime.fromisoformat(kept["occurred_at"]),
        detail=kept["detail"],
    )


async def store(db: Connection, by_account: ByAccount) -> None:
    """Store the changes of accounts, in a transaction whose other statements are planned once."""
    if by_account:
        await db.execute(PLANNED_AS_EVER)
    # In the same order everywhere, like the locks within each of them: no deadlocks.
    for _, (account, changes) in sorted(by_account.items()):
        await recording.store(db, account, changes)
