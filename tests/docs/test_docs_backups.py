"""What the page for operators tells to do after a restore, done."""

from __future__ import annotations

import re

import asyncpg

# A message for each place that one may have in a backup, each with something to follow it.
ROWS = """
INSERT INTO organizations (id, name) VALUES (md5('clinic')::uuid, 'Clinic');
INSERT INTO messages (id, organization_id, channel, direction, from_address, to_address, body,
    status)
  SELECT md5(name)::uuid, md5('clinic')::uuid, 'sms', 'outbound', '+1', '+2', name, 'pending'
  FROM unnest('{left,waits,planned,held,asked}'::text[]) AS name;
INSERT INTO gateway.fallbacks (organization_id, message_id, due_at, steps)
  SELECT organization_id, id, now() + interval '1 hour', '[{"channel": "email"}]' FROM messages;
INSERT INTO gateway.queue (organization_id, message_id, channel, phase, run_at, lease_until)
  SELECT organization_id, id, channel, CASE body WHEN 'asked' THEN 'ask' ELSE 'send' END,
    now() + CASE body WHEN 'planned' THEN interval '1 day' ELSE interval '-1 hour' END,
    CASE body WHEN 'held' THEN now() - interval '1 hour' END
  FROM messages WHERE body <> 'left';
"""


async def test_what_must_not_leave_again(database: str, operating: str) -> None:
    """After it only what was planned for later leaves, or is followed by something else; of what
    was under way its provider is asked, as ever."""
    below = operating.split("\n## Backups\n", 1)[1]
    block = re.search(r"```sql\n(.*?)```", below, re.DOTALL)
    assert block
    queued, followed, *deleting = (each for each in block[1].split(";\n") if each.strip())
    connection = await asyncpg.connect(database)
    try:
        await connection.execute(ROWS)
        shown = [
            {row["message_id"] for row in await connection.fetch(sql)} for sql in (queued, followed)
        ]
        for sql in deleting:
            await connection.execute(sql)
        left = [
            await connection.fetchval(
                "SELECT array_agg(m.body ORDER BY m.body) FROM messages m"  # noqa: S608
                f" JOIN gateway.{table} t ON t.message_id = m.id"
            )
            for table in ("queue", "fallbacks")
        ]
    finally:
        await connection.close()

    assert [2, 5] == [len(each) for each in shown]
    assert [["asked", "held", "planned"], ["planned"]] == left
