-- What happened to messages. `record` is the one statement that advances a row.

-- name: record
-- Appends events and advances their messages to the highest status that any event gives. It may be
-- run with the same events again, in any order and by several processes: the row ends up the same.
-- Rows are locked in the order of their ids; events of messages that do not exist are ignored. A
-- message that was sent, or has a later status, leaves the queue; an entry that a worker is just
-- claiming is skipped, and dropped by that worker, which reads the row again. If the caller must
-- not wait, locked rows are skipped, too (store/reports.py).
-- $1: json array of events.
WITH incoming AS MATERIALIZED (
  SELECT DISTINCT ON (organization_id, message_id, id) *
  FROM ROWS FROM (json_to_recordset($1::json) AS (
    organization_id uuid, message_id uuid, id uuid, type text, status text,
    occurred_at timestamptz, source text, external_id text, error_code text, error_message text,
    detail jsonb, provider jsonb
  )) WITH ORDINALITY
  ORDER BY organization_id, message_id, id, occurred_at
), target AS MATERIALIZED (
  SELECT m.organization_id, m.id, m.status, m.channel, m.created_at, m.sent_at, m.delivered_at,
    m.failed_at, m.error_code, m.error_message
  FROM messages m
  WHERE (m.organization_id, m.id) IN (SELECT organization_id, message_id FROM incoming)
  ORDER BY m.id
  FOR NO KEY UPDATE
), appended AS (
  INSERT INTO gateway.message_events (
    organization_id, message_id, id, type, status, occurred_at, source, detail
  )
  SELECT i.organization_id, i.message_id, i.id, i.type, i.status, coalesce(i.occurred_at, now()),
    i.source, i.detail
  FROM incoming i JOIN target t ON t.organization_id = i.organization_id AND t.id = i.message_id
  -- Each gets a later `recorded_at`, by which they are listed. Providers give whole seconds: at one
  -- time, the lowest status comes first, and events without one, such as a click, come last.
  ORDER BY i.message_id, coalesce(i.occurred_at, now()), i.status IS NULL,
    gateway.status_rank(i.status), i.ordinality
  ON CONFLICT DO NOTHING
  RETURNING organization_id, message_id, id, occurred_at
), fresh AS MATERIALIZED (
  SELECT i.*, a.occurred_at AS at
  FROM appended a JOIN incoming i USING (organization_id, message_id, id)
), folded AS MATERIALIZED (
  SELECT organization_id, message_id, array_agg(id) AS ids,
    -- the status with the highest rank: the rank of every status that can be stored is one digit
    substr(max((gateway.status_rank(status) || status) COLLATE "C"), 2) AS status,
    min(at) FILTER (WHERE status = 'sent') AS sent_at,
    min(at) FILTER (WHERE status = 'delivered') AS delivered_at,
    min(at) FILTER (WHERE status = 'read') AS read_at,
    -- the provider's own before our Message-ID, which is all that other mail servers know
    coalesce(min(external_id) FILTER (WHERE external_id NOT ILIKE message_id || '%'),
      min(external_id)) AS external_id
  FROM fresh GROUP BY organization_id, message_id
), failure AS (
  -- Of several failures the earliest counts; at one instant the order of their texts decides,
  -- so that the order of arrival never does.
  SELECT DISTINCT ON (organization_id, message_id) organization_id, message_id,
    at AS failed_at, error_code, error_message
  FROM (
    SELECT organization_id, message_id, at, error_code, error_message
    FROM fresh WHERE status = 'failed'
    UNION ALL
    SELECT organization_id, id, failed_at, error_code, error_message
    FROM target WHERE failed_at IS NOT NULL
  ) AS known
  ORDER BY organization_id, message_id, at, error_code, error_message
), told AS (
  SELECT organization_id, message_id, gateway.merge_provider(provider) AS provider
  FROM fresh WHERE provider IS NOT NULL GROUP BY organization_id, message_id
), advanced AS (
  UPDATE messages m SET
    status = CASE
      WHEN m.direction = 'outbound'
        AND gateway.status_rank(f.status) > coalesce(gateway.status_rank(m.status), -1)
      THEN f.status ELSE m.status END,
    sent_at = least(m.sent_at, f.sent_at),
    delivered_at = least(m.delivered_at, f.delivered_at),
    read_at = least(m.read_at, f.read_at),
    failed_at = x.failed_at,
    error_code = CASE WHEN x.failed_at IS NULL THEN m.error_code ELSE x.error_code END,
    error_message = CASE WHEN x.failed_at IS NULL THEN m.error_message ELSE x.error_message END,
    external_id = CASE
      WHEN m.external_id ILIKE m.id || '%' AND f.external_id NOT ILIKE m.id || '%' THEN f.external_id
      ELSE coalesce(m.external_id, f.external_id) END,
    metadata = CASE WHEN t.provider IS NULL THEN m.metadata
      ELSE coalesce(m.metadata, '{}') || jsonb_build_object(
        'provider', gateway.merge_provider_pair(m.metadata -> 'provider', t.provider)) END
  FROM folded f
  LEFT JOIN failure x USING (organization_id, message_id)
  LEFT JOIN told t USING (organization_id, message_id)
  WHERE m.organization_id = f.organization_id AND m.id = f.message_id
    -- Events that say nothing new leave the row alone: every provider reports "sent" once more for
    -- a sent message, and an UPDATE costs as much as an INSERT. Each condition belongs to one of the
    -- assignments above, on the row as it was when the statement began. That is enough, because only
    -- this statement changes these columns, and never backwards.
    AND (
      m.direction = 'outbound'
        AND gateway.status_rank(f.status) > coalesce(gateway.status_rank(m.status), -1)
      OR f.sent_at < coalesce(m.sent_at, 'infinity')
      OR f.delivered_at < coalesce(m.delivered_at, 'infinity')
      OR f.read_at < coalesce(m.read_at, 'infinity')
      OR x.failed_at IS NOT NULL AND (x.failed_at, x.error_code, x.error_message)
        IS DISTINCT FROM (m.failed_at, m.error_code, m.error_message)
      OR m.external_id IS NULL AND f.external_id IS NOT NULL
      OR m.external_id ILIKE m.id || '%' AND f.external_id NOT ILIKE m.id || '%'
      OR t.provider IS NOT NULL)
  RETURNING m.organization_id, m.id, m.status, m.sent_at, m.delivered_at, m.failed_at
), done AS MATERIALIZED (
  SELECT organization_id, id FROM target
  WHERE gateway.status_rank(status) >= gateway.status_rank('sent')
  UNION
  -- also if another program's trigger keeps the row as it was
  SELECT organization_id, message_id FROM folded
  WHERE gateway.status_rank(status) >= gateway.status_rank('sent')
), settled AS (
  DELETE FROM gateway.queue WHERE (organization_id, message_id) IN (
    SELECT q.organization_id, q.message_id FROM gateway.queue q
    JOIN done d ON d.organization_id = q.organization_id AND d.id = q.message_id
    FOR UPDATE OF q SKIP LOCKED
  )
)
-- in the order of the fields of `Advance`
SELECT t.organization_id, t.id, t.channel, t.created_at,
  -- cut: another program may have written any text there
  left(t.status, 100) AS old_status, left(coalesce(a.status, t.status), 100) AS status,
  t.sent_at IS NULL AND a.sent_at IS NOT NULL AS is_sent,
  t.delivered_at IS NULL AND a.delivered_at IS NOT NULL AS is_delivered,
  t.failed_at IS NULL AND a.failed_at IS NOT NULL AS has_failed,
  coalesce(f.ids, '{}') AS fresh
