"""The floor: how many similar statements PostgreSQL alone executes, with pgbench in the same run.

They have no conversations, leads, templates or raw requests: a path comes near its floor by doing
little besides writing its row, its queue entry and its event.
"""

from __future__ import annotations

import re
import subprocess
from typing import LiteralString, NamedTuple

from benchmarks.processes import NotMeasuredError
from benchmarks.stage import Stage
from gateway.embedded.programs import bin_dir

ROWS = 100
# Random except for the time at their beginning, like the gateway's ids.
_ID = (
    "(lpad(to_hex(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0')"
    " || '7' || substr(md5(random()::text), 1, 19))::uuid"
)
_ACCEPT = f"""
WITH stored AS (
  INSERT INTO public.messages (id, organization_id, channel, direction, from_address, to_address,
    body, status)
  SELECT {_ID}, :org::uuid, 'sms', 'outbound', '+15551230001', '+1202555' || :contact::text,
    'Hello, your appointment with Dr. Grace Hopper is on Tuesday, 3 March at 10:30.', 'pending'
  FROM generate_series(1, {{rows}})
  RETURNING id, organization_id
), queued AS (
  INSERT INTO gateway.queue (organization_id, message_id, channel)
  SELECT organization_id, id, 'sms' FROM stored
)
INSERT INTO gateway.message_events
  (organization_id, message_id, id, type, status, occurred_at, source)
SELECT organization_id, id, id, 'accepted', 'pending', now(), 'bench' FROM stored;
"""
_CONTACT = "\\set contact random(1000, 9999)\n"
_REPORT = f"""
\\set start random(1, {{most}})
WITH told AS (
  UPDATE public.messages SET status = 'delivered', delivered_at = now()
  WHERE organization_id = :org::uuid AND external_id = ANY (ARRAY(
    SELECT 'floor' || n FROM generate_series(:start::int, :start::int + {{rows}} - 1) AS s (n)))
  RETURNING id, organization_id
)
INSERT INTO gateway.message_events
  (organization_id, message_id, id, type, status, occurred_at, source)
SELECT organization_id, id, {_ID}, 'delivered', 'delivered', now(), 'bench' FROM told;
"""
_DISPATCH = f"""
BEGIN;
UPDATE gateway.queue SET lease_until = now() + interval '30 s', attempts = attempts + 1
WHERE (organization_id, message_id) IN (
  SELECT organization_id, message_id FROM gateway.queue
  WHERE organization_id = :org::uuid AND priority = 1 AND run_at <= now() AND lease_until IS NULL
  ORDER BY run_at LIMIT {{rows}} FOR UPDATE SKIP LOCKED);
END;
WITH mine AS (
  DELETE FROM gateway.queue WHERE (organization_id, message_id) IN (
    SELECT organization_id, message_id FROM gateway.queue
    WHERE organization_id = :org::uuid AND lease_until > now()
    LIMIT {{rows}} FOR UPDATE SKIP LOCKED)
  RETURNING organization_id, message_id
), sent AS (
  UPDATE public.messages m SET status = 'sent', external_id = 'SM' || m.id, sent_at = now()
  FROM mine WHERE m.organization_id = mine.organization_id AND m.id = mine.message_id
  RETURNING m.organization_id, m.id
)
INSERT INTO gateway.message_events
  (organization_id, message_id, id, type, status, occurred_at, source)
SELECT organization_id, id, {_ID}, 'sent', 'sent', now(), 'bench' FROM sent;
"""
_KNOWN: LiteralString = """
INSERT INTO public.messages (organization_id, channel, direction, from_address, to_address, body,
  status, external_id)
SELECT %s, 'sms', 'outbound', '+15551230001', '+12025550100', 'Hello', 'sent', 'floor' || n
FROM generate_series(1, %s) AS s (n)
"""
_KNOWN_ROWS = 41_000
_FEW = 5  # transactions of each client if no seconds are given: only to show that it runs
_SAID = re.compile(
    r"^number of transactions actually processed: (\d+).*^tps = ([\d.]+)", re.MULTILINE | re.DOTALL
)


class Ran(NamedTuple):
    """How many transactions pgbench has made, and how many per second."""

    transactions: int
    rate: float


def accept_floor(stage: Stage, seconds: int) -> dict[str, float]:
    """Rows per second, with one and a hundred per statement; 0 seconds: only a few statements."""
    found = {}
    for name, rows, clients in (("one", 1, 16), ("many", ROWS, 4)):
        stage.postgres.clear()
        script = _CONTACT + _ACCEPT.format(rows=rows)
        found[name] = rows * _pgbench(stage, script, clients, seconds).rate
    return found


def dispatch_floor(stage: Stage, seconds: int) -> dict[str, float]:
    """Entries claimed and finished per second, a hundred at a time."""
    stage.postgres.clear()
    script = _CONTACT + _ACCEPT.format(rows=1000)
    _pgbench(stage, script, 2, 0, transactions=20 * seconds or 1)
    stage.postgres.db.execute("ANALYZE")
    run = _pgbench(stage, _DISPATCH.format(rows=ROWS), 2, seconds)
    done = stage.postgres.count("SELECT count(*) FROM public.messages WHERE status = 'sent'")
    return {"many": done / run.transactions * run.rate}


def receive_floor(stage: Stage, seconds: int) -> dict[str, float]:
    """Reports per second, with one and a hundred per statement."""
    found, known = {}, _KNOWN_ROWS if seconds else 2 * ROWS
    for name, rows, clients in (("one", 1, 16), ("many", ROWS, 2)):
        stage.postgres.clear()
        with stage.postgres.plain():
            stage.postgres.db.execute(_KNOWN, (stage.tenant.organization_id, known))
        stage.postgres.db.execute("VACUUM ANALYZE public.messages")
        script = _REPORT.format(rows=rows, most=known - ROWS)
        found[name] = rows * _pgbench(stage, script, clients, seconds).rate
    return found


def _pgbench(
    stage: Stage, script: str, clients: int, seconds: int, *, transactions: int = _FEW
) -> Ran:
    """Run pgbench for so many seconds; 0: for so many transactions of each client."""
    path = stage.folder / "floor.sql"
    path.write_text(script)
    length = ["-T", str(seconds)] if seconds else ["-t", str(transactions)]
    words = [
        str(bin_dir() / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-j", "2", *length,
        "-D", f"org={stage.tenant.organization_id}", "-f", str(path), stage.postgres.dsn,
    ]  # fmt: skip
    with stage.postgres.plain():
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = _SAID.search(done.stdout)
    if found is None or done.returncode:
        raise NotMeasuredError(f"pgbench failed: {done.stderr[-500:]}")
    return Ran(int(found[1]), float(found[2]))
