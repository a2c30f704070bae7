-- Subscriptions: which URLs are told of events by webhook.

-- name: take_turn
-- A lock until the transaction ends, so that transactions that add subscriptions to an organization
-- count them one after the other.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text, 7043));

-- name: insert
-- Inserts nothing if the organization already has $7 of them.
INSERT INTO gateway.subscriptions (id, organization_id, url, description, events, credentials)
SELECT $1, $2, $3, $4, $5, $6
WHERE (SELECT count(*) FROM gateway.subscriptions WHERE organization_id = $2) < $7
RETURNING id;

-- name: list
SELECT s.id, s.organization_id, s.url, s.description, s.events, s.is_active, s.disabled_reason,
  s.former_until, s.last_success_at, s.last_failure_at, s.last_error, s.created_at, s.updated_at,
  (SELECT count(*) FROM gateway.deliveries d
    WHERE d.organization_id = s.organization_id AND d.subscription_id = s.id) AS pending
FROM gateway.subscriptions s
WHERE s.organization_id = $1 AND ($2::timestamptz IS NULL OR (s.created_at, s.id) < ($2, $3::uuid))
ORDER BY s.created_at DESC, s.id DESC LIMIT $4;

-- name: get
SELECT s.id, s.organization_id, s.url, s.description, s.events, s.is_active, s.disabled_reason,
  s.former_until, s.last_success_at, s.last_failure_at, s.last_error, s.created_at, s.updated_at,
  (SELECT count(*) FROM gateway.deliveries d
    WHERE d.organization_id = s.organization_id AND d.subscription_id = s.id) AS pending
FROM gateway.subscriptions s WHERE s.organization_id = $1 AND s.id = $2;

-- name: update
-- $4 says whether $5 (the description) was given: null is one of its values.
UPDATE gateway.subscriptions SET
  url = coalesce($3, url), description = CASE WHEN $4 THEN $5 ELSE description END,
  events = coalesce($6::text[], events), is_active = coalesce($7, is_active)
WHERE organization_id = $1 AND id = $2;

-- name: replace_credentials
-- A separate statement, because callers may write credentials, but only service_role may read them.
-- Only if the subscription was last changed at $5. $4: for how many seconds the former secret
-- signs, too; null: as long as before.
UPDATE gateway.subscriptions SET credentials = $3,
  former_until = coalesce(now() + make_interval(secs => $4), former_until)
WHERE organization_id = $1 AND id = $2 AND updated_at = $5 RETURNING id;

-- name: delete
DELETE FROM gateway.subscriptions WHERE organization_id = $1 AND id = $2 RETURNING id;

-- name: credentials
SELECT credentials FROM gateway.subscriptions WHERE organization_id = $1 AND id = $2;
