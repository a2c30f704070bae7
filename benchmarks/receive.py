"""Goal 3: receive."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.load import Spec
from benchmarks.measure import load, watch
from benchmarks.result import Goal, Row, row_of
from benchmarks.stage import Stage
from benchmarks.traffic import meta_statuses, sendgrid_events, twilio_message, twilio_reports
from channels.model import Channel

EVENTS = 50
# Few in a request: with more, the naive program would answer none in time.
NAIVE_EVENTS = 5
CONNECTIONS = 64
BATCH_CONNECTIONS = 8


def receive(
    stage: Stage,
    seconds: float,
    naive: dict[str, float],
    floor: float | None,
    webs: Sequence[int] = (1, 2),
) -> list[Row]:
    """Reports of Twilio one by one, those of SendGrid and Meta with many in a request."""
    rows = []
    for provider in ("twilio", "sendgrid", "meta"):
        for processes in webs:
            row = reports(stage, provider, seconds, processes)
            row.naive, row.floor = naive.get(provider), floor
            rows.append(row)
    rows.append(texts(stage, seconds, max(webs)))
    return rows


def reports(stage: Stage, provider: str, seconds: float, processes: int) -> Row:
    """Reports of one provider, as many as this number of web processes accepts."""
    each = 1 if provider == "twilio" else EVENTS
    requests = _requests(stage, provider, seconds, each)
    with stage.web(processes) as web:
        outcome, cost = load(
            stage, requests, _spec(stage, provider, seconds), watch(stage, web=web)
        )
    stored = stage.postgres.count("SELECT count(*) FROM gateway.message_events")
    words = "status" if each == 1 else f"{each} a request"
    row = row_of("receive", f"{provider}, {words}, {processes} web", outcome, cost, each)
    told = outcome.all_answered * each
    row.more = {"answered": told, "stored": stored}
    unit, limit = ("reports", 4000) if each == 1 else ("events", 15_000)
    row.goals = [
        Goal(what=f"{unit} a second", limit=limit, value=row.rate),
        Goal(what="p99 in ms", limit=50, value=outcome.p99, at_least=False),
        Goal(what="stored of answered", limit=1, value=stored / told),
    ]
    return row


def texts(stage: Stage, seconds: float, processes: int) -> Row:
    """Inbound SMS, one per request, as many as this number of web processes accepts."""
    stage.postgres.clear()
    url = stage.hook("twilio", stage.tenant.twilio, "message")
    token, most = stage.tenant.token, int(4_000 * (seconds + _warmup(seconds)))
    requests = [twilio_message(url, token, f"SM{n:032x}", n % stage.contacts) for n in range(most)]
    with stage.web(processes) as web:
        outcome, cost = load(
            stage, requests, _spec(stage, "twilio", seconds), watch(stage, web=web)
        )
    stored = stage.postgres.count("SELECT count(*) FROM public.messages")
    row = row_of("receive", f"twilio, message of a contact, {processes} web", outcome, cost)
    row.more = {"answered": outcome.all_answered, "stored": stored}
    row.goals = [Goal(what="stored of answered", limit=1, value=stored / outcome.all_answered)]
    return row


def naive_receive(stage: Stage, seconds: float) -> dict[str, float]:
    """Reports per second that the naive program accepts, by provider."""
    rates = {}
    with stage.naive("app") as web:
        for provider in ("twilio", "sendgrid", "meta"):
            each = 1 if provider == "twilio" else NAIVE_EVENTS
            requests = _requests(stage, provider, seconds, each)
            outcome, _ = load(
                stage, requests, _spec(stage, provider, seconds), watch(stage, web=web)
            )
            rates[provider] = outcome.answered * each / outcome.seconds
    return rates


def _spec(stage: Stage, provider: str, seconds: float) -> Spec:
    return Spec(
        port=stage.port,
        connections=CONNECTIONS if provider == "twilio" else BATCH_CONNECTIONS,
        seconds=seconds,
        warmup=_warmup(seconds),
        status=200,
        repeat=False,
    )


def _warmup(seconds: float) -> float:
    return min(1.0, seconds / 2)


def _requests(stage: Stage, provider: str, seconds: float, each: int) -> Sequence[bytes]:
    """Reports about existing messages, more than can be accepted in the time."""
    stage.postgres.clear()
    tenant, now = stage.tenant, int(time.time())
    if provider == "twilio":
        sent = stage.sent(Channel.SMS, int(4_000 * (seconds + _warmup(seconds))))
        url = stage.hook("twilio", tenant.twilio, "status")
        return list(twilio_reports(url, tenant.token, sent))
    if provider == "sendgrid":
        sent = stage.sent(Channel.EMAIL, int(200 * (seconds + _warmup(seconds))) * EVENTS)
        url = stage.hook("sendgrid", tenant.sendgrid, "events")
        return list(sendgrid_events(url, tenant.mail_key, sent, each, now))
    sent = stage.sent(Channel.WHATSAPP, int(200 * (seconds + _warmup(seconds))) * EVENTS)
    url = stage.hook("meta", tenant.meta, "events")
    return list(meta_statuses(url, tenant.app_secret, tenant.phone_number_id, sent, each, now))