FROM target t
LEFT JOIN advanced a ON a.organization_id = t.organization_id AND a.id = t.id
LEFT JOIN folded f ON f.organization_id = t.organization_id AND f.message_id = t.id;

-- name: resolve
-- Which of our messages reports are about. $1: json array of {n, organization_id, source, message_id,
-- external_id}; $2: the channels of each source: anybody may send a mail that names a message, which must
-- not count for an SMS.
-- Our own id wins over the provider's, unless an equal message to the same person has the latter already:
-- then that message was taken for the provider's record when the provider was asked (its list shows equal
-- messages alike, except mails, which are found by our own id), and the named one is sent again.
-- `may_be_taken`: the message does not have this provider's id yet, so another one may still get it.
-- One look-up for each: a join could be planned as a scan of all messages of the organization. Each of the
-- provider's ids is looked up once: many reports may name one that many inbound messages have.
WITH asked AS MATERIALIZED (
  SELECT i.*, own.*
  FROM json_to_recordset($1::json) AS i (
    n integer, organization_id uuid, source text, message_id uuid, external_id text
  )
  LEFT JOIN LATERAL (
    SELECT m.id AS own_id,
      m.channel <> 'email' AND m.external_id IS DISTINCT FROM i.external_id
        AND i.external_id IS NOT NULL AS may_have_twin,
      m.external_id IS NULL AND m.status IN ('sending', 'unknown')
        -- Of fewer records than messages none is given away until 25 s after the last attempt. This
        -- transaction, which began at now(), has ended by then: its statements may take 10 s.
        AND m.created_at < now() - interval '10 seconds' AS is_open
    FROM messages m
    WHERE m.organization_id = i.organization_id AND m.id = i.message_id AND m.direction = 'outbound'
      AND $2::jsonb -> i.source ? m.channel
    LIMIT 1
  ) own ON true
), holders AS MATERIALIZED (
  SELECT i.organization_id, i.external_id, t.id
  FROM (SELECT DISTINCT organization_id, external_id FROM asked WHERE may_have_twin) i
  CROSS JOIN LATERAL (
    SELECT t.id FROM messages t
    -- IS TRUE, OFFSET: looked up by this id alone, however little there was when this was planned
    WHERE t.external_id = i.external_id
      AND (t.organization_id = i.organization_id AND t.direction = 'outbound') IS TRUE
    OFFSET 0
  ) t
), twins AS MATERIALIZED (
  SELECT DISTINCT ON (a.n) a.n, h.id
  FROM asked a
  JOIN holders h ON h.organization_id = a.organization_id AND h.external_id = a.external_id
  CROSS JOIN LATERAL (
    SELECT FROM messages m
    JOIN messages t ON t.channel = m.channel AND t.to_address = m.to_address
      AND (t.attachments, t.parts -> 'template', t.parts -> 'call')
        IS NOT DISTINCT FROM (m.attachments, m.parts -> 'template', m.parts -> 'call')
      -- as `asking` compares them: in some locales \s is no blank that does not break
      AND btrim(regexp_replace(t.body, '[\s\u00a0\u2007\u202f]+', ' ', 'g'))
        = btrim(regexp_replace(m.body, '[\s\u00a0\u2007\u202f]+', ' ', 'g'))
    WHERE m.organization_id = a.organization_id AND m.id = a.own_id
      AND t.organization_id = a.organization_id AND t.id = h.id
    LIMIT 1
  ) equal
  WHERE a.may_have_twin
)
SELECT a.n, coalesce(t.id, a.own_id) AS message_id,
  a.may_have_twin AND a.is_open AND t.id IS NULL AS may_be_taken
