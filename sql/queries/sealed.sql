-- Secrets that are sealed with a key of GATEWAY_SECRET_KEYS, to be sealed with another one.

-- name: accounts
-- Accounts after $2 whose credentials are sealed with another key than $1 (its id, the first
-- bytes).
SELECT organization_id, id, credentials FROM gateway.provider_accounts
WHERE substring(credentials FOR length($1::bytea)) <> $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id LIMIT 200;

-- name: account
-- Replaces credentials $3 by $4, unless they were changed meanwhile.
UPDATE gateway.provider_accounts SET credentials = $4
WHERE organization_id = $1 AND id = $2 AND credentials = $3
RETURNING id;

-- name: subscriptions
SELECT organization_id, id, credentials FROM gateway.subscriptions
WHERE substring(credentials FOR length($1::bytea)) <> $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id LIMIT 200;

-- name: subscription
UPDATE gateway.subscriptions SET credentials = $4
WHERE organization_id = $1 AND id = $2 AND credentials = $3
RETURNING id;
