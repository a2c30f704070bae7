-- Fallbacks: what is sent after a message that failed, or did not get far enough in time.

-- name: store
-- Stores the fallbacks of messages $1 (json array) of organization $2, in the transaction that
-- stores these. The time of the next step counts from when the message may be sent.
INSERT INTO gateway.fallbacks (organization_id, message_id, due_at, is_test, steps)
SELECT $2, id, greatest(send_at, now()) + make_interval(secs => after), is_test, steps
FROM json_to_recordset($1::json) AS i (
  id uuid, send_at timestamptz, after double precision, is_test boolean, steps jsonb
);

-- name: due
-- Locks up to $1 that are due: every organization with something due gets the same share, the longest
-- due first. Those that another worker has locked are left to it. While nothing is due, this is a
-- single look-up in the index of times.
WITH RECURSIVE organizations AS (
  (
    SELECT organization_id FROM gateway.fallbacks
    WHERE (SELECT due_at <= now() FROM gateway.fallbacks ORDER BY due_at LIMIT 1)
    ORDER BY organization_id LIMIT 1
  )
  UNION ALL
  SELECT (
    SELECT f.organization_id FROM gateway.fallbacks f
    WHERE f.organization_id > o.organization_id ORDER BY f.organization_id LIMIT 1
  )
  FROM organizations o WHERE o.organization_id IS NOT NULL
), due AS MATERIALIZED (
  SELECT o.organization_id FROM organizations o
  WHERE (
    SELECT f.due_at <= now() FROM gateway.fallbacks f
    WHERE f.organization_id = o.organization_id ORDER BY f.due_at LIMIT 1
  )
  -- if there are more organizations than places, none is always first
  ORDER BY random()
)
SELECT f.organization_id, f.message_id FROM due d
CROSS JOIN LATERAL (
  SELECT f.organization_id, f.message_id FROM gateway.fallbacks f
  WHERE f.organization_id = d.organization_id AND f.due_at <= now()
  ORDER BY f.due_at LIMIT (SELECT ceil($1::numeric / greatest(count(*), 1)) FROM due)
  FOR UPDATE SKIP LOCKED
) f
LIMIT $1;

-- name: claim
-- Locks the fallbacks of messages $2 of organizations $1 that are due; with the present state of
-- these messages.
SELECT f.organization_id, f.message_id, f.is_test, f.steps, m.status, m.reference, m.metadata,
  m.expires_at, coalesce(m.expires_at <= now(), false) AS is_expired
FROM unnest($1::uuid[], $2::uuid[]) AS k (organization_id, message_id)
CROSS JOIN LATERAL (
  SELECT * FROM gateway.fallbacks f
  WHERE f.organization_id = k.organization_id AND f.message_id = k.message_id AND f.due_at <= now()
  FOR UPDATE SKIP LOCKED
) f
CROSS JOIN LATERAL (
  SELECT * FROM messages m
  WHERE m.organization_id = f.organization_id AND m.id = f.message_id OFFSET 0
) m;

-- name: still_there
-- Which of leads $2, clients $3 and templates $4 of organization $1 still exist.
SELECT id FROM leads WHERE organization_id = $1 AND id = ANY ($2::uuid[])
UNION ALL
SELECT id FROM clients WHERE organization_id = $1 AND id = ANY ($3::uuid[])
UNION ALL
SELECT id FROM message_templates WHERE organization_id = $1 AND id = ANY ($4::uuid[]);

-- name: take_back
-- Removes the queue entries of those messages $2 of organizations $1 that have certainly not been
-- sent: no worker has them, and no answer was lost (the caller checks their status). Returns their
-- ids.
DELETE FROM gateway.queue q USING unnest($1::uuid[], $2::uuid[]) AS k (organization_id, message_id)
WHERE q.organization_id = k.organization_id AND q.message_id = k.message_id
  AND q.phase = 'send' AND q.lease_until IS NULL
RETURNING q.message_id;

-- name: end
DELETE FROM gateway.fallbacks f
USING unnest($1::uuid[], $2::uuid[]) AS k (organization_id, message_id)
WHERE f.organization_id = k.organization_id AND f.message_id = k.message_id;

-- name: postpone
-- Those that are due, but whose next step could not be sent now.
UPDATE gateway.fallbacks f SET due_at = now() + make_interval(secs => $3)
FROM unnest($1::uuid[], $2::uuid[]) AS k (organization_id, message_id)
WHERE f.organization_id = k.organization_id AND f.message_id = k.message_id AND f.due_at <= now();
