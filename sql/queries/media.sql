-- Files of messages, and what is still to be fetched from providers.

-- name: insert
-- Adds files to stored messages and, for those to be fetched with account_id, an errand with the same id.
-- Existing files stay as they are; files of messages that do not exist are ignored.
-- $1: json array.
WITH incoming AS MATERIALIZED (
  SELECT * FROM json_to_recordset($1::json) AS i (
    organization_id uuid, id uuid, message_id uuid, position smallint, source_url text,
    filename text, content_type text, size bigint, storage_key text, state text, reason text,
    account_id uuid
  )
), stored AS (
  INSERT INTO gateway.media (
    organization_id, id, message_id, position, source_url, filename, content_type, size,
    storage_key, state, reason
  )
  SELECT i.organization_id, i.id, i.message_id, i.position, i.source_url, i.filename,
    i.content_type, i.size, i.storage_key, i.state, i.reason
  FROM incoming i
  JOIN messages m ON m.organization_id = i.organization_id AND m.id = i.message_id
  ON CONFLICT (organization_id, id) DO NOTHING
  RETURNING organization_id, id
)
INSERT INTO gateway.errands (organization_id, id, account_id, kind, url)
SELECT i.organization_id, i.id, i.account_id, 'media', i.source_url
FROM incoming i JOIN stored USING (organization_id, id)
WHERE i.state = 'waiting' AND i.account_id IS NOT NULL AND i.source_url IS NOT NULL
ON CONFLICT (organization_id, id) DO NOTHING;

-- name: by_message
SELECT id, position, filename, content_type, size, storage_key, state, reason
FROM gateway.media WHERE organization_id = $1 AND message_id = $2 ORDER BY position, id;

-- name: by_ids
SELECT id, position, filename, content_type, size, storage_key, state, reason
FROM gateway.media WHERE organization_id = $1 AND id = ANY ($2::uuid[]);

-- name: set_stored
-- Records that the content is stored under $6, sets the file's URL in its message to $7, and ends
-- the errand. $3: name, $4: type, $5: size.
WITH kept AS (
  UPDATE gateway.media SET
    filename = coalesce(filename, $3), content_type = $4, size = $5, storage_key = $6,
    state = 'stored', reason = NULL
  WHERE organization_id = $1 AND id = $2 AND state <> 'stored'
  RETURNING message_id, position, filename
), shown AS (
  UPDATE messages m SET attachments = jsonb_set(
    m.attachments, ARRAY[k.position::text],
    m.attachments -> k.position::integer || jsonb_build_object(
      'url', $7::text, 'filename', k.filename, 'content_type', $4::text, 'size', $5::bigint))
  FROM kept k
  WHERE m.organization_id = $1 AND m.id = k.message_id
    AND jsonb_typeof(m.attachments -> k.position::integer) = 'object'
), done AS (
  DELETE FROM gateway.errands WHERE organization_id = $1 AND id = $2
)
SELECT message_id FROM kept;

-- name: set_failed
-- Gives up a file, for reason $3. Files that are already stored stay so.
WITH failed AS (
  UPDATE gateway.media SET state = 'failed', reason = $3
  WHERE organization_id = $1 AND id = $2 AND state = 'waiting'
)
DELETE FROM gateway.errands WHERE organization_id = $1 AND id = $2;

-- name: fetch_again
-- Those of the files $3 that were given up, and have a URL, wait for errands of account $2.
WITH again AS (
  UPDATE gateway.media SET state = 'waiting', reason = NULL
  WHERE organization_id = $1 AND id = ANY ($3::uuid[]) AND state = 'failed'
    AND source_url IS NOT NULL
  RETURNING organization_id, id, source_url
)
INSERT INTO gateway.errands (organization_id, id, account_id, kind, url)
SELECT organization_id, id, $2, 'media', source_url FROM again
ON CONFLICT (organization_id, id) DO NOTHING;

-- name: add_errands
-- The same id is the same errand, stored once while it is under way. $1: json array.
INSERT INTO gateway.errands (organization_id, id, account_id, kind, url, run_at)
SELECT organization_id, id, account_id, kind, url, now() + make_interval(secs => after)
FROM json_to_recordset($1::json) AS i (
  organization_id uuid, id uuid, account_id uuid, kind text, url text, after double precision
)
ON CONFLICT (organization_id, id) DO NOTHING
RETURNING id;

-- name: claim_errand
-- Takes a due errand for $1 seconds; its next time is the end of the lease. Organizations take turns among
-- the oldest that are due, and in each of them its accounts, so that a slow account does not hold up the
-- others. $2, $4: the accounts and organizations of the errands that the caller already holds, one entry
-- for each errand: each counts as a turn, and an account that has had $3 turns, or an organization that
-- has had $5, gets none now.
WITH due AS MATERIALIZED (
  SELECT organization_id, id, account_id, run_at FROM gateway.errands
  WHERE run_at <= now() AND cardinality(array_positions($2::uuid[], account_id)) < $3
    AND cardinality(array_positions($4::uuid[], organization_id)) < $5
  ORDER BY run_at LIMIT 1000
), of_account AS MATERIALIZED (
  SELECT organization_id, id, run_at,
    row_number() OVER (PARTITION BY organization_id, account_id ORDER BY run_at, id)
      + cardinality(array_positions($2::uuid[], account_id)) AS turn
  FROM due
), ordered AS MATERIALIZED (
  SELECT organization_id, id, run_at,
    row_number() OVER (PARTITION BY organization_id ORDER BY turn, run_at, id)
      + cardinality(array_positions($4::uuid[], organization_id)) AS turn
  FROM of_account
), chosen AS MATERIALIZED (
  SELECT e.organization_id, e.id
  FROM ordered o
  JOIN gateway.errands e ON e.organization_id = o.organization_id AND e.id = o.id
  -- checked again, on the row as it is once it is locked
  WHERE e.run_at <= now()
  ORDER BY o.turn, o.run_at LIMIT 1
  FOR UPDATE OF e SKIP LOCKED
), taken AS (
  UPDATE gateway.errands e SET
    run_at = now() + make_interval(secs => $1), attempts = least(e.attempts + 1, 30000)
  FROM chosen c WHERE e.organization_id = c.organization_id AND e.id = c.id
  RETURNING e.organization_id, e.id, e.account_id, e.kind, e.url, e.attempts
)
SELECT t.*, a.provider, a.credentials, m.state, m.content_type
FROM taken t
JOIN gateway.provider_accounts a ON a.organization_id = t.organization_id AND a.id = t.account_id
LEFT JOIN gateway.media m
  ON t.kind = 'media' AND m.organization_id = t.organization_id AND m.id = t.id;

-- name: finish_errand
DELETE FROM gateway.errands WHERE organization_id = $1 AND id = $2;

-- name: postpone_errand
-- Only for whoever holds the errand, which the number of attempts, $3, proves.
UPDATE gateway.errands SET run_at = clock_timestamp() + make_interval(secs => $4)
WHERE organization_id = $1 AND id = $2 AND attempts = $3;

-- name: give_back_errand
-- A claimed errand that was not finished is due at once, and its attempt does not count. Only for
-- whoever holds it, as above.
UPDATE gateway.errands SET run_at = clock_timestamp(), attempts = attempts - 1
WHERE organization_id = $1 AND id = $2 AND attempts = $3;
