-- Reports whose message is not known yet: kept until it is.

-- name: keep_unmatched
INSERT INTO gateway.unmatched_reports (
  organization_id, account_id, external_id, id, type, status, occurred_at, error_code,
  error_message, source, detail, provider
)
SELECT organization_id, account_id, external_id, id, type, status, occurred_at, error_code,
  error_message, source, coalesce(detail, '{}'), provider
FROM json_to_recordset($1::json) AS i (
  organization_id uuid, account_id uuid, external_id text, id uuid, type text, status text,
  occurred_at timestamptz, error_code text, error_message text, source text, detail jsonb,
  provider jsonb
)
-- Always in the same order, so that two transactions with the same reports never deadlock.
ORDER BY organization_id, account_id, external_id, id
ON CONFLICT DO NOTHING;

-- name: take_unmatched
-- Takes the reports of accounts $2 about external ids $3, which messages $4 now have.
DELETE FROM gateway.unmatched_reports u
USING unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[])
  AS k (organization_id, account_id, external_id, message_id)
WHERE u.organization_id = k.organization_id AND u.account_id = k.account_id
  AND u.external_id = k.external_id
RETURNING u.organization_id, u.account_id, k.message_id, u.external_id, u.id, u.type, u.status,
  coalesce(u.occurred_at, u.received_at) AS occurred_at, u.error_code, u.error_message, u.source,
  u.detail, u.provider;

-- name: take_missed
-- Takes reports that were kept while their message was being stored: neither transaction saw the
-- other. Most kept reports, perhaps millions, are about messages that are not ours, so this only
-- looks at the $3 newest that were received after $1 and before $2. Returns how many these were,
-- and the time of the oldest if there may be more before it. Reports of organizations $4 (not even
-- looked up) and of messages $4 stay. $5: the channels of each source. Inbound calls count, too:
-- they get reports as well.
WITH seen AS MATERIALIZED (
  SELECT u.ctid AS place, u.organization_id, u.external_id, u.received_at, u.source
  FROM gateway.unmatched_reports u
  WHERE u.received_at > coalesce($1::timestamptz, '-infinity')
    AND u.received_at < coalesce($2::timestamptz, 'infinity')
  -- with ties, because the next call continues before that time
  ORDER BY u.received_at DESC FETCH FIRST ($3::bigint) ROWS WITH TIES
), asked AS (
  -- each id once: many reports may have one that many inbound messages have
  SELECT organization_id, external_id, source, array_agg(place) AS places FROM seen
  WHERE organization_id <> ALL ($4::uuid[])
  GROUP BY organization_id, external_id, source
), missed AS MATERIALIZED (
  SELECT unnest(a.places) AS place, a.organization_id, m.id AS message_id, m.direction
  FROM asked a
  CROSS JOIN LATERAL (
    SELECT m.id, m.direction FROM (
      -- by the external id alone: while there are few messages, the planner may prefer any index
      -- that begins with the organization
      SELECT id, organization_id, direction, channel FROM messages WHERE external_id = a.external_id OFFSET 0
    ) m
    WHERE m.organization_id = a.organization_id
      AND (m.direction = 'outbound' OR m.channel = 'call') AND $5::jsonb -> a.source ? m.channel
    LIMIT 1
  ) m
), free AS MATERIALIZED (
  -- locked messages are not waited for: the other reports would wait, too
  SELECT x.place, x.message_id, x.direction FROM missed x
  CROSS JOIN LATERAL (
    SELECT FROM messages m WHERE m.organization_id = x.organization_id AND m.id = x.message_id
    FOR NO KEY UPDATE SKIP LOCKED
  ) locked
  WHERE x.message_id <> ALL ($4::uuid[])
), taken AS (
  DELETE FROM gateway.unmatched_reports u USING free x
  WHERE u.ctid = x.place -- these rows are only ever deleted, never updated
  RETURNING u.organization_id, u.account_id, x.message_id, u.external_id, u.id, u.type,
    u.status, x.direction <> 'outbound' AS is_of_inbound,
    coalesce(u.occurred_at, u.received_at) AS occurred_at, u.error_code, u.error_message,
    u.source, u.detail, u.provider
)
SELECT now() AS looked_at, s.looked, s.reached, t.*,
  (SELECT count(*) FROM missed) > (SELECT count(*) FROM free)
    OR EXISTS (SELECT FROM seen WHERE organization_id = ANY ($4)) AS is_held
FROM (
  SELECT count(*) AS looked, CASE WHEN count(*) >= $3 THEN min(received_at) END AS reached FROM seen
) s
LEFT JOIN taken t ON true;

-- name: whose_missed
-- The organizations whose reports `take_missed` would look at.
SELECT DISTINCT organization_id FROM (
  SELECT u.organization_id FROM gateway.unmatched_reports u
  WHERE u.received_at > coalesce($1::timestamptz, '-infinity')
    AND u.received_at < coalesce($2::timestamptz, 'infinity')
  ORDER BY u.received_at DESC FETCH FIRST ($3::bigint) ROWS WITH TIES
) u;
