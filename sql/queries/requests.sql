-- Providers' requests as received: kept for a time, and applied again by `gateway replay`.

-- name: keep
INSERT INTO gateway.webhook_requests (
  organization_id, id, account_id, provider, event, method, url, headers, body
)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[],
  $7::text[], $8::jsonb[], $9::bytea[]);

-- name: list
-- The next $6 requests after ($1, $2), in order of arrival, that were received before $3; only
-- those of account $5 of organization $4 if given.
SELECT organization_id, id, received_at FROM gateway.webhook_requests
WHERE (received_at, id) > ($1::timestamptz, $2::uuid) AND received_at < $3
  AND ($5::uuid IS NULL OR organization_id = $4 AND account_id = $5)
ORDER BY received_at, id LIMIT $6;

-- name: get
SELECT organization_id, id, account_id, provider, event, method, url, headers, body
FROM gateway.webhook_requests WHERE organization_id = $1 AND id = $2;

-- name: now
SELECT clock_timestamp();

-- name: is_fetched
-- Whether an errand to URL $4 of account $2 has ended since $3 with one of the events $5. Usually
-- within a few rows, because a worker begins at once.
SELECT true FROM gateway.webhook_requests
WHERE organization_id = $1 AND account_id = $2 AND received_at >= $3
  AND event = ANY ($5::text[]) AND url = $4
ORDER BY received_at LIMIT 1;
