"""Which events of a kept request were lost: those that are not stored already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from channels.model import Account, Channel
from gateway.receive import incoming
from gateway.receive.additions import file_ids
from gateway.receive.applying import events_of
from gateway.receive.raw_requests import without_secrets
from gateway.registry import CARRIED, PROVIDERS
from gateway.reported import report_event, report_name
from gateway.store import messages, reports, requests
from gateway.store.database import Connection
from gateway.store.messages import Known
from gateway.store.reports import Event, event_id
from gateway.store.requests import RawRequest
from webhooks.model import (
    Addition,
    ConsentChange,
    Fetch,
    Inbound,
    Renamed,
    StatusReport,
    WebhookEvent,
    WebhookRequest,
)

# Mails that are remembered while others are replayed: mails with the same Message-ID follow soon.
_REMEMBERED = 10_000


def dated(event: WebhookEvent, at: datetime) -> WebhookEvent:
    """The event, dated not later than its request.

    Reports are dated only when they are stored, because their own time is part of their identity.
    """
    if isinstance(event, Inbound | Addition | ConsentChange | Renamed):
        return replace(event, occurred_at=min(event.occurred_at or at, at))
    return event


async def inbound(
    db: Connection,
    account: Account,
    came: Sequence[Inbound],
    at: datetime,
    read_as: dict[UUID, UUID],
) -> tuple[dict[UUID, Inbound], list[UUID]]:
    """The messages that are not stored, by their ids; and the ids of the files of the others.

    The id of a mail depends on its content as we read it, which another version may read in another
    way. A stored mail with the same Message-ID (which anybody can forge) is taken for this one if
    it was stored with this request and is not another one that is replayed: `read_as` has the ids
    of those, by the ids that they are stored under.
    """
    by_id = incoming.by_id(account, came)
    if not by_id:
        return {}, []
    mail_ids = [each.external_id for each in came if each.channel is Channel.EMAIL]
    known = await messages.known(db, account.organization_id, list(by_id), mail_ids, at, account.id)
    stored = {row.id for row in known}
    lost: dict[UUID, Inbound] = {}
    files: list[UUID] = []
    for own_id, each in by_id.items():
        about = own_id
        if each.channel is Channel.EMAIL:
            if own_id not in stored:
                same = (row.id for row in known if _is_same(each, own_id, row, read_as))
                about = next(same, own_id)
            read_as.setdefault(about, own_id)
        if about in stored:
            files += file_ids(about, "", each.attachments)
        else:
            lost[own_id] = each
    while len(read_as) > _REMEMBERED:
        del read_as[next(iter(read_as))]
    return lost, files


def _is_same(mail: Inbound, own_id: UUID, row: Known, read_as: Mapping[UUID, UUID]) -> bool:
    """Whether a mail is the one that is stored in this row, under another id."""
    if row.external_id != mail.external_id:
        return False
    if row.id in read_as:
        return read_as[row.id] == own_id  # the same mail came in two requests
    return row.came_then and (row.to_address == mail.to_address or not row.is_others)


async def unfetched(
    db: Connection, raw: RawRequest, at: datetime, fetches: Sequence[Fetch]
) -> list[Fetch]:
    """The fetches that no worker has done. If one was done, its answer is a kept request itself.

    A fetch that failed is tried again, unless another form was fetched instead. Nothing is visited
    again: what a URL confirmed then may have been revoked since.
    """
    parse = PROVIDERS[raw.provider].webhook.parse
    left = []
    for fetch in fetches:
        given_up = WebhookRequest(
            method="GET", url=fetch.url, event="unfetched", headers={}, body=b""
        )
        instead = not fetch.is_visit and events_of(parse(given_up), Fetch)
        ways = ("fetched", "unfetched") if instead else ("fetched",)
        url = without_secrets(fetch.url)
        if not fetch.is_visit and not await requests.is_fetched(db, raw, url, at, ways):
            left.append(fetch)
    return left


@dataclass(frozen=True, slots=True)
class Left:
    """Reports and additions to record, `unmatched` of which have no message; and the ids of the
    `files` of additions that were recorded before."""

    reported: Sequence[StatusReport]
    additions: Sequence[Addition]
    unmatched: int
    files: Sequence[UUID]


async def matched(
    db: Connection,
    account: Account,
    reported: Sequence[StatusReport],
    additions: Sequence[Addition],
    at: datetime,
) -> Left:
    """The reports and additions of a request that were not recorded.

    Without reports about inbound calls: a report that does not say whose call it is was recorded
    for one of ours, or as an event of the call once that came in. An error that was recorded in
    other words is not recorded again, nor is a report that an equal message got instead.
    """
    organization_id = account.organization_id
    keys = [
        (organization_id, account.provider, each.message_id, each.external_id) for each in reported
    ]
    found = await reports.resolve(db, CARRIED, keys) if keys else {}
    named = [each.external_id for each in reported if each.external_id is not None]
    named += [each.external_id for each in additions]
    known = await reports.all_of(db, organization_id, named) if named else {}
    errors = {
        n: _as_reported(account, reported[n], about, at)
        for n, about in found.items()
        if reported[n].error_message is not None
    }
    again = await reports.told_before(db, organization_id, errors) if errors else set()
    again |= await _got_by_equal_messages(db, organization_id, reported, found, known)
    left = [
        each
        for n, each in enumerate(reported)
        if n not in again and (n in found or each.external_id not in known)
    ]
    lone = [each for each in additions if each.external_id not in known]
    unmatched = len(left) - len(found.keys() - again) + len(lone)
    added = await _added(db, organization_id, additions, known)
    return Left(
        left,
        [each for n, each in enumerate(additions) if n not in added],
        unmatched,
        [
            own_id
            for n, about in added.items()
            for own_id in file_ids(about, additions[n].key, additions[n].attachments)
        ],
    )


async def _got_by_equal_messages(
    db: Connection,
    organization_id: UUID,
    reported: Sequence[StatusReport],
    found: Mapping[int, UUID],
    known: Mapping[str, Sequence[UUID]],
) -> set[int]:
    """The numbers of the reports that another message got: the one that they name, or one with the
    same provider's id."""
    events = {
        event_id(other, report_name(reported[n])): (n, other)
        for n, about in found.items()
        for other in (reported[n].message_id, *known.get(reported[n].external_id or "", ()))
        if other is not None and other != about
    }
    if not events:
        return set()
    others = {other for _, other in events.values()}
    stored = await reports.known(db, organization_id, list(others), list(events))
    return {events[own_id][0] for own_id in stored}


def _as_reported(account: Account, report: StatusReport, about: UUID, at: datetime) -> Event:
    event = report_event(account, report, about, at)
    return event if report.occurred_at else replace(event, occurred_at=None)


async def _added(
    db: Connection,
    organization_id: UUID,
    additions: Sequence[Addition],
    known: Mapping[str, Sequence[UUID]],
) -> dict[int, UUID]:
    """The numbers of the additions that a message with their external id has, with that message."""
    events = {
        event_id(about, each.key): (n, about)
        for n, each in enumerate(additions)
        for about in known.get(each.external_id, ())
    }
    if not events:
        return {}
    about = {message_id for _, message_id in events.values()}
    stored = await reports.known(db, organization_id, list(about), list(events))
    return dict(events[own_id] for own_id in stored)
