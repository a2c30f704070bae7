-- Signing in to the inbox: sessions, links that work once, attempts.

-- name: insert_session
INSERT INTO gateway.staff_sessions (organization_id, id, auth_id, digest, method, expires_at)
VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6));

-- name: find_session
-- $2: seconds without a request after which a session has ended. The time of the last request is written
-- at most once a minute, so that reading rarely writes, and only if $3 says that somebody made a request.
WITH found AS (
  SELECT organization_id, id, auth_id, last_seen_at FROM gateway.staff_sessions
  WHERE digest = $1 AND expires_at > now() AND last_seen_at > now() - make_interval(secs => $2)
), seen AS (
  UPDATE gateway.staff_sessions s SET last_seen_at = now() FROM found f
  WHERE s.organization_id = f.organization_id AND s.id = f.id
    AND $3::boolean AND f.last_seen_at < now() - interval '1 minute'
)
SELECT organization_id, id, auth_id FROM found;

-- name: end_session
DELETE FROM gateway.staff_sessions WHERE digest = $1;

-- name: end_sessions_of
DELETE FROM gateway.staff_sessions WHERE organization_id = $1 AND auth_id = $2;

-- name: insert_link
INSERT INTO gateway.staff_links (organization_id, id, auth_id, expires_at)
VALUES ($1, $2, $3, now() + make_interval(secs => $4));

-- name: find_link
-- The member of staff whom a link signs in, if it is still valid.
SELECT l.auth_id, u.email, left(o.name, 1000) AS organization
FROM gateway.staff_links l
JOIN auth_users u ON u.auth_id = l.auth_id AND u.organization_id = l.organization_id AND u.is_active
JOIN organizations o ON o.id = l.organization_id
WHERE l.organization_id = $1 AND l.id = $2 AND l.expires_at > now();

-- name: use_link
-- If it is used twice at the same moment, only one statement finds the row.
DELETE FROM gateway.staff_links
WHERE organization_id = $1 AND id = $2 AND expires_at > now() RETURNING auth_id;

-- name: end_links_of
DELETE FROM gateway.staff_links WHERE organization_id = $1 AND auth_id = $2;

-- name: count_attempts
-- $1: buckets, $2: for how many seconds attempts count. Always in the same order, so that two
-- transactions that count the same buckets never deadlock.
INSERT INTO gateway.sign_in_attempts AS a (bucket, count, begun_at)
SELECT b, 1, now() FROM unnest($1::bytea[]) AS given(b) ORDER BY b
ON CONFLICT (bucket) DO UPDATE SET
  count = CASE WHEN a.begun_at > now() - make_interval(secs => $2)
    THEN least(a.count, 1000000) + 1 ELSE 1 END,
  begun_at = CASE WHEN a.begun_at > now() - make_interval(secs => $2)
    THEN a.begun_at ELSE now() END
RETURNING bucket, count;

-- name: me
-- Run as the caller: somebody who is not active, or has no organization, sees no row. Names are as long as
-- somebody has made them, and each page of the inbox shows them several times.
SELECT u.id, u.organization_id, u.role, u.email, left(u.full_name, 1000) AS full_name,
  left(o.name, 1000) AS organization, left(o.settings ->> 'timezone', 1000) AS timezone
FROM auth_users u JOIN organizations o ON o.id = u.organization_id
WHERE u.auth_id = $1 AND u.is_active;
