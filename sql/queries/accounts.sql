-- Organizations, staff, API keys, provider accounts and senders.

-- name: insert_organization
INSERT INTO organizations (id, name, slug, settings) VALUES ($1, $2, $3, $4::jsonb)
ON CONFLICT (slug) DO NOTHING RETURNING id;

-- name: insert_staff
INSERT INTO auth_users (id, auth_id, email, full_name, organization_id, role)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: staff_by_email
-- The schema allows two rows with the same mailbox in different spellings: the exact one comes
-- first.
SELECT auth_id, organization_id, is_active FROM auth_users WHERE lower(email) = lower($1)
ORDER BY email = $1 DESC, created_at, id LIMIT 1;

-- name: staff_of_mailbox
-- The member of staff with this mailbox in each organization; a few at most.
SELECT * FROM (
  SELECT DISTINCT ON (organization_id) auth_id, organization_id, email, created_at FROM auth_users
  WHERE lower(email) = lower($1)
  ORDER BY organization_id, email = $1 DESC, created_at, id
) one
ORDER BY email = $1 DESC, created_at, auth_id LIMIT 5;

-- name: staff_by_auth_id
-- Run as the caller: somebody who is not active, or has no organization, sees no row.
SELECT id, organization_id, role FROM auth_users
WHERE auth_id = $1 AND is_active AND organization_id IS NOT NULL;

-- name: insert_api_key
INSERT INTO gateway.api_keys (id, organization_id, name, prefix, hash, is_test)
VALUES ($1, $2, $3, $4, $5, $6);

-- name: api_keys_by_prefix
SELECT id, organization_id, prefix, hash, is_test FROM gateway.api_keys
WHERE prefix = ANY ($1::text[]) AND revoked_at IS NULL;

-- name: list_api_keys
SELECT id, organization_id, name, prefix, is_test, created_at, revoked_at FROM gateway.api_keys
WHERE organization_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
ORDER BY created_at DESC, id DESC LIMIT $4;

-- name: get_api_key
SELECT id, organization_id, name, prefix, is_test, created_at, revoked_at FROM gateway.api_keys
WHERE organization_id = $1 AND id = $2;

-- name: revoke_api_key
UPDATE gateway.api_keys SET revoked_at = coalesce(revoked_at, now())
WHERE organization_id = $1 AND id = $2 RETURNING id;

-- name: insert_account
INSERT INTO gateway.provider_accounts (id, organization_id, provider, name, credentials)
VALUES ($1, $2, $3, $4, $5);

-- name: list_accounts
SELECT id, organization_id, provider, name, is_active, created_at, updated_at
FROM gateway.provider_accounts
WHERE organization_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
ORDER BY created_at DESC, id DESC LIMIT $4;

-- name: get_account
SELECT id, organization_id, provider, name, is_active, created_at, updated_at
FROM gateway.provider_accounts WHERE organization_id = $1 AND id = $2;

-- name: update_account
UPDATE gateway.provider_accounts SET
  name = coalesce($3, name), is_active = coalesce($4, is_active)
WHERE organization_id = $1 AND id = $2;

-- name: replace_credentials
-- A separate statement, because owners may write credentials, but only service_role may read them.
-- $4: the `updated_at` of the credentials that the caller compared, if the new ones belong to the
-- same account at the provider; else null. If others were stored meanwhile, these may be another
-- account's.
UPDATE gateway.provider_accounts SET credentials = $3,
  identified_at = CASE WHEN updated_at = $4 THEN identified_at ELSE clock_timestamp() END
WHERE organization_id = $1 AND id = $2;

-- name: delete_account
DELETE FROM gateway.provider_accounts WHERE organization_id = $1 AND id = $2 RETURNING id;

-- name: forget_what_came
-- Deletes the webhook requests and unmatched reports of account $2, at most $3 rows of each, so
-- that no statement takes long; returns how many were deleted.
WITH requests AS (
  DELETE FROM gateway.webhook_requests WHERE (organization_id, id) IN (
    SELECT organization_id, id FROM gateway.webhook_requests
    WHERE organization_id = $1 AND account_id = $2 LIMIT $3
  ) RETURNING 1
), reports AS (
  DELETE FROM gateway.unmatched_reports
  WHERE (organization_id, account_id, external_id, id) IN (
    SELECT organization_id, account_id, external_id, id FROM gateway.unmatched_reports
    WHERE organization_id = $1 AND account_id = $2 LIMIT $3
  ) RETURNING 1
)
SELECT (SELECT count(*) FROM requests) + (SELECT count(*) FROM reports);

-- name: open_account
-- For webhooks and the command line: the account in the path determines organization and secret. Of the
-- organization's settings, which are as large as somebody has made them, those of `call` that $2 names.
SELECT a.id, a.organization_id, a.provider, a.credentials,
  jsonb_build_object('call', (
    SELECT jsonb_object_agg(w.name, w.wish)
    FROM (
      SELECT name, o.settings #> ARRAY['call', name] AS wish
      FROM unnest($2::text[]) AS name OFFSET 0
    ) w
    WHERE octet_length(w.wish::text) <= 65536)) AS settings
FROM gateway.provider_accounts a JOIN organizations o ON o.id = a.organization_id
WHERE a.id = $1;

-- name: stored
-- The credentials of account $2, and when it was last changed.
SELECT credentials, updated_at FROM gateway.provider_accounts
WHERE organization_id = $1 AND id = $2;

-- name: versions
-- All accounts of organization $1 at provider $2, active ones first, then the oldest first; and
-- when each was last changed.
SELECT id, updated_at FROM gateway.provider_accounts
WHERE organization_id = $1 AND provider = $2 ORDER BY is_active DESC, created_at, id;

-- name: sealed
-- The credentials of accounts $1.
SELECT id, credentials FROM gateway.provider_accounts WHERE id = ANY ($1::uuid[]);

-- name: hold_default_sender
-- Until this transaction ends, no other one changes the default sender of channel $2: each would
-- lock the former default and then the new one, which may deadlock.
SELECT pg_advisory_xact_lock(hashtextextended($1::uuid::text || ' ' || $2::text, 7044));

-- name: clear_default_sender
UPDATE gateway.senders SET is_default = false
WHERE organization_id = $1 AND channel = $2 AND is_default;

-- name: insert_sender
INSERT INTO gateway.senders (id, organization_id, account_id, channel, address, is_default, rate)
VALUES ($1, $2, $3, $4, $5, $6, $7);

-- name: list_senders
SELECT id, organization_id, account_id, channel, address, is_default, rate, is_active, created_at,
  updated_at
FROM gateway.senders
WHERE organization_id = $1 AND ($2::text IS NULL OR channel = $2)
  AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
ORDER BY created_at DESC, id DESC LIMIT $5;

-- name: get_sender
SELECT id, organization_id, account_id, channel, address, is_default, rate, is_active, created_at,
  updated_at
FROM gateway.senders WHERE organization_id = $1 AND id = $2;

-- name: update_sender
-- $6 says whether $5 (the rate) was given: null is one of its values.
UPDATE gateway.senders SET
  is_default = coalesce($3, is_default), is_active = coalesce($4, is_active),
  rate = CASE WHEN $6 THEN $5 ELSE rate END
WHERE organization_id = $1 AND id = $2;

-- name: delete_sender
DELETE FROM gateway.senders WHERE organization_id = $1 AND id = $2 RETURNING id;
