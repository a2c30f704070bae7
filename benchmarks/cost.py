"""Goal 6: the cost of a message with an empty table and with a full one, and the cost of idling."""

from __future__ import annotations

import time
from typing import LiteralString

from benchmarks.circle import run_circle
from benchmarks.measure import watch
from benchmarks.result import Goal, Row
from benchmarks.stage import Stage

RATE = 200
_CHUNK = 100_000

# Ids begin with their time, as the gateway's do; there is a row for each second until an hour ago.
_FILL: LiteralString = """
WITH places AS (
  SELECT conversation_id, address, row_number() OVER () - 1 AS n
  FROM gateway.conversation_addresses WHERE organization_id = %(mine)s
), stored AS (
  INSERT INTO public.messages (id, organization_id, channel, direction, from_address, to_address,
    body, status, external_id, conversation_id, sent_at, delivered_at, created_at, updated_at,
    metadata)
  SELECT (lpad(to_hex((extract(epoch FROM t) * 1000)::bigint), 12, '0') || '7'
      || substr(md5(random()::text), 1, 19))::uuid,
    %(mine)s, 'sms', 'outbound', '+15551230001', p.address,
    'Hello, your appointment with Dr. Grace Hopper is on Tuesday at 10:30. Number ' || k,
    'delivered', 'SM' || md5(random()::text), p.conversation_id, t, t, t, t, '{"before": true}'
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS s (k)
  CROSS JOIN LATERAL (
    SELECT now() - interval '1 hour' - (%(rows)s - k) * interval '1 second' AS t
  ) AS x
  JOIN places p ON p.n = k %% %(contacts)s
  RETURNING organization_id, id, created_at
)
INSERT INTO gateway.message_events
  (organization_id, message_id, id, type, status, occurred_at, recorded_at, source)
SELECT organization_id, stored.id, md5(stored.id || word)::uuid, word, word, created_at, created_at,
  'bench'
FROM stored, unnest('{pending,sending,sent,delivered}'::text[]) AS w (word)
"""


def cost(stage: Stage, seconds: float, rate: int, rows: int) -> list[Row]:
    """The full circle at a moderate rate, before and after the table is filled; then idling."""
    stage.postgres.clear()
    before = _measured(stage, seconds, rate, 0)
    stage.postgres.clear()
    fill(stage, rows)
    after = _measured(stage, seconds, rate, rows)
    total = sum(before.cpu.values())
    times = sum(after.cpu.values()) / total if total else 0.0
    after.goals = [Goal(what="CPU a message, times that at empty", limit=1.3, value=times,
                        at_least=False)]  # fmt: skip
    return [before, after, _idle(stage, seconds)]


def fill(stage: Stage, rows: int) -> None:
    """Fill the table with delivered messages and their events, older than those of the run."""
    db = stage.postgres.db
    # Triggers and foreign keys are skipped: the rows are valid by construction.
    db.execute("SET session_replication_role = replica")
    db.execute("SET synchronous_commit = off")
    for first in range(0, rows, _CHUNK):
        values = {
            "mine": stage.tenant.organization_id,
            "first": first,
            "last": min(rows, first + _CHUNK) - 1,
            "rows": rows,
            "contacts": stage.contacts,
        }
        db.execute(_FILL, values)
    db.execute("RESET session_replication_role")
    db.execute("RESET synchronous_commit")
    db.execute("VACUUM ANALYZE public.messages, gateway.message_events")
    db.execute("CHECKPOINT")


def _measured(stage: Stage, seconds: float, rate: int, rows: int) -> Row:
    course = run_circle(stage, seconds, min(RATE, rate))
    return Row(
        path="cost",
        what=f"full circle at {min(RATE, rate)}/s, {rows:,} rows before",
        rate=course.rate,
        cpu=course.cost.per_message(course.asked),
        peak=course.cost.peak,
    )


def _idle(stage: Stage, seconds: float) -> Row:
    with stage.web() as web, stage.worker() as worker:
        time.sleep(min(2.0, seconds))
        over = watch(stage, web=web, worker=worker)
        over.begin()
        time.sleep(seconds)
        used = over.end()
    share = 100 * (used.cpu["web"] + used.cpu["worker"]) / used.seconds
    return Row(
        path="cost",
        what="idle, web and worker",
        peak=used.peak,
        goals=[Goal(what="% of a core", limit=1, value=share, at_least=False)],
        more={"percent_of_a_core": {k: 100 * v / used.seconds for k, v in used.cpu.items()}},
    )
