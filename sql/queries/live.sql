-- What has happened since a position in the stream of an organization's events.

-- name: since
-- Events that were not visible in snapshot $2 and are visible now (or were in a later snapshot $6),
-- in the order of transactions. Of transactions $3, of which the client has only a part, events
-- after $4. Nothing recorded before $5: in a restored database, events may have transaction numbers
-- that are yet to come. $7: the most events; $8: the xmin of $2, where the index scan begins. If
-- nothing happened, one row without an event tells the present position.
WITH here AS MATERIALIZED (
  SELECT pg_current_snapshot() AS snapshot, now() AS at
), told AS (
  (SELECT 'message' AS kind, e.position, e.id, e.message_id AS about, e.type, e.status, e.occurred_at
  FROM gateway.message_events e
  WHERE e.organization_id = $1 AND e.position >= $8::text::xid8
    AND NOT pg_visible_in_snapshot(e.position, $2::text::pg_snapshot)
    AND NOT EXISTS (
      SELECT FROM unnest($3::text[], $4::uuid[]) AS w (position, id)
      WHERE w.position::xid8 = e.position AND w.id >= e.id)
    AND e.recorded_at >= $5
    AND ($6::text IS NULL OR pg_visible_in_snapshot(e.position, $6::text::pg_snapshot))
    AND e.position < (SELECT pg_snapshot_xmax(snapshot) FROM here)
  ORDER BY e.position, e.id LIMIT $7)
  UNION ALL
  (SELECT 'conversation', c.position, c.conversation_id, c.conversation_id, 'updated', NULL,
    c.changed_at
  FROM gateway.conversation_changes c
  WHERE c.organization_id = $1 AND c.position >= $8::text::xid8
    AND NOT pg_visible_in_snapshot(c.position, $2::text::pg_snapshot)
    AND NOT EXISTS (
      SELECT FROM unnest($3::text[], $4::uuid[]) AS w (position, id)
      WHERE w.position::xid8 = c.position AND w.id >= c.conversation_id)
    AND c.changed_at >= $5
    AND ($6::text IS NULL OR pg_visible_in_snapshot(c.position, $6::text::pg_snapshot))
    AND c.position < (SELECT pg_snapshot_xmax(snapshot) FROM here)
  ORDER BY c.position, c.conversation_id LIMIT $7)
  ORDER BY position, id LIMIT $7
)
SELECT h.snapshot::text AS snapshot, h.at, t.kind, t.position::text AS position, t.id, t.about, t.type,
  t.status, t.occurred_at
FROM here h LEFT JOIN told t ON true
ORDER BY t.position, t.id;

-- name: here
SELECT pg_current_snapshot()::text AS snapshot, now() AS at;

-- name: messages
-- $3: how many bytes body, HTML and JSON may have together, or null. JSON takes more room in Python, and
-- counts threefold: what callers may send (64 KiB) is still within what deliveries read at once. The size of
-- a text is known without reading it.
SELECT id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
  conversation_id, subject, body, html_body, attachments, status, sent_at, delivered_at, read_at,
  failed_at, error_code, error_message, external_id, template_id, reference, send_at, expires_at,
  retry_of, metadata, created_at, updated_at
FROM messages WHERE organization_id = $1 AND id = ANY ($2::uuid[])
  AND ($3::integer IS NULL OR
    coalesce(octet_length(body), 0) + coalesce(octet_length(html_body), 0)
      + 3 * octet_length(concat(attachments, metadata))::bigint <= $3);

-- name: sizes
-- How many bytes the texts of messages $2 have, counted the same way, and those of the last messages of
-- conversations $3.
SELECT t.kind, t.about,
  coalesce(octet_length(m.body), 0) + coalesce(octet_length(m.html_body), 0)
    + 3 * octet_length(concat(m.attachments, m.metadata))::bigint AS bytes
FROM (
  SELECT 'message' AS kind, id AS about, id AS message_id FROM unnest($2::uuid[]) AS id
  UNION ALL
  SELECT 'conversation', asked.id, c.last_message_id
  FROM gateway.conversations asked
  JOIN gateway.conversations c ON c.organization_id = asked.organization_id
    AND c.id = coalesce(asked.merged_into, asked.id)
  WHERE asked.organization_id = $1 AND asked.id = ANY ($3::uuid[])
) t
JOIN messages m ON m.organization_id = $1 AND m.id = t.message_id;

-- name: names
-- The ids of messages $2 and conversations $3; for a merged conversation, the one it was merged
-- into.
SELECT 'message' AS kind, id AS about, id, conversation_id FROM messages
WHERE organization_id = $1 AND id = ANY ($2::uuid[])
UNION ALL
SELECT 'conversation', id, coalesce(merged_into, id), NULL FROM gateway.conversations
WHERE organization_id = $1 AND id = ANY ($3::uuid[]);
