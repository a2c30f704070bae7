-- Which callers that were authenticated some time ago would still be. Each row has the
-- organization, so that somebody who has moved to another one is no longer known in the first.

-- name: keys
SELECT id, organization_id FROM gateway.api_keys
WHERE id = ANY ($1::uuid[]) AND revoked_at IS NULL;

-- name: staff
SELECT auth_id, organization_id FROM auth_users
WHERE auth_id = ANY ($1::uuid[]) AND is_active;

-- name: is_colleague
SELECT EXISTS (
  SELECT FROM auth_users WHERE organization_id = $1 AND id = $2 AND is_active);
