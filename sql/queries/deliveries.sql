-- Deliveries: events that are to be sent to subscriptions, planned and sent by workers.
-- PostgreSQL plans frequent queries only once, so each table that grows is read one row or one
-- share at a time: by LATERAL, by ctid, or in an index's order (decision 19).

-- name: look
-- Active subscriptions with something to do: a delivery is due, or events have not been planned and
-- fewer than $1 deliveries wait; also, active or not, those whose position is from another cluster.
-- A snapshot does not see the transactions that ran when it was taken (xip), nor those from its
-- xmax on: only these are looked up, so that no planned event is read again. OFFSET 0: evaluated
-- once for each subscription.
SELECT s.organization_id, s.id, s.is_active AND n.is_due AS is_due,
  s.is_active AND n.is_behind OR n.is_foreign AS is_behind
FROM gateway.subscriptions s
CROSS JOIN LATERAL (
  SELECT
    coalesce(s.paused_until <= now(), true) AND coalesce((
      SELECT d.due_at FROM gateway.deliveries d
      WHERE d.organization_id = s.organization_id AND d.subscription_id = s.id
      ORDER BY d.due_at, d.number LIMIT 1) <= now(), false) AS is_due,
    (EXISTS (
      SELECT FROM gateway.message_events e
      WHERE e.organization_id = s.organization_id AND e.position >= pg_snapshot_xmax(s.snapshot)
        AND e.position < pg_snapshot_xmax(pg_current_snapshot())
    ) OR EXISTS (
      SELECT FROM pg_snapshot_xip(s.snapshot) AS running CROSS JOIN LATERAL (
        SELECT FROM gateway.message_events e
        WHERE e.organization_id = s.organization_id AND e.position = running LIMIT 1) one
    ) OR EXISTS (
      SELECT FROM gateway.conversation_changes c
      WHERE c.organization_id = s.organization_id AND c.position >= pg_snapshot_xmax(s.snapshot)
        AND c.position < pg_snapshot_xmax(pg_current_snapshot())
    ) OR EXISTS (
      SELECT FROM pg_snapshot_xip(s.snapshot) AS running CROSS JOIN LATERAL (
        SELECT FROM gateway.conversation_changes c
        WHERE c.organization_id = s.organization_id AND c.position = running LIMIT 1) one
    )) AND (
      SELECT count(*) FROM (
        SELECT FROM gateway.deliveries d
        WHERE d.organization_id = s.organization_id AND d.subscription_id = s.id
        ORDER BY d.due_at, d.number LIMIT $1) waiting
    ) < $1 AS is_behind,
    pg_snapshot_xmax(s.snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS is_foreign
  OFFSET 0
) n
WHERE s.is_active AND (n.is_due OR n.is_behind) OR n.is_foreign;

-- name: take_place
-- The position of a subscription, locked until the transaction ends; no row while another worker
-- has it. A snapshot with transactions that are yet to come is from another cluster, whose backup
-- was restored here. Some day it would look like one of this cluster, so it is also replaced if
-- nothing is planned.
SELECT events, snapshot::text AS snapshot, reached_at, within,
  pg_snapshot_xmax(snapshot) > pg_snapshot_xmax(pg_current_snapshot()) AS is_foreign
FROM gateway.subscriptions WHERE organization_id = $1 AND id = $2
  AND (is_active OR pg_snapshot_xmax(snapshot) > pg_snapshot_xmax(pg_current_snapshot()))
FOR NO KEY UPDATE SKIP LOCKED;

-- name: plan
-- $3: json array of deliveries; $4 to $6: the position after them. A status that an earlier event
-- of the message has is not told again.
WITH planned AS (
  INSERT INTO gateway.deliveries (organization_id, subscription_id, id, type, about, occurred_at)
  SELECT $1, $2, i.id, i.type, i.about, i.occurred_at
  FROM ROWS FROM (json_to_recordset($3::json)
    AS (id uuid, type text, about uuid, occurred_at timestamptz, event uuid, position text, status text))
    WITH ORDINALITY AS i (id, type, about, occurred_at, event, position, status, n)
  WHERE NOT EXISTS (
    SELECT FROM gateway.message_events e
    WHERE e.organization_id = $1 AND e.message_id = i.about AND e.status = i.status
      AND (e.position, e.id) < (i.position::xid8, i.event)
  )
  ORDER BY i.n
  ON CONFLICT DO NOTHING
)
UPDATE gateway.subscriptions SET snapshot = $4::text::pg_snapshot, reached_at = $5, within = $6
WHERE organization_id = $1 AND id = $2;

-- name: claim
-- Takes up to $1 due deliveries for $2 seconds. Limits of deliveries at a time: $3 for a
-- subscription, but one if its receiver has failed $4 times in a row; $5 for an organization; $6
-- for all subscriptions whose receivers fail; in this claim $10 for all organizations $9, whose
-- receivers are slow. $7, $8: the organizations and subscriptions of the deliveries that the caller
-- holds, one entry for each: each counts as a turn, because otherwise slow receivers would after a
-- while have all places of their organization.
WITH active AS MATERIALIZED (
  SELECT organization_id, id, failures >= $4 AS is_failing, held,
    CASE WHEN failures >= $4 THEN 1 ELSE $3 END - held AS room, random() AS lot
  FROM gateway.subscriptions
  CROSS JOIN LATERAL (SELECT cardinality(array_positions($8::uuid[], id)) AS held) each
  WHERE is_active AND coalesce(paused_until <= now(), true)
), due AS MATERIALIZED (
  SELECT a.organization_id, d.place, a.is_failing, a.lot,
    row_number() OVER (PARTITION BY a.id ORDER BY d.due_at, d.number) + a.held AS turn
  FROM active a CROSS JOIN LATERAL (
    SELECT d.ctid AS place, d.due_at, d.number FROM gateway.deliveries d
    WHERE d.organization_id = a.organization_id AND d.subscription_id = a.id AND d.due_at <= now()
    ORDER BY d.due_at, d.number LIMIT greatest(a.room, 0)
  ) d
), ordered AS MATERIALIZED (
  SELECT *,
    row_number() OVER (PARTITION BY organization_id ORDER BY turn, lot)
      + cardinality(array_positions($7::uuid[], organization_id)) AS of_organization,
    CASE WHEN is_failing THEN row_number() OVER (PARTITION BY is_failing ORDER BY turn, lot) + (
      SELECT count(*) FROM active a WHERE a.is_failing AND a.id = ANY ($8::uuid[])) ELSE 0
    END AS of_failing
  FROM due
), chosen AS MATERIALIZED (
  SELECT locked.place
  FROM (
    SELECT place, turn, lot,
      CASE WHEN is_slow THEN row_number() OVER (PARTITION BY is_slow ORDER BY turn, lot) ELSE 0
      END AS of_slow
    FROM ordered CROSS JOIN LATERAL (SELECT organization_id = ANY ($9::uuid[]) AS is_slow) each
    WHERE of_organization <= $5 AND of_failing <= $6
    ORDER BY turn, lot
  ) o
  CROSS JOIN LATERAL (
    -- a row that was changed since this statement began is left for the next claim
    SELECT d.ctid AS place FROM gateway.deliveries d WHERE d.ctid = o.place FOR UPDATE SKIP LOCKED
  ) locked
  WHERE o.of_slow <= $10
  LIMIT $1
), taken AS (
  UPDATE gateway.deliveries d SET
    due_at = now() + make_interval(secs => $2), attempts = least(d.attempts + 1, 30000)
  FROM chosen c WHERE d.ctid = c.place
  RETURNING d.organization_id, d.subscription_id, d.id, d.number, d.type, d.about, d.occurred_at,
    d.attempts, d.failures
)
SELECT t.*, s.url, s.credentials, coalesce(s.former_until > now(), false) AS is_rotating
FROM taken t CROSS JOIN LATERAL (
  SELECT * FROM gateway.subscriptions s
  WHERE s.organization_id = t.organization_id AND s.id = t.subscription_id OFFSET 0
) s
ORDER BY t.number;

-- name: delivered
-- $1 to $3: organization, subscription and id of each. One success a second is recorded for a
-- receiver. Subscriptions are locked in order, and before their deliveries, as in all statements.
WITH told AS MATERIALIZED (
  SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS t (organization_id, subscription_id, id)
), held AS MATERIALIZED (
  SELECT s.organization_id, s.id FROM gateway.subscriptions s
  WHERE (s.organization_id, s.id) IN (SELECT organization_id, subscription_id FROM told)
  ORDER BY s.organization_id, s.id FOR NO KEY UPDATE
), noted AS (
  UPDATE gateway.subscriptions s SET last_success_at = now(), failures = 0, failing_since = NULL
  FROM held h
  WHERE s.organization_id = h.organization_id AND s.id = h.id
    AND (s.failures > 0 OR coalesce(s.last_success_at < now() - interval '1 second', true))
), done AS MATERIALIZED (
  SELECT locked.place
  FROM told t JOIN held h ON h.organization_id = t.organization_id AND h.id = t.subscription_id
  CROSS JOIN LATERAL (
    SELECT d.ctid AS place FROM gateway.deliveries d
    WHERE d.organization_id = t.organization_id AND d.id = t.id FOR UPDATE
  ) locked
)
DELETE FROM gateway.deliveries d USING done WHERE d.ctid = done.place;

-- name: note_failure
-- $3: what was wrong; $4: for how many seconds nothing is sent there, if any, which is at least $6
-- from $5 failures in a row on. Returns how many failures there are, and since how many seconds;
-- nothing if the URL of the subscription is no longer $7.
UPDATE gateway.subscriptions SET
  failures = failures + 1, failing_since = coalesce(failing_since, now()), last_failure_at = now(),
  last_error = $3, paused_until = greatest(paused_until, now() + make_interval(secs =>
    greatest($4, CASE WHEN failures + 1 >= $5 THEN $6 ELSE 0 END)))
WHERE organization_id = $1 AND id = $2 AND url = $7
RETURNING failures, extract(epoch FROM now() - failing_since)::double precision AS seconds;

-- name: postpone
-- Tries a delivery again in $4 seconds, unless another worker holds it by now, or it was begun
-- anew: then it does not have $3 attempts.
UPDATE gateway.deliveries SET due_at = now() + make_interval(secs => $4), failures = failures + 1,
  last_status = $5, last_error = $6
WHERE organization_id = $1 AND id = $2 AND attempts = $3;

-- name: give_back
-- Gives a delivery back as if it had not been claimed, due in $4 seconds; $3: its number of
-- attempts.
UPDATE gateway.deliveries SET due_at = now() + make_interval(secs => $4), attempts = attempts - 1
WHERE organization_id = $1 AND id = $2 AND attempts = $3;

-- name: forget
-- Removes a delivery that will not be sent: given up, or about something that no longer exists.
-- Unless it was begun anew meanwhile.
DELETE FROM gateway.deliveries WHERE organization_id = $1 AND id = $2 AND attempts = $3;

-- name: disable
UPDATE gateway.subscriptions SET is_active = false, disabled_reason = $3
WHERE organization_id = $1 AND id = $2 AND url = $4 AND is_active RETURNING id;
