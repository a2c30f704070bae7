-- What the worker does besides sending, and what /readyz asks.

-- name: fold_template_uses
-- Adds the uses of all templates except $1, or only of those in $2 if given, to their counters.
-- Templates that another program has locked are skipped; the locks taken here keep other workers
-- from the same ones. Each template gets a share of the rows that are deleted.
WITH RECURSIVE waiting AS (
  (SELECT organization_id, template_id FROM gateway.template_uses
    ORDER BY organization_id, template_id LIMIT 1)
  UNION ALL
  SELECT next.* FROM waiting w CROSS JOIN LATERAL (
    SELECT u.organization_id, u.template_id FROM gateway.template_uses u
    WHERE (u.organization_id, u.template_id) > (w.organization_id, w.template_id)
    ORDER BY u.organization_id, u.template_id LIMIT 1
  ) next
), free AS MATERIALIZED (
  SELECT t.* FROM (
    SELECT * FROM waiting
    WHERE template_id <> ALL ($1::uuid[]) AND ($2::uuid[] IS NULL OR template_id = ANY ($2))
    ORDER BY random() LIMIT 1000
  ) w
  CROSS JOIN LATERAL (
    SELECT t.organization_id, t.id FROM message_templates t
    WHERE t.organization_id = w.organization_id AND t.id = w.template_id
    FOR NO KEY UPDATE SKIP LOCKED
  ) t
), taken AS (
  DELETE FROM gateway.template_uses WHERE id IN (
    SELECT u.id FROM free f CROSS JOIN LATERAL (
      SELECT u.id FROM gateway.template_uses u
      WHERE u.organization_id = f.organization_id AND u.template_id = f.id LIMIT 2000
    ) u LIMIT 5000
  ) RETURNING organization_id, template_id, uses, used_at
), sums AS (
  SELECT organization_id, template_id, sum(uses) AS uses, max(used_at) AS used_at
  FROM taken GROUP BY organization_id, template_id
)
UPDATE message_templates t SET
  -- another program may have written any number: a counter at its maximum stays there
  usage_count = least(coalesce(t.usage_count, 0) + s.uses, 2147483647)::integer,
  last_used_at = greatest(t.last_used_at, s.used_at)
FROM sums s WHERE t.organization_id = s.organization_id AND t.id = s.template_id;

-- name: used_templates
-- The templates whose uses are still to be added, found by a loose index scan.
WITH RECURSIVE waiting AS (
  (SELECT organization_id, template_id FROM gateway.template_uses
    ORDER BY organization_id, template_id LIMIT 1)
  UNION ALL
  SELECT next.* FROM waiting w CROSS JOIN LATERAL (
    SELECT u.organization_id, u.template_id FROM gateway.template_uses u
    WHERE (u.organization_id, u.template_id) > (w.organization_id, w.template_id)
    ORDER BY u.organization_id, u.template_id LIMIT 1
  ) next
)
SELECT template_id FROM waiting LIMIT 1000;

-- name: forget_old
-- Retention: raw webhook requests 30 days, unmatched reports, idempotency keys and changes of
-- conversations 8 days; sessions, links and sign-in attempts until they no longer count.
-- $1: how many rows of each at most, so that no transaction takes long.
WITH requests AS (
  DELETE FROM gateway.webhook_requests WHERE (organization_id, id) IN (
    SELECT organization_id, id FROM gateway.webhook_requests
    WHERE received_at < now() - interval '30 days' LIMIT $1
  ) RETURNING 1
), reports AS (
  DELETE FROM gateway.unmatched_reports
  WHERE (organization_id, account_id, external_id, id) IN (
    SELECT organization_id, account_id, external_id, id FROM gateway.unmatched_reports
    WHERE received_at < now() - interval '8 days' LIMIT $1
  ) RETURNING 1
), keys AS (
  DELETE FROM gateway.idempotency_keys WHERE (organization_id, key) IN (
    SELECT organization_id, key FROM gateway.idempotency_keys
    WHERE created_at < now() - interval '8 days' LIMIT $1
  ) RETURNING 1
), sessions AS (
  DELETE FROM gateway.staff_sessions WHERE (organization_id, id) IN (
    SELECT organization_id, id FROM gateway.staff_sessions WHERE expires_at < now() LIMIT $1
  ) RETURNING 1
), links AS (
  DELETE FROM gateway.staff_links WHERE (organization_id, id) IN (
    SELECT organization_id, id FROM gateway.staff_links WHERE expires_at < now() LIMIT $1
  ) RETURNING 1
), attempts AS (
  DELETE FROM gateway.sign_in_attempts WHERE bucket IN (
    SELECT bucket FROM gateway.sign_in_attempts
    WHERE begun_at < now() - interval '1 day' LIMIT $1
  ) RETURNING 1
), changes AS (
  DELETE FROM gateway.conversation_changes
  WHERE (organization_id, position, conversation_id) IN (
    SELECT organization_id, position, conversation_id FROM gateway.conversation_changes
    WHERE changed_at < now() - interval '8 days' LIMIT $1
  ) RETURNING 1
)
SELECT (SELECT count(*) FROM requests) AS requests, (SELECT count(*) FROM reports) AS reports,
  (SELECT count(*) FROM keys) AS keys, (SELECT count(*) FROM sessions) AS sessions,
  (SELECT count(*) FROM links) AS links, (SELECT count(*) FROM attempts) AS attempts,
  (SELECT count(*) FROM changes) AS changes;

-- name: analyse_new_tables
SELECT gateway.analyse_new_tables();

-- name: migrations
SELECT version FROM gateway.schema_migrations ORDER BY version;
