-- Messages: accepted, received, read, canceled. Status changes are in reports.sql, and nowhere else.

-- name: hold_leads
-- Locks the leads that messages are about to go to, always in one order. A statement of its own,
-- before anything is stored: while it waits it has locked nothing else, and the statements after it
-- see the rows as they are then. $1: organization, $2: lead ids.
SELECT id FROM leads WHERE organization_id = $1 AND id = ANY ($2::uuid[])
ORDER BY id FOR NO KEY UPDATE;

-- name: hold_free_leads
-- The same without those that another transaction has locked.
SELECT id FROM leads WHERE organization_id = $1 AND id = ANY ($2::uuid[])
ORDER BY id FOR NO KEY UPDATE SKIP LOCKED;

-- name: touch_leads
-- Sets the last contact of leads $2 of organization $1, which were locked when a message to them was
-- stored at $3. Skips those that are still locked; returns the others.
WITH free AS (
  SELECT id FROM leads WHERE organization_id = $1 AND id = ANY ($2::uuid[])
  ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE leads l SET last_contacted_at = greatest(l.last_contacted_at, $3) FROM free
WHERE l.organization_id = $1 AND l.id = free.id
RETURNING l.id;

-- name: accept
-- One statement stores everything that a 202 promises: rows, queue entries, first events, the
-- template's use, and the last contact of the lead and of the conversation (found and locked before).
-- What a test key sends is no use of its template, and $3 is without its lead: it reaches nobody.
-- $1: json array of messages, $2: organization, $3: leads, locked before. Returns when they were
-- stored.
WITH incoming AS MATERIALIZED (
  SELECT * FROM json_to_recordset($1::json) AS i (
    id uuid, channel text, from_address text, to_address text, lead_id uuid, client_id uuid,
    subject text, body text, html_body text, attachments jsonb, metadata jsonb, template_id uuid,
    reference text, send_at timestamptz, expires_at timestamptz, retry_of uuid, parts jsonb,
    conversation_id uuid, sender_id uuid, priority smallint, is_test boolean, event_id uuid,
    source text
  )
), stored AS (
  INSERT INTO messages (
    id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
    conversation_id, subject, body, html_body, attachments, status, metadata, template_id,
    reference, send_at, expires_at, retry_of, parts
  )
  SELECT id, $2, channel, 'outbound', from_address, to_address, lead_id, client_id,
    conversation_id, subject, body, html_body, attachments, 'pending', metadata, template_id,
    reference, send_at, expires_at, retry_of, parts
  FROM incoming
), queued AS (
  INSERT INTO gateway.queue (
    organization_id, message_id, sender_id, channel, priority, run_at, is_test
  )
  SELECT $2, id, sender_id, channel, priority, greatest(send_at, now()), is_test FROM incoming
), noted AS (
  INSERT INTO gateway.message_events (
    organization_id, message_id, id, type, status, occurred_at, source
  )
  SELECT $2, id, event_id, 'accepted', 'pending', now(), source FROM incoming
), used AS (
  INSERT INTO gateway.template_uses (organization_id, template_id, uses, used_at)
  SELECT $2, template_id, count(*), now() FROM incoming
  WHERE template_id IS NOT NULL AND NOT is_test GROUP BY template_id
), contacted AS (
  UPDATE leads SET last_contacted_at = now()
  WHERE organization_id = $2 AND id = ANY ($3::uuid[])
), talked AS (
  UPDATE gateway.conversations c SET
    last_message_id = CASE WHEN c.last_message_at <= now() OR c.last_message_id IS NULL
      THEN i.id ELSE c.last_message_id END,
    last_message_at = greatest(c.last_message_at, now()),
    channels = CASE WHEN c.channels @> i.channels THEN c.channels
      ELSE ARRAY(SELECT DISTINCT unnest(c.channels || i.channels) ORDER BY 1) END
  FROM (
    SELECT conversation_id, (array_agg(id ORDER BY id DESC))[1] AS id,
      array_agg(DISTINCT channel) AS channels
    FROM incoming GROUP BY conversation_id
  ) i
  WHERE c.organization_id = $2 AND c.id = i.conversation_id
)
SELECT now();

-- name: receive
-- Stores inbound messages of one organization, in the order in which they came, a microsecond apart: the
-- last one has the time of now, so that none is newer than its `updated_at`. Their ids are derived from
-- the provider's, so a redelivery conflicts with its own row. $1: json array, $2: organization. A message
-- that came earlier (`arrived_at`) gets its place in the history.
WITH incoming AS MATERIALIZED (
  SELECT *, coalesce(arrived_at, now())
    - (count(*) OVER () - ordinality) * interval '1 microsecond' AS created_at
  FROM ROWS FROM (json_to_recordset($1::json) AS (
    id uuid, channel text, from_address text, to_address text, lead_id uuid, client_id uuid,
    conversation_id uuid, subject text, body text, html_body text, attachments jsonb,
    external_id text, metadata jsonb, occurred_at timestamptz, event_id uuid, source text,
    arrived_at timestamptz
  )) WITH ORDINALITY
), stored AS (
  INSERT INTO messages (
    id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
    conversation_id, subject, body, html_body, attachments, status, external_id, metadata,
    created_at
  )
  SELECT id, $2, channel, 'inbound', from_address, to_address, lead_id, client_id,
    conversation_id, subject, body, html_body, attachments, 'received', external_id, metadata,
    created_at
  FROM incoming
  -- On this key alone: a row that another program's unique index refuses is no redelivery, but an
  -- error. Two concurrent ones that meet at our other key are an error, too, and tried again.
  ON CONFLICT (id) DO NOTHING
  RETURNING id, channel, conversation_id, created_at
), noted AS (
  INSERT INTO gateway.message_events (
    organization_id, message_id, id, type, status, occurred_at, source
  )
  SELECT $2, i.id, i.event_id, 'received', 'received', coalesce(i.occurred_at, now()), i.source
  FROM incoming i JOIN stored USING (id)
), talked AS (
  -- a new message reopens a closed conversation
  UPDATE gateway.conversations c SET
    status = 'open',
    unread_count = least(c.unread_count::bigint + s.unread, 2147483647)::integer,
    last_message_id = CASE WHEN c.last_message_at <= s.created_at OR c.last_message_id IS NULL
      THEN s.id ELSE c.last_message_id END,
    last_message_at = greatest(c.last_message_at, s.created_at),
    last_inbound_at = greatest(c.last_inbound_at, s.at),
    channels = CASE WHEN c.channels @> s.channels THEN c.channels
      ELSE ARRAY(SELECT DISTINCT unnest(c.channels || s.channels) ORDER BY 1) END
  FROM (
    SELECT stored.conversation_id,
      (array_agg(id ORDER BY stored.created_at DESC))[1] AS id, max(stored.created_at) AS created_at,
      count(*)::integer AS unread, array_agg(DISTINCT stored.channel) AS channels,
      max(coalesce(i.occurred_at, now())) AS at
    FROM stored JOIN incoming i USING (id) GROUP BY stored.conversation_id
  ) s
  WHERE c.organization_id = $2 AND c.id = s.conversation_id
)
SELECT id FROM stored;

-- name: known
-- Inbound messages that have one of the ids $2, or are mails with one of the Message-IDs $3; whether each
-- was stored with a request received at $4, and whether it went to a sender of another account than $5. A
-- message has the time at which its transaction began; its request has a later one, by the clock.
SELECT m.id, m.external_id, m.to_address,
  m.created_at BETWEEN $4::timestamptz - interval '1 minute' AND $4 + interval '1 millisecond'
    AS came_then,
  EXISTS (
    SELECT FROM gateway.senders s
    WHERE s.organization_id = $1 AND s.channel = 'email' AND s.account_id <> $5
      AND gateway.address_key(s.address) = gateway.address_key(m.to_address)
  ) AS is_others
FROM (
  SELECT id FROM messages WHERE organization_id = $1 AND id = ANY ($2::uuid[])
  UNION
  SELECT id FROM messages
  WHERE organization_id = $1 AND channel = 'email' AND external_id = ANY ($3::text[])
) found
JOIN messages m USING (id)
WHERE m.organization_id = $1 AND m.direction = 'inbound';

-- name: add_to
-- Adds files to a stored message, and a text if it has none. $3: json array.
UPDATE messages SET
  attachments = coalesce(attachments, '[]') || $3::jsonb,
  body = CASE WHEN body = '' THEN coalesce($4, '') ELSE body END
WHERE organization_id = $1 AND id = $2
RETURNING jsonb_array_length(attachments) AS files;

-- name: parts
SELECT parts FROM messages WHERE organization_id = $1 AND id = $2;

-- name: get
SELECT id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
  conversation_id, subject, body, html_body, attachments, status, sent_at, delivered_at, read_at,
  failed_at, error_code, error_message, external_id, template_id, reference, send_at, expires_at,
  retry_of, metadata, created_at, updated_at
FROM messages WHERE organization_id = $1 AND id = $2;

-- name: hold_retries
-- Until this transaction ends, no other one sends any of messages $1 again.
SELECT pg_advisory_xact_lock(hashtextextended(id::text, 7043)) FROM unnest($1::uuid[]) AS id ORDER BY id;

-- name: in_place_of
-- A message that was sent in place of one of messages $2, directly or through further retries, and has
-- not failed or been canceled. What a test key sent does not count.
WITH RECURSIVE again AS (
  SELECT unnest($2::uuid[]) AS id
  UNION
  SELECT m.id FROM again a JOIN messages m ON m.organization_id = $1 AND m.retry_of = a.id
)
SELECT m.id FROM again a JOIN messages m ON m.organization_id = $1 AND m.id = a.id
WHERE a.id <> ALL ($2) AND coalesce(m.status, 'pending') NOT IN ('failed', 'canceled')
  AND m.metadata #> '{provider,test}' IS DISTINCT FROM 'true'
  AND NOT EXISTS (
    SELECT FROM gateway.queue q WHERE q.organization_id = $1 AND q.message_id = a.id AND q.is_test)
LIMIT 1;

-- name: list
-- Every filter is optional: a custom plan folds the absent ones away before it chooses an index.
-- $16: the page ends once the texts have so many bytes, with JSON counted as ten times as large, which it
-- is in Python. The size of a text is known without reading it. `found`: how many rows there are without
-- that limit.
WITH page AS MATERIALIZED (
  SELECT id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
    conversation_id, subject, body, html_body, attachments, status, sent_at, delivered_at, read_at,
    failed_at, error_code, error_message, external_id, template_id, reference, send_at, expires_at,
    retry_of, metadata, created_at, updated_at
  FROM messages
  WHERE organization_id = $1
    AND ($2::text IS NULL OR channel = $2)
    AND ($3::text IS NULL OR direction = $3)
    AND ($4::text IS NULL OR status = $4 OR status IS NULL AND $4 = 'pending') -- as it is shown
    AND ($5::text IS NULL OR from_address = $5 OR to_address = $5
      OR gateway.address_key($5) IN (gateway.address_key(from_address), gateway.address_key(to_address)))
    AND ($6::uuid IS NULL OR lead_id = $6)
    AND ($7::uuid IS NULL OR client_id = $7)
    AND ($8::uuid IS NULL OR conversation_id = $8)
    AND ($9::text IS NULL OR external_id = $9)
    AND ($10::text IS NULL OR reference = $10)
    AND ($11::timestamptz IS NULL OR created_at >= $11)
    AND ($12::timestamptz IS NULL OR created_at < $12)
    AND ($13::timestamptz IS NULL OR (created_at, id) < ($13, $14::uuid)
      OR (created_at IS NULL AND $13 = '9999-01-01 00:00Z' AND id < $14)) -- paging.NO_TIME
  ORDER BY created_at DESC, id DESC
  LIMIT $15
)
SELECT p.*, (SELECT count(*) FROM page) AS found FROM page p
WHERE p.id IN (
  SELECT w.id FROM (
    SELECT id, sum(coalesce(octet_length(body), 0) + coalesce(octet_length(html_body), 0)
        + 10 * octet_length(concat(attachments, metadata))::bigint) OVER (
      ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM page
  ) w WHERE coalesce(w.before, 0) < $16::integer)
ORDER BY p.created_at DESC, p.id DESC;

-- name: search
-- The same with search words ($17): the function finds the ids, and the caller's own policy then
-- filters the rows. LATERAL and OFFSET 0 make sure that the function is always called, and first:
-- words that cannot be searched for are refused even if there are no rows.
WITH page AS MATERIALIZED (
  SELECT m.*
  FROM (
    SELECT ARRAY(
      SELECT f.id FROM gateway.search_messages(
        $2, $3, $4, $5, $6, $7, $8, $9, $10, $17, $11, $12, $13, $14, $15) f) AS ids
    OFFSET 0
  ) found
  CROSS JOIN LATERAL (
    SELECT id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
      conversation_id, subject, body, html_body, attachments, status, sent_at, delivered_at, read_at,
      failed_at, error_code, error_message, external_id, template_id, reference, send_at, expires_at,
      retry_of, metadata, created_at, updated_at
    FROM messages
    WHERE organization_id = $1 AND id = ANY (found.ids)
    OFFSET 0
  ) m
)
SELECT p.*, (SELECT count(*) FROM page) AS found FROM page p
WHERE p.id IN (
  SELECT w.id FROM (
    SELECT id, sum(coalesce(octet_length(body), 0) + coalesce(octet_length(html_body), 0)
        + 10 * octet_length(concat(attachments, metadata))::bigint) OVER (
      ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM page
  ) w WHERE coalesce(w.before, 0) < $16::integer)
ORDER BY p.created_at DESC, p.id DESC;

-- name: events
SELECT id, type, status, occurred_at, recorded_at, source, detail
FROM gateway.message_events
WHERE organization_id = $1 AND message_id = $2
  AND ($3::timestamptz IS NULL OR (recorded_at, id) < ($3, $4::uuid))
ORDER BY recorded_at DESC, id DESC
LIMIT $5;

-- name: take_back
-- A message may be canceled while no worker has taken it up: whoever gets the entry decides.
DELETE FROM gateway.queue
WHERE organization_id = $1 AND message_id = $2 AND attempts = 0 AND lease_until IS NULL
RETURNING message_id;

-- name: recall
SELECT organization_id, key, request_hash, answer
FROM unnest($1::uuid[], $2::text[]) AS k (organization_id, key)
JOIN gateway.idempotency_keys USING (organization_id, key);

-- name: keep_answers
-- Keeps answers under new keys; waits for concurrent requests with the same keys, and omits those
-- that were first.
INSERT INTO gateway.idempotency_keys (organization_id, key, request_hash, answer)
SELECT organization_id, key, request_hash, answer
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[])
  AS k (organization_id, key, request_hash, answer)
ORDER BY organization_id, key
ON CONFLICT DO NOTHING
RETURNING organization_id, key;

-- name: change_answers
-- Changes answers in which some messages of a batch were answered 503; waits for concurrent
-- requests, and omits those that were first: their answers are others than $3 now.
UPDATE gateway.idempotency_keys i SET answer = k.answer
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[])
  AS k (organization_id, key, before, answer)
WHERE i.organization_id = k.organization_id AND i.key = k.key AND i.answer = k.before
RETURNING i.organization_id, i.key;
