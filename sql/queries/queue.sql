-- The queue: claimed with leases, fair between organizations, narrow on purpose.

-- name: claim
-- Takes up to $1 due entries for lease $2 of $3 seconds. Every organization with something due gets
-- the same share of the batch, by priority and age within it; the rest of an organization's backlog
-- is not even looked at. An entry is due when its time has come and no lease holds it. Organizations
-- $4 get nothing this time.
-- Locked entries, say of messages that another program deletes in an open transaction, are left out;
-- to find unlocked ones behind them, $5 times the share of each organization is looked at. So are
-- entries of senders $6.
-- `has_more`: at least its organization's share was due, so more may be. `is_hidden`: fewer were
-- claimed than are due, because others have them locked.
-- Texts and JSON are as large as another program has made them. A message with more than any that we
-- accept `is_too_large`, and comes without them. Of the others each organization gets one, and then
-- as many as fit into its share of 32 MiB, with JSON counted as ten times as large, which it is in
-- Python. Whatever is stored apart is read only then: the length of a text is known without, and of
-- JSON its compressed size, to a 255th of what it may come to.
-- The plan is made only once (planning takes three times as long as the work), so each table that
-- grows is read one row or one share at a time: by LATERAL, by ctid, or in an index's order.
WITH RECURSIVE organizations AS (
  (SELECT organization_id FROM gateway.queue ORDER BY organization_id LIMIT 1)
  UNION ALL
  SELECT (
    SELECT q.organization_id FROM gateway.queue q
    WHERE q.organization_id > o.organization_id ORDER BY q.organization_id LIMIT 1
  )
  FROM organizations o WHERE o.organization_id IS NOT NULL
), due AS MATERIALIZED (
  SELECT o.organization_id FROM organizations o
  WHERE o.organization_id <> ALL ($4::uuid[]) AND EXISTS (
    SELECT FROM unnest('{0,1,2}'::smallint[]) AS p (priority), LATERAL (
      SELECT FROM gateway.queue q
      WHERE q.organization_id = o.organization_id AND q.priority = p.priority
        AND q.run_at <= now() AND (q.lease_until IS NULL OR q.lease_until <= now())
      -- in the index's order: otherwise the whole backlog is read for each priority with nothing due
      ORDER BY q.run_at LIMIT 1
    ) AS one
  )
), share AS (
  SELECT ceil($1::numeric / greatest(count(*), 1))::integer AS size FROM due
), candidates AS MATERIALIZED (
  SELECT d.organization_id, c.message_id, c.priority, c.run_at,
    row_number() OVER (
      PARTITION BY d.organization_id ORDER BY c.priority, c.run_at
    ) AS turn
  FROM due d, unnest('{0,1,2}'::smallint[]) AS p (priority), LATERAL (
    SELECT q.message_id, q.sender_id, q.priority, q.run_at FROM gateway.queue q
    WHERE q.organization_id = d.organization_id AND q.priority = p.priority
      AND q.run_at <= now() AND (q.lease_until IS NULL OR q.lease_until <= now())
    ORDER BY q.run_at LIMIT (SELECT size FROM share) * $5::integer
  ) AS c
  WHERE (c.sender_id = ANY ($6::uuid[])) IS NOT TRUE
), found AS MATERIALIZED (
  SELECT c.place, c.was_leased, m.*,
    sum(CASE WHEN m.is_too_large THEN 0 ELSE m.text_bytes + 10 * m.json_bytes END) OVER (
      PARTITION BY c.organization_id ORDER BY c.turn
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS bytes_before
  FROM (
    SELECT locked.*, c.turn FROM (
      SELECT organization_id, message_id, turn FROM candidates
      WHERE turn <= (SELECT size FROM share) * $5
      -- in random order: if there are more organizations than places, none is always first
      ORDER BY turn, random()
    ) c
    CROSS JOIN LATERAL (
      SELECT q.organization_id, q.message_id, q.ctid AS place, q.lease_until IS NOT NULL AS was_leased
      FROM gateway.queue q
      WHERE q.organization_id = c.organization_id AND q.message_id = c.message_id
        -- checked again, on the row as it is once it is locked
        AND q.run_at <= now() AND (q.lease_until IS NULL OR q.lease_until <= now())
      FOR UPDATE SKIP LOCKED
    ) locked
    LIMIT $1
  ) c
  CROSS JOIN LATERAL (
    SELECT m.*, m.text_bytes > 4194304 OR m.json_stored > 65536 AS is_too_large,
      m.json_stored * CASE WHEN m.is_compressed THEN 255 ELSE 1 END AS json_bytes
    FROM (
      SELECT m.expires_at, m.channel, m.from_address, m.to_address, m.subject, m.body, m.html_body,
        m.attachments, m.parts, m.external_id, m.status, m.created_at,
        octet_length(m.body)::bigint + coalesce(octet_length(m.html_body), 0)
          + coalesce(octet_length(m.subject), 0) AS text_bytes,
        coalesce(pg_column_size(m.attachments), 0)::bigint
          + coalesce(pg_column_size(m.parts), 0) AS json_stored,
        coalesce(pg_column_compression(m.attachments), pg_column_compression(m.parts))
          IS NOT NULL AS is_compressed
      FROM messages m
      WHERE m.organization_id = c.organization_id AND m.id = c.message_id OFFSET 0
    ) m OFFSET 0
  ) m
), chosen AS MATERIALIZED (
  SELECT * FROM found
  WHERE (bytes_before > 33554432 / (SELECT count(*) FROM due)) IS NOT TRUE
), taken AS (
  -- A row that was changed since this statement began has moved to a ctid that it does not see, and
  -- is left for the next claim.
  UPDATE gateway.queue q SET
    lease_id = $2, lease_until = now() + make_interval(secs => $3), claims = q.claims + 1,
    attempts = q.attempts + CASE WHEN q.phase = 'send' AND NOT c.was_leased THEN 1 ELSE 0 END,
    open_claim = CASE WHEN q.phase = 'send' AND NOT c.was_leased THEN q.claims + 1
      ELSE q.open_claim END,
    attempted_at = CASE WHEN q.phase = 'send' AND NOT c.was_leased THEN now()
      ELSE q.attempted_at END
  FROM chosen c WHERE q.ctid = c.place
  RETURNING q.organization_id, q.message_id, q.sender_id, q.priority, q.phase, q.claims, q.attempts,
    q.refusals, q.asked, q.open_for, q.begun_at, q.is_test, c.was_leased, q.run_at,
    extract(epoch FROM now() - q.attempted_at)::double precision AS attempt_age,
    c.expires_at, c.channel, left(c.from_address, 1000) AS from_address,
    left(c.to_address, 1000) AS to_address, left(c.status, 100) AS status, c.external_id, c.created_at,
    c.subject, c.body, c.html_body, c.attachments, c.parts,
    CASE WHEN c.is_too_large OR c.json_bytes <= 262144 THEN c.is_too_large
      ELSE octet_length(concat(c.attachments, c.parts)) > 262144 END AS is_too_large
), domains AS MATERIALIZED (
  -- once for each organization: its settings are as large as somebody has made them
  SELECT t.organization_id, left(o.settings #>> '{email,reply_domain}', 1000) AS reply_domain
  FROM (SELECT DISTINCT organization_id FROM taken WHERE channel = 'email') t
  CROSS JOIN LATERAL (
    SELECT o.settings FROM public.organizations o WHERE o.id = t.organization_id OFFSET 0
  ) o
)
SELECT t.organization_id, t.message_id, t.sender_id, t.phase, t.claims, t.attempts, t.refusals,
  t.asked, t.open_for, t.begun_at, t.is_test, t.was_leased, t.attempt_age,
  coalesce(t.expires_at <= now(), false) AS is_expired,
  -- two extracts, because before PostgreSQL 17 nothing can be subtracted from infinity
  (extract(epoch FROM t.expires_at)::double precision
    - extract(epoch FROM now())::double precision) AS expires_in, t.channel, t.from_address,
  t.to_address, t.external_id, t.status, t.created_at, t.is_too_large,
  CASE WHEN NOT t.is_too_large THEN t.subject END AS subject,
  CASE WHEN t.is_too_large THEN '' ELSE t.body END AS body,
  CASE WHEN NOT t.is_too_large THEN t.html_body END AS html_body,
  CASE WHEN NOT t.is_too_large THEN t.attachments END AS attachments,
  CASE WHEN NOT t.is_too_large THEN t.parts END AS parts,
  (SELECT min(x.reason) FROM gateway.suppressions x
    WHERE x.organization_id = t.organization_id AND x.channel = t.channel
      AND x.address = ANY (gateway.address_forms(t.to_address))
  ) AS suppressed,
  s.account_id, s.rate, s.is_active, s.provider, s.credentials,
  extract(epoch FROM now() - s.identified_at)::double precision AS identified_age,
  (SELECT jsonb_build_object('email', jsonb_build_object('reply_domain', d.reply_domain))
    FROM domains d WHERE d.organization_id = t.organization_id) AS settings,
  -- Counted before locked entries are left out: there may be more behind them.
  t.organization_id IN (
    SELECT c.organization_id FROM candidates c
    GROUP BY c.organization_id HAVING count(*) >= (SELECT size FROM share)
  ) OR (SELECT count(*) FROM chosen) < (SELECT count(*) FROM found) AS has_more,
  (SELECT count(*) FROM found) < least($1, (SELECT count(*) FROM candidates)) AS is_hidden
FROM taken t
LEFT JOIN LATERAL (
  SELECT s.account_id, s.rate, s.is_active AND a.is_active AS is_active, a.provider, a.credentials,
    a.identified_at
  FROM gateway.senders s
  LEFT JOIN gateway.provider_accounts a
    ON a.organization_id = s.organization_id AND a.id = s.account_id
  WHERE s.organization_id = t.organization_id AND s.id = t.sender_id OFFSET 0
) s ON true
ORDER BY t.priority, t.run_at;

-- name: waiting_organizations
-- The organizations with anything in the queue, found by a loose index scan.
WITH RECURSIVE organizations AS (
  (SELECT organization_id FROM gateway.queue ORDER BY organization_id LIMIT 1)
  UNION ALL
  SELECT (
    SELECT q.organization_id FROM gateway.queue q
    WHERE q.organization_id > o.organization_id ORDER BY q.organization_id LIMIT 1
  )
  FROM organizations o WHERE o.organization_id IS NOT NULL
)
SELECT organization_id FROM organizations WHERE organization_id IS NOT NULL;

-- name: open_pace
INSERT INTO gateway.sender_paces (organization_id, sender_id, next_at)
VALUES ($1, $2, clock_timestamp()) ON CONFLICT DO NOTHING;

-- name: take_turns
-- Grants up to $3 turns of a sender that may send $4 a second: as many as fit into the next
-- second. The first is in `wait` seconds, the others follow at the sender's rate.
WITH held AS (
  SELECT organization_id, sender_id, next_at
  FROM gateway.sender_paces WHERE organization_id = $1 AND sender_id = $2
  FOR UPDATE
), seen AS MATERIALIZED (
  -- The clock is read once, behind the lock: between two readings a busy machine has time for a turn.
  SELECT *, clock_timestamp() AS at FROM held
), opened AS (
  -- No later than the last turn that this rate can have granted: the rate may have been lower before,
  -- or the server's clock may have been ahead.
  SELECT *, least(
    greatest(next_at, at), at + make_interval(secs => 1 + 1 / $4::double precision)) AS first_at
  FROM seen
), granted AS (
  SELECT *, least($3::integer, greatest(0, ceil(
    extract(epoch FROM at + interval '1 second' - first_at) * $4::double precision)))::integer AS turns
  FROM opened
)
UPDATE gateway.sender_paces p SET
  next_at = g.first_at + make_interval(secs => g.turns / $4::double precision)
FROM granted g
WHERE p.organization_id = g.organization_id AND p.sender_id = g.sender_id
RETURNING extract(epoch FROM g.first_at - g.at)::double precision AS wait, g.turns;

-- name: hold_back
-- Puts back what else is due of sender $2, whose turns are taken, because the organization's other
-- senders would wait behind it. Searches the $3 entries that come next of each priority. The first one
-- is due again in $4 seconds, the others follow at its rate $5; those that would come in more than $6
-- seconds are spread over the last quarter of these, and none comes later than it expires. What has
-- expired, or only seems to be sent, takes no turn, and stays. Returns whether more may be found.
WITH due AS MATERIALIZED (
  SELECT d.* FROM unnest('{0,1,2}'::smallint[]) AS p (priority), LATERAL (
    SELECT q.message_id, q.sender_id, q.phase, q.is_test, q.priority, q.run_at FROM gateway.queue q
    WHERE q.organization_id = $1 AND q.priority = p.priority
      AND q.run_at <= now() AND q.lease_until IS NULL
    ORDER BY q.run_at LIMIT $3
  ) d
), free AS MATERIALIZED (
  SELECT locked.place, m.expires_at,
    (row_number() OVER (ORDER BY d.priority, d.run_at) - 1)::double precision AS n,
    count(*) OVER () AS total
  FROM due d
  CROSS JOIN LATERAL (
    SELECT m.expires_at FROM messages m
    WHERE m.organization_id = $1 AND m.id = d.message_id
      AND (m.expires_at IS NULL OR m.expires_at > now()) OFFSET 0
  ) m
  CROSS JOIN LATERAL (
    SELECT q.ctid AS place FROM gateway.queue q
    WHERE q.organization_id = $1 AND q.message_id = d.message_id
      AND q.run_at <= now() AND q.lease_until IS NULL
    FOR UPDATE SKIP LOCKED
  ) locked
  WHERE d.sender_id = $2 AND d.phase = 'send' AND NOT d.is_test
), held AS (
  UPDATE gateway.queue q SET run_at = least(f.expires_at, now() + make_interval(secs => CASE
    WHEN $4::double precision + f.n / $5::double precision <= $6::double precision
      THEN $4::double precision + f.n / $5::double precision
    ELSE $6::double precision * (0.75 + 0.25 * f.n / f.total) END))
  FROM free f WHERE q.ctid = f.place
  RETURNING 1
)
SELECT EXISTS (SELECT FROM held) AND EXISTS (SELECT FROM due GROUP BY priority HAVING count(*) = $3);

-- name: give_back
-- Returns entries that were claimed and not begun, each due again in its number of seconds of $6: if
-- they are still held by that claim $4; and, whoever holds them now, if the request of that claim,
-- attempt $5, is the one that is asked about, or is about to be: it never left.
UPDATE gateway.queue q SET
  lease_id = NULL, lease_until = NULL, begun_at = NULL,
  open_claim = CASE WHEN q.phase = 'ask' THEN nullif(q.open_claim, g.claims) END,
  run_at = greatest(CASE WHEN q.phase = 'send' THEN q.run_at END,
    now() + make_interval(secs => g.seconds)),
  attempts = CASE WHEN q.phase = 'send' OR q.open_claim = g.claims THEN q.attempts - 1
    ELSE q.attempts END,
  phase = CASE WHEN q.open_claim = g.claims THEN 'send' ELSE q.phase END
FROM unnest($1::uuid[], $2::uuid[], $4::integer[], $5::integer[], $6::double precision[])
  AS g (organization_id, message_id, claims, attempts, seconds)
WHERE q.organization_id = g.organization_id AND q.message_id = g.message_id AND (
  q.lease_id = $3 AND q.claims = g.claims
  OR q.open_claim = g.claims AND q.attempts = g.attempts
    AND (q.phase = 'ask' OR q.begun_at IS NOT NULL));

-- name: postpone
-- Puts an entry back for $5 seconds, in phase $6, with $7 refusals, $8 questions and $9 seconds counted,
-- if it is still held by claim $4 of lease $3. A message that would wait beyond its expires_at comes
-- back at that time, to be failed. As in `give_back`, that attempt $10 was not taken counts even after the
-- lease of this claim has ended, while another claim asks about it.
UPDATE gateway.queue SET
  lease_id = NULL, lease_until = NULL, begun_at = NULL, phase = $6, refusals = $7, asked = $8,
  open_for = $9, open_claim = CASE WHEN $6 = 'ask' THEN open_claim END,
  run_at = least(clock_timestamp() + make_interval(secs => $5), CASE WHEN $6 = 'send' THEN (
    SELECT m.expires_at FROM messages m WHERE m.organization_id = $1 AND m.id = $2) END)
WHERE organization_id = $1 AND message_id = $2 AND (
  lease_id = $3 AND claims = $4
  OR $6 = 'send' AND open_claim = $4 AND attempts = $10 AND (phase = 'ask' OR begun_at IS NOT NULL))
RETURNING message_id;

-- name: extend
-- Extends a lease that claim $4 still holds to $5 seconds from now; the attempt's age starts anew. $6:
-- the request is about to leave; otherwise none has left.
UPDATE gateway.queue SET
  lease_until = clock_timestamp() + make_interval(secs => $5), attempted_at = clock_timestamp(),
  begun_at = CASE WHEN $6 THEN clock_timestamp() END, open_claim = $4
WHERE organization_id = $1 AND message_id = $2 AND lease_id = $3 AND claims = $4
  AND lease_until > clock_timestamp()
RETURNING message_id;

-- name: say_instead
-- Replaces the content of a message by what is about to be sent instead: text $5, parts $6, no files.
-- Only while claim $4 of lease $3 holds, and not if a report has said meanwhile that the message was
-- sent, or failed. The entry is locked first, as by a claim, so that nobody else claims it before this
-- is committed.
WITH held AS MATERIALIZED (
  SELECT organization_id, message_id FROM gateway.queue
  WHERE organization_id = $1 AND message_id = $2 AND lease_id = $3 AND claims = $4
    AND lease_until > clock_timestamp()
  FOR NO KEY UPDATE
)
UPDATE messages m SET body = $5, attachments = '[]', parts = $6
FROM held h
WHERE m.organization_id = h.organization_id AND m.id = h.message_id AND m.external_id IS NULL
  AND coalesce(gateway.status_rank(m.status), 0) < gateway.status_rank('sent')
RETURNING m.id;

-- name: drop
-- Removes an entry, if claim $4 of lease $3 still holds it: a later claim decides for itself.
DELETE FROM gateway.queue
WHERE organization_id = $1 AND message_id = $2 AND lease_id = $3 AND claims = $4
RETURNING message_id;

-- name: hold_asked
-- Locks a message whose attempt $3 is asked about, by whatever worker. Returns nothing if its outcome has
-- become known meanwhile, from a report or, late, from the worker that made the request.
SELECT m.id FROM messages m
JOIN gateway.queue q ON q.organization_id = m.organization_id AND q.message_id = m.id
WHERE m.organization_id = $1 AND m.id = $2 AND q.phase = 'ask' AND q.attempts = $3
  AND m.external_id IS NULL
  AND coalesce(gateway.status_rank(m.status), 0) < gateway.status_rank('sent')
FOR NO KEY UPDATE OF m, q;

-- name: twins
-- Messages with the same addresses whose outcome is open, in the order of their attempts, including the
-- one that is asked about: a message in the provider's list may be any of those with the same text, which
-- the caller compares. $3: the list may not say from which of our numbers an SMS was sent. Mails are found
-- by our own id. Messages of other organizations that send from the same address count, too: these share
-- an account at the provider.
SELECT t.id AS message_id, t.body, t.organization_id <> m.organization_id AS is_others,
  (t.attachments, t.parts -> 'template', t.parts -> 'call')
    IS DISTINCT FROM (m.attachments, m.parts -> 'template', m.parts -> 'call') AS has_other_parts,
  coalesce(q.phase = 'send' AND q.lease_until > now(), false) AS is_in_flight,
  coalesce(extract(epoch FROM now() - q.attempted_at), 0)::double precision AS age, q.asked,
  EXISTS (
    SELECT FROM gateway.senders s WHERE s.organization_id = q.organization_id AND s.id = q.sender_id
  ) AS has_sender
FROM messages m
CROSS JOIN LATERAL (
  SELECT m.organization_id
  UNION
  SELECT s.organization_id FROM gateway.senders s
  WHERE s.channel = m.channel AND s.address = m.from_address
) o
JOIN gateway.queue q ON q.organization_id = o.organization_id
JOIN messages t ON t.organization_id = q.organization_id AND t.id = q.message_id
WHERE m.organization_id = $1 AND m.id = $2 AND q.attempts > 0
  AND (q.phase = 'ask' OR q.lease_until IS NOT NULL)
  AND t.external_id IS NULL AND t.to_address = m.to_address AND t.channel = m.channel
  AND (t.from_address = m.from_address OR $3 AND m.channel = 'sms')
  AND (m.channel <> 'email' OR t.id = m.id)
ORDER BY q.attempted_at, t.id;

-- name: known_external_ids
-- Which of a provider's ids $1 belong to outbound messages, of any organization.
SELECT DISTINCT external_id FROM messages
WHERE external_id = ANY ($1::text[]) AND direction = 'outbound';

-- name: lost_since
-- When an answer about a message was first lost: the provider may have it since then.
SELECT min(occurred_at) FROM gateway.message_events
WHERE organization_id = $1 AND message_id = $2 AND type = 'answer_lost';

-- name: as_it_is
-- The present state of what `claim` found for message $2 from sender $3 to address $5 on channel $4.
-- Only of a deleted message the status is null: another program may have left a message without one.
SELECT CASE WHEN m.id IS NOT NULL THEN coalesce(m.status, 'pending') END AS status, m.external_id,
  EXISTS (
    SELECT FROM gateway.message_events
    WHERE organization_id = $1 AND message_id = $2 AND type = 'fallback'
  ) AS is_followed,
  (SELECT min(x.reason) FROM gateway.suppressions x
    WHERE x.organization_id = $1 AND x.channel = $4
      AND x.address = ANY (gateway.address_forms($5))
  ) AS suppressed,
  EXISTS (
    SELECT FROM gateway.senders s
    JOIN gateway.provider_accounts a
      ON a.organization_id = s.organization_id AND a.id = s.account_id
    WHERE s.organization_id = $1 AND s.id = $3 AND s.is_active AND a.is_active
  ) AS is_active
FROM (SELECT) one LEFT JOIN messages m ON m.organization_id = $1 AND m.id = $2;

-- name: wake
-- Tells the workers that something is due. Not part of accept's transaction: PostgreSQL commits
-- transactions with a NOTIFY one after the other.
SELECT pg_notify('gateway_queue', '');

-- name: live_leases
-- Every worker holds a session lock named after its lease; a worker that died holds none.
SELECT (objid::bigint) AS token FROM pg_locks
WHERE locktype = 'advisory' AND classid = 7041 AND objsubid = 2 AND granted
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: hold_lease
SELECT pg_try_advisory_lock(7041, hashtext($1::uuid::text));

-- name: end_former
-- Ends the session that holds the lock named after lease $1, and waits until it has.
SELECT pg_terminate_backend(pid, 5000) FROM pg_locks
WHERE locktype = 'advisory' AND classid = 7041 AND objsubid = 2 AND granted
  AND objid::bigint = hashtext($1::uuid::text)::bigint & 4294967295
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: end_dead_leases
-- Ends the leases of dead workers, except $1, the caller's own, and $2, tokens of those that were alive a
-- moment ago. The locks are read after the snapshot was taken, and a new worker takes its lock before it
-- claims anything, so no live worker is taken for dead.
UPDATE gateway.queue SET lease_until = now()
WHERE lease_until > now() AND lease_id <> $1
  AND NOT (hashtext(lease_id::text)::bigint & 4294967295) = ANY ($2::bigint[])
  AND NOT (hashtext(lease_id::text)::bigint & 4294967295) = ANY (ARRAY(
    SELECT objid::bigint FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 7041 AND objsubid = 2 AND granted
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  ))
RETURNING message_id;

-- name: depth
-- Due is what may be claimed: what a worker holds is being sent, which a mail server may take long for.
SELECT channel, count(*) AS depth,
  extract(epoch FROM now() - min(run_at) FILTER (
    WHERE run_at <= now() AND (lease_until IS NULL OR lease_until <= now())
  )) AS oldest_seconds
FROM gateway.queue GROUP BY channel;
