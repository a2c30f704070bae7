"""Asking Mailgun what it has taken: by our own Message-ID, in its events."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from channels.errors import AnswerLost, CannotAsk, Refused, RefusedForNow, SendError
from channels.http import Answer
from channels.model import AnswerReport, Sent
from channels.providers.mailgun import KEPT, LATEST_EVENT, half, read_events
from tests.mailgun.conftest import FakeMailgun
from tests.mailgun.values import NOW, SINCE, account, outbound
from tests.mails import ID

OURS = f"{ID}@example.com"
LATE = SINCE + LATEST_EVENT


def about(message_id: Any) -> dict[str, Any]:
    """An event about a mail."""
    return {"event": "accepted", "message": {"headers": {"message-id": message_id}}}


def mail(*events: Any) -> Sent:
    """The mail, with what is listed of it."""
    reports = tuple(AnswerReport(event="events", body={"event-data": event}) for event in events)
    return Sent(external_id=OURS, reports=reports)


def listed(*items: Any) -> Answer:
    """An answer with these events."""
    return Answer(status=200, text=json.dumps({"items": items, "paging": {}}), headers={})


async def test_the_question(mailgun_api: FakeMailgun, session: aiohttp.ClientSession) -> None:
    """One GET, by Message-ID, from shortly before the attempt on; the recipient is not asked for,
    whom Mailgun may list in another form than we write."""
    mailgun_api.says(200, listed(about(OURS)).text)
    found = await half.find(account(mailgun_api.url), outbound(), session, SINCE)
    assert found == [mail(about(OURS))]
    [request] = mailgun_api.asked
    assert (request.method, request.path) == ("GET", "/v3/example.com/events")
    assert dict(request.query) == {
        "begin": str(int(SINCE.timestamp()) - 300),
        "ascending": "yes",
        "limit": "100",
        "message-id": OURS,
    }


async def test_the_clock_that_counts(
    mailgun_api: FakeMailgun, session: aiohttp.ClientSession
) -> None:
    """Nothing there is an answer only half an hour after the attempt."""
    mailgun_api.says(200, listed().text)
    held, now = account(mailgun_api.url), datetime.now(UTC)
    with pytest.raises(AnswerLost):
        await half.find(held, outbound(), session, now)
    assert await half.find(held, outbound(), session, now - timedelta(minutes=31)) == []


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (listed(about(OURS), about("x"), about(OURS)), [mail(about(OURS), about(OURS))]),
        (listed(about(f"<{OURS}>")), [mail(about(f"<{OURS}>"))]),
        (listed(about("other@example.com"), {}, 3, about(None), {"message": []}), []),
        (listed(), []),
    ],
)
def test_what_it_has(answer: Answer, found: list[Sent]) -> None:
    """An event about our Message-ID, of whatever kind, is the mail, and tells what became of it;
    others are not."""
    assert read_events(answer, outbound(), SINCE, LATE) == found


def test_events_that_may_be_forgotten() -> None:
    """After the better part of a day nothing there is no answer: Mailgun may have had the mail."""
    with pytest.raises(CannotAsk):
        read_events(listed(about("other@example.com")), outbound(), SINCE, SINCE + KEPT * 1.01)
    assert [] == read_events(listed(), outbound(), SINCE, SINCE + KEPT)
    late = read_events(listed(about(OURS)), outbound(), SINCE, SINCE + 9 * KEPT)
    assert [mail(about(OURS))] == late


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (listed(), AnswerLost),
        (Answer(status=200, text="{}", headers={}), AnswerLost),
        (Answer(status=500, text="", headers={}), AnswerLost),
        (Answer(status=429, text="", headers={}), RefusedForNow),
        (Answer(status=401, text="Forbidden", headers={}), Refused),
    ],
)
def test_no_answer(answer: Answer, kind: type[SendError]) -> None:
    """Too early to know, or not answered: the question stays open."""
    with pytest.raises(kind):
        read_events(answer, outbound(), SINCE, NOW)