FROM asked a LEFT JOIN twins t USING (n) WHERE a.own_id IS NOT NULL
UNION ALL
SELECT unnest(i.numbers), known.id, false
FROM (
  SELECT organization_id, source, external_id, array_agg(n) AS numbers FROM asked
  WHERE own_id IS NULL AND external_id IS NOT NULL
  GROUP BY organization_id, source, external_id
) i
CROSS JOIN LATERAL (
  SELECT m.id FROM messages m
  WHERE m.external_id = i.external_id AND m.direction = 'outbound'
    -- IS TRUE: no index of all that the organization has, however little it had when this was planned
    AND (m.organization_id = i.organization_id) IS TRUE AND $2::jsonb -> i.source ? m.channel
  LIMIT 1
) known;

-- name: lock_external_ids
-- Lets transactions that give provider's ids $1 to messages take turns. A statement of its own, so that
-- the snapshot of the next one is taken after the wait, and sees what the others have committed.
SELECT pg_advisory_xact_lock(hashtextextended(id, 7041)) FROM unnest($1::text[]) AS id;

-- name: is_anothers
-- Whether another outbound message than $2 of organization $1 has the provider's id $3, in any
-- organization, because some share an account at the provider. Inbound ones do not count: a mail of
-- ours may come to ourselves.
SELECT EXISTS (
  SELECT FROM messages
  WHERE external_id = $3 AND direction = 'outbound' AND (organization_id, id) <> ($1, $2::uuid)
);

-- name: resolve_any
-- Messages of either direction by the provider's id; of several the newest, because additions to a mail
-- come soon after it, and anybody can forge a Message-ID. $1: external ids, $2: organization. If an
-- addition came at $3, long ago: the newest before that, or else the first one after it.
SELECT DISTINCT ON (external_id) external_id, id
FROM messages WHERE organization_id = $2 AND external_id = ANY ($1::text[])
ORDER BY external_id, created_at > $3::timestamptz,
  CASE WHEN created_at > $3 THEN created_at END, created_at DESC;

-- name: all_of
-- All messages of either direction by the provider's id. $1: external ids, $2: organization.
SELECT external_id, id FROM messages
WHERE organization_id = $2 AND external_id = ANY ($1::text[]);

-- name: known
-- Which of the events $3 messages $2 have.
SELECT id FROM gateway.message_events
WHERE organization_id = $1 AND message_id = ANY ($2::uuid[]) AND id = ANY ($3::uuid[]);

-- name: told_before
-- Which errors are stored, perhaps with other words: the words are ours, and no part of what happened.
-- $1: json array, with `occurred_at` null if a report has no time; $2: organization.
SELECT i.n FROM json_to_recordset($1::json) AS i (
  n integer, message_id uuid, type text, status text, source text, error_code text,
  occurred_at timestamptz
)
WHERE EXISTS (
  SELECT FROM gateway.message_events e
  WHERE e.organization_id = $2 AND e.message_id = i.message_id
    AND e.type = i.type AND e.source = i.source AND e.status IS NOT DISTINCT FROM i.status
    AND e.detail ->> 'error_code' IS NOT DISTINCT FROM i.error_code
    AND e.detail ? 'error_message'
    AND e.occurred_at = coalesce(i.occurred_at, e.occurred_at));

-- name: addressees
-- To whom our messages $1 went. $2: organization.
SELECT id, to_address FROM messages WHERE organization_id = $2 AND id = ANY ($1::uuid[]);

-- name: external_ids
-- The provider's ids of messages $2 of organizations $1, as far as they are known.
SELECT m.id, m.external_id
FROM unnest($1::uuid[], $2::uuid[]) AS k (organization_id, id)
CROSS JOIN LATERAL (
  SELECT m.id, m.external_id FROM messages m
  WHERE m.organization_id = k.organization_id AND m.id = k.id LIMIT 1
) m
WHERE m.external_id IS NOT NULL;
