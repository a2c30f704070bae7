-- What staff need besides conversations, read under their own policies.

-- name: staff
-- Colleagues to whom a conversation can be assigned.
SELECT id, coalesce(nullif(left(full_name, 1000), ''), email) AS name FROM auth_users
WHERE organization_id = $1 AND is_active ORDER BY 2, 1 LIMIT 500;

-- name: unread
-- How many conversations have unread messages; counts up to a hundred.
SELECT count(*)::integer FROM (
  SELECT FROM gateway.conversations
  WHERE organization_id = $1 AND merged_into IS NULL AND unread_count > 0 LIMIT 100
) AS counted;

-- name: senders
-- The addresses from which messages can be sent.
SELECT s.channel, s.address, s.is_default, a.provider
FROM gateway.senders s
JOIN gateway.provider_accounts a ON a.organization_id = s.organization_id AND a.id = s.account_id
WHERE s.organization_id = $1 AND s.is_active AND a.is_active
ORDER BY s.channel, s.is_default DESC, s.address LIMIT 500;

-- name: templates
-- The templates of a channel, by name. `version` changes with the content; `updated_at` would also
-- change when uses are counted. `named`: which fields identify the provider's template (WhatsApp).
SELECT id, name, subject, content, md5(ROW(subject, content, options)::text) AS version,
  ARRAY(SELECT each FROM unnest(ARRAY['content_sid', 'name', 'language']) AS each
    WHERE options ->> each <> '') AS named,
  ARRAY(SELECT each FROM unnest(variables) AS each WHERE each IS NOT NULL) AS variables
FROM message_templates
WHERE organization_id = $1 AND type = $2 AND is_active ORDER BY name, id LIMIT 500;

-- name: written_since
-- How many inbound messages in conversation $2 are newer than message $3; all of them if that does
-- not exist (any more). Messages without a time count as the newest, as they are shown.
SELECT count(*)::integer FROM messages
WHERE organization_id = $1 AND conversation_id = $2 AND direction = 'inbound'
  AND ((coalesce(created_at, 'infinity'), id) <= (
    SELECT coalesce(s.created_at, 'infinity'), s.id FROM messages s
    WHERE s.organization_id = $1 AND s.id = $3)) IS NOT TRUE;

-- name: further_on
-- The $4-th message after message $3 in conversation $2; none if fewer are newer. Compared with
-- scalar subqueries: with a join PostgreSQL would read the whole table from its beginning.
SELECT created_at, id FROM messages
WHERE organization_id = $1 AND conversation_id = $2
  AND (created_at, id) > (
    (SELECT s.created_at FROM messages s
      WHERE s.organization_id = $1 AND s.id = $3 AND s.conversation_id = $2), $3)
ORDER BY created_at, id OFFSET $4 - 1 LIMIT 1;

-- name: message
-- The conversation of a message.
SELECT conversation_id FROM messages WHERE organization_id = $1 AND id = $2;

-- name: retries
-- For each of the failed messages $2, the statuses of those sent in its place, except by a test
-- key.
SELECT retry_of, array_agg(coalesce(status, 'pending')) AS statuses FROM messages
WHERE organization_id = $1 AND retry_of = ANY ($2::uuid[])
  AND metadata #> '{provider,test}' IS DISTINCT FROM 'true'
GROUP BY retry_of;

-- name: followed
-- Those of the messages $2 for which a fallback was sent.
SELECT DISTINCT message_id FROM gateway.message_events
WHERE organization_id = $1 AND message_id = ANY ($2::uuid[]) AND type = 'fallback';

-- name: providers
-- The provider of the error that each of the messages $2 shows: that of its earliest failed event,
-- whose code the row has; if this names none, that of the account that now has the sender's
-- address.
SELECT m.id, coalesce(told.provider, a.provider) AS provider
FROM messages m
LEFT JOIN LATERAL (
  SELECT CASE e.source WHEN 'worker' THEN e.detail ->> 'provider' ELSE e.source END AS provider
  FROM gateway.message_events e
  WHERE e.organization_id = $1 AND e.message_id = m.id AND e.status = 'failed'
  ORDER BY e.occurred_at, e.detail ->> 'error_code', e.detail ->> 'error_message' LIMIT 1
) told ON true
LEFT JOIN gateway.senders s
  ON s.organization_id = $1 AND s.channel = m.channel AND s.address = m.from_address
LEFT JOIN gateway.provider_accounts a
  ON a.organization_id = s.organization_id AND a.id = s.account_id
WHERE m.organization_id = $1 AND m.id = ANY ($2::uuid[]);

-- name: same_name
-- Other conversations of leads or clients with this name.
SELECT c.id, c.last_message_at, c.channels
FROM gateway.conversations c
LEFT JOIN leads l ON l.organization_id = c.organization_id AND l.id = c.lead_id
LEFT JOIN clients k ON k.organization_id = c.organization_id AND k.id = c.client_id
WHERE c.organization_id = $1 AND c.merged_into IS NULL AND c.id <> $2
  AND c.id IN (
    SELECT x.id FROM gateway.conversations x JOIN leads n
      ON n.organization_id = x.organization_id AND n.id = x.lead_id
    WHERE x.organization_id = $1 AND n.name = $3
    UNION
    SELECT x.id FROM gateway.conversations x JOIN clients n
      ON n.organization_id = x.organization_id AND n.id = x.client_id
    WHERE x.organization_id = $1 AND n.name = $3
    UNION
    SELECT x.id FROM gateway.conversations x WHERE x.organization_id = $1 AND x.name = $3)
ORDER BY c.last_message_at DESC, c.id LIMIT 10;

-- name: people
-- The newest ten leads and the newest ten clients that have words which begin with those of $2, or
-- a number that ends with the digits $3; and their conversation, if they have one.
WITH found AS MATERIALIZED (
  SELECT * FROM gateway.search_people($2, $3, 10) WITH ORDINALITY AS f (kind, id, place)
)
SELECT f.kind, f.id, p.name, p.email, p.phone, c.id AS conversation_id
FROM found f
JOIN LATERAL (
  SELECT name, email, phone FROM leads WHERE f.kind = 'lead' AND organization_id = $1 AND id = f.id
  UNION ALL
  SELECT name, email, phone FROM clients WHERE f.kind = 'client' AND organization_id = $1 AND id = f.id
) p ON true
LEFT JOIN gateway.conversations c ON c.organization_id = $1
  AND (f.kind = 'lead' AND c.lead_id = f.id OR f.kind = 'client' AND c.client_id = f.id)
ORDER BY f.place;

-- name: reached
-- The phone and e-mail of lead $2 and client $3 as stored; numbers are those of `country`.
SELECT p.phone, p.email, (SELECT left(settings ->> 'country', 10) FROM organizations WHERE id = $1) AS country
FROM (
  SELECT 1 AS place, phone, email FROM leads WHERE organization_id = $1 AND id = $2
  UNION ALL
  SELECT 2, phone, email FROM clients WHERE organization_id = $1 AND id = $3
) p ORDER BY p.place;

-- name: belonging
-- Which of the addresses $2 have a conversation, and which one. OFFSET 0 makes it look up each
-- address instead of reading all.
SELECT each AS address, coalesce(c.merged_into, c.id) AS conversation_id
FROM unnest($2::text[]) AS each
CROSS JOIN LATERAL (
  SELECT a.conversation_id FROM gateway.conversation_addresses a
  WHERE a.organization_id = $1 AND a.address = gateway.address_key(each)
  OFFSET 0) a
JOIN gateway.conversations c ON c.organization_id = $1 AND c.id = a.conversation_id;
