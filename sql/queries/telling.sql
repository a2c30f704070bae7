-- Tells event streams about new events.

-- name: tell
-- Wakes the processes that stream events of these organizations, once the events are stored.
SELECT pg_notify('gateway_live', id::text) FROM unnest($1::uuid[]) AS id;
