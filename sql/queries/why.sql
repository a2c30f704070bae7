-- What explains a message besides its row and events, and finding messages by a reference.

-- name: around
-- $1: organization, $2: message.
SELECT now() AS now,
  (SELECT a.provider FROM gateway.senders s
    JOIN gateway.provider_accounts a
      ON a.organization_id = s.organization_id AND a.id = s.account_id
    WHERE s.organization_id = $1 AND s.channel = m.channel
      AND s.address = CASE m.direction WHEN 'inbound' THEN m.to_address ELSE m.from_address END
  ) AS provider,
  (SELECT s.rate FROM gateway.senders s
    WHERE s.organization_id = $1 AND s.channel = m.channel AND s.address = m.from_address) AS rate,
  EXISTS (
    SELECT FROM gateway.senders s
    JOIN gateway.provider_accounts a
      ON a.organization_id = s.organization_id AND a.id = s.account_id
    WHERE s.organization_id = $1 AND s.channel = m.channel AND s.address = m.from_address
      AND s.is_active AND a.is_active
  ) AS can_leave,
  coalesce(nullif(nullif(btrim(l.name), ''), 'Unknown'), nullif(nullif(btrim(k.name), ''), 'Unknown'),
    c.name) AS contact,
  CASE WHEN l.id IS NOT NULL THEN 'lead' WHEN k.id IS NOT NULL THEN 'client' END AS contact_kind,
  ARRAY(
    SELECT x.reason FROM gateway.suppressions x
    WHERE x.organization_id = $1 AND x.channel = m.channel
      AND x.address = ANY (gateway.address_forms(theirs.address))
    ORDER BY x.reason
  ) AS suppressions,
  q.phase, q.run_at, q.attempts, q.refusals, q.is_held, q.was_held,
  next.id AS next_id, next.created_at AS next_at, next.is_answer
FROM messages m
CROSS JOIN LATERAL (
  SELECT CASE m.direction WHEN 'inbound' THEN m.from_address ELSE m.to_address END AS address
) theirs
LEFT JOIN gateway.conversations c ON c.organization_id = $1 AND c.id = m.conversation_id
LEFT JOIN leads l ON l.organization_id = $1 AND l.id = coalesce(c.lead_id, m.lead_id)
LEFT JOIN clients k ON k.organization_id = $1 AND k.id = coalesce(c.client_id, m.client_id)
LEFT JOIN LATERAL gateway.place_in_queue($1, m.id) q ON true
-- Among the next 200 messages, one that says it answers this one, else the first in the other
-- direction.
LEFT JOIN LATERAL (
  SELECT near.id, near.created_at, near.is_answer
  FROM (
    SELECT n.id, n.created_at, n.direction,
      coalesce(n.metadata ->> 'reply_to' = m.id::text, false) AS is_answer
    FROM messages n
    WHERE n.organization_id = $1 AND n.conversation_id = m.conversation_id
      AND n.created_at > m.created_at
    ORDER BY n.created_at, n.id LIMIT 200
  ) near
  WHERE near.direction <> m.direction
  ORDER BY near.is_answer DESC, near.created_at, near.id LIMIT 1
) next ON true
WHERE m.organization_id = $1 AND m.id = $2;

-- name: retries
-- Messages that were sent in place of $2, except with a test key, as nobody gets these.
SELECT id, created_at, coalesce(status, 'pending') AS status FROM messages
WHERE organization_id = $1 AND retry_of = $2
  AND metadata #> '{provider,test}' IS DISTINCT FROM 'true'
ORDER BY created_at, id LIMIT 20;

-- name: by_id
-- $1: organization, or null for all that the caller can see. $2: ids.
SELECT organization_id, id, channel, direction, from_address, to_address, status, created_at
FROM messages
WHERE ($1::uuid IS NULL OR organization_id = $1) AND id = ANY ($2::uuid[])
ORDER BY created_at DESC, id DESC LIMIT 20;

-- name: by_external_id
SELECT organization_id, id, channel, direction, from_address, to_address, status, created_at
FROM messages
WHERE ($1::uuid IS NULL OR organization_id = $1) AND external_id = ANY ($2::text[])
ORDER BY created_at DESC, id DESC LIMIT 20;

-- name: external_id
-- Which of the forms $2, the likeliest first, is the provider's id of a message.
SELECT external_id FROM messages
WHERE organization_id = $1 AND external_id = ANY ($2::text[])
ORDER BY array_position($2::text[], external_id) LIMIT 1;

-- name: by_address
-- The latest messages with whoever has one of the addresses $2, on all channels. One lookup for each
-- organization, because a join could be planned as a walk through all addresses.
WITH found AS MATERIALIZED (
  SELECT DISTINCT a.organization_id, a.conversation_id
  FROM organizations o
  CROSS JOIN LATERAL (
    SELECT a.organization_id, a.conversation_id FROM gateway.conversation_addresses a
    WHERE a.organization_id = o.id AND a.address = ANY (ARRAY(
      SELECT gateway.address_key(each) FROM unnest($2::text[]) AS each
    ))
    LIMIT 100
  ) a
  WHERE $1::uuid IS NULL OR o.id = $1
)
SELECT m.* FROM found f
CROSS JOIN LATERAL (
  SELECT organization_id, id, channel, direction, from_address, to_address, status, created_at
  FROM messages
  WHERE organization_id = f.organization_id AND conversation_id = f.conversation_id
  ORDER BY created_at DESC, id DESC LIMIT 20
) m
ORDER BY m.created_at DESC, m.id DESC LIMIT 20;

-- name: suppressed
-- Why nothing is sent to the addresses $2, the latest first. One look-up for each organization, as above.
SELECT o.id AS organization_id, x.channel, x.reason, x.source, x.created_at
FROM organizations o
CROSS JOIN LATERAL (
  SELECT x.channel, x.reason, x.source, x.created_at FROM gateway.suppressions x
  WHERE x.organization_id = o.id AND x.channel IN ('email', 'sms', 'whatsapp', 'call')
    AND x.address = ANY (ARRAY(
      SELECT unnest(gateway.address_forms(each)) FROM unnest($2::text[]) AS each
    ))
) x
WHERE $1::uuid IS NULL OR o.id = $1
ORDER BY x.created_at DESC, x.channel, x.reason LIMIT 20;

-- name: own
-- Whose senders the addresses $2 are, and on which channels.
SELECT s.organization_id, array_agg(DISTINCT s.channel ORDER BY s.channel) AS channels
FROM gateway.senders s
WHERE ($1::uuid IS NULL OR s.organization_id = $1)
  AND lower(s.address) = ANY (ARRAY(SELECT lower(each) FROM unnest($2::text[]) AS each))
GROUP BY s.organization_id ORDER BY s.organization_id LIMIT 20;

-- name: countries
-- The countries in which national numbers may be read: those of one organization, or of all.
SELECT DISTINCT settings ->> 'country' AS country FROM organizations
WHERE ($1::uuid IS NULL OR id = $1) AND settings ->> 'country' IS NOT NULL ORDER BY 1 LIMIT 50;
