-- Who streams events hears of new ones.

-- name: tell
-- Wakes whoever streams the events of these organizations, after they were stored.
SELECT pg_notify('gateway_live', id::text) FROM unnest($1::uuid[]) AS id;
