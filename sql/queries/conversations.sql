-- Conversations: to which one a message belongs, and what staff see of them and do with them.

-- name: place
-- The conversation of each message that is about to be stored; created if there is none.
-- $1: organization, $2: json array; see gateway.place.
SELECT n, conversation_id, joins FROM gateway.place($1, $2::json);

-- name: place_people
-- The same if some messages have several addresses, which according to WhatsApp belong to one
-- person. `is_news`: one of these had no conversation, or a suppression of one is not there for all
-- of them.
SELECT p.n, p.conversation_id, p.joins,
  cardinality(w.addresses) > 1 AND (
    EXISTS (
      SELECT FROM unnest(w.addresses) AS each (address)
      WHERE ( -- as a scalar subquery: one look-up for each
        SELECT true FROM gateway.conversation_addresses a
        WHERE a.organization_id = $1 AND a.address = gateway.address_key(each.address)
        LIMIT 1) IS NULL)
    OR EXISTS (
      SELECT FROM gateway.suppressions s
      WHERE s.organization_id = $1 AND s.channel = 'whatsapp'
        AND s.reason IN ('stop', 'complaint', 'unsubscribe')
        AND s.address = ANY (ARRAY(
          SELECT gateway.address_key(each.address) FROM unnest(w.addresses) AS each (address)))
      GROUP BY s.reason HAVING count(*) < cardinality(w.addresses))
  ) AS is_news
FROM gateway.place($1, $2::json) p
JOIN json_to_recordset($2::json) AS w (n integer, addresses text[]) ON w.n = p.n;

-- name: set_name
-- Sets the name that the other person in conversation $2 gave ($3) in an old message, which was
-- just stored with its time $4; unless they have written since then.
UPDATE gateway.conversations SET name = left(btrim($3), 200)
WHERE organization_id = $1 AND id = $2 AND NOT is_linked AND btrim($3) <> ''
  AND (name IS NULL OR NOT EXISTS (
    SELECT FROM messages m
    WHERE m.organization_id = $1 AND m.conversation_id = $2 AND m.direction = 'inbound'
      AND m.created_at > $4::timestamptz + interval '1 millisecond'));

-- name: join
-- Merges two conversations of one person: one with a lead or client stays, else the older. Returns
-- null if one is long: then this was only a step.
WITH both_of AS (
  SELECT id, row_number() OVER (
    ORDER BY (lead_id IS NOT NULL) DESC, (client_id IS NOT NULL) DESC, created_at, id) AS rank
  FROM gateway.conversations
  WHERE organization_id = $1 AND id IN ($2, $3) AND merged_into IS NULL
    AND NOT is_linked -- staff may have linked one of them meanwhile
)
SELECT gateway.merge_conversations($1,
  (SELECT id FROM both_of WHERE rank = 2), (SELECT id FROM both_of WHERE rank = 1));

-- name: merge
-- Returns null if $2 is long: then this was only a step.
SELECT gateway.merge_conversations($1, $2, $3);

-- name: owned
-- Which of the addresses of a lead or client, which was just created or changed, have a
-- conversation. $1: organization, $2: addresses in E.164 or mailboxes.
SELECT a.written FROM gateway.conversation_addresses a
WHERE a.organization_id = $1
  AND a.address IN (SELECT gateway.address_key(each) FROM unnest($2::text[]) AS each);

-- name: numbers
-- The addresses of a conversation, or of the one that it was merged into, which may be WhatsApp
-- ids.
SELECT a.written FROM gateway.conversation_addresses a
WHERE a.organization_id = $1 AND a.address NOT LIKE '%@%' AND a.conversation_id = (
  SELECT coalesce(c.merged_into, c.id) FROM gateway.conversations c
  WHERE c.organization_id = $1 AND c.id = $2)
ORDER BY a.created_at, a.written LIMIT 50;

-- name: current
-- The present id of a conversation, which may have been merged into another one.
SELECT coalesce(merged_into, id) FROM gateway.conversations WHERE organization_id = $1 AND id = $2;

-- name: whereabouts
-- The same, and whether it is being merged in steps; `merging_at` is the time of the last step,
-- also of moving an address out of a conversation.
SELECT c.id, c.merging_into, c.merging_at
FROM gateway.conversations asked
JOIN gateway.conversations c ON c.organization_id = asked.organization_id
  AND c.id = coalesce(asked.merged_into, asked.id)
WHERE asked.organization_id = $1 AND asked.id = $2;

-- name: get
-- One conversation, under its own id or under one that was merged into it.
SELECT c.id, c.organization_id, c.lead_id, c.client_id,
  coalesce(nullif(nullif(btrim(left(l.name, 1000)), ''), 'Unknown'),
    nullif(nullif(btrim(left(k.name, 1000)), ''), 'Unknown'), c.name) AS name, c.status, c.assigned_to,
  c.last_message_id, c.last_message_at, c.last_inbound_at, c.unread_count, c.channels,
  c.created_at,
  ARRAY(SELECT a.written FROM gateway.conversation_addresses a
    WHERE a.organization_id = c.organization_id AND a.conversation_id = c.id
    ORDER BY a.created_at, a.written) AS addresses
FROM gateway.conversations asked
JOIN gateway.conversations c ON c.organization_id = asked.organization_id
  AND c.id = coalesce(asked.merged_into, asked.id)
LEFT JOIN leads l ON l.organization_id = c.organization_id AND l.id = c.lead_id
LEFT JOIN clients k ON k.organization_id = c.organization_id AND k.id = c.client_id
WHERE asked.organization_id = $1 AND asked.id = $2;

-- name: list
-- Newest first. Every filter is optional: a custom plan drops those that are null. The page is
-- found before anything is joined to it. $9: ids that a search has found. $10: the page ends once
-- the texts of the last messages have so many bytes; the size of a text is known without reading
-- it. `found`: how many rows there are without that limit.
WITH page AS MATERIALIZED (
  SELECT c.* FROM gateway.conversations c
  WHERE c.organization_id = $1 AND c.merged_into IS NULL
    AND ($2::text IS NULL OR $2 = ANY (c.channels))
    AND ($3::uuid IS NULL OR c.assigned_to = $3)
    AND ($4::text IS NULL OR c.status = $4)
    AND ($5::boolean IS NULL OR (CASE WHEN $5 THEN c.unread_count > 0 ELSE c.unread_count = 0 END))
    AND ($6::timestamptz IS NULL OR (c.last_message_at, c.id) < ($6, $7::uuid))
    AND ($9::uuid[] IS NULL OR c.id = ANY ($9))
  ORDER BY c.last_message_at DESC, c.id DESC
  LIMIT $8
)
SELECT c.id, c.organization_id, c.lead_id, c.client_id,
  coalesce(nullif(nullif(btrim(left(l.name, 1000)), ''), 'Unknown'),
    nullif(nullif(btrim(left(k.name, 1000)), ''), 'Unknown'), c.name) AS name, c.status, c.assigned_to,
  c.last_message_id, c.last_message_at, c.last_inbound_at, c.unread_count, c.channels,
  c.created_at,
  ARRAY(SELECT a.written FROM gateway.conversation_addresses a
    WHERE a.organization_id = c.organization_id AND a.conversation_id = c.id
    ORDER BY a.created_at, a.written) AS addresses,
  (SELECT count(*) FROM page) AS found
FROM page c
LEFT JOIN leads l ON l.organization_id = c.organization_id AND l.id = c.lead_id
LEFT JOIN clients k ON k.organization_id = c.organization_id AND k.id = c.client_id
WHERE $10::integer IS NULL OR c.id IN (
  SELECT w.id FROM (
    SELECT p.id, sum(coalesce(octet_length(m.body), 0) + coalesce(octet_length(m.html_body), 0)
        + 10 * octet_length(concat(m.attachments, m.metadata))::bigint) OVER (
      ORDER BY p.last_message_at DESC, p.id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS before
    FROM page p
    LEFT JOIN messages m ON m.organization_id = p.organization_id AND m.id = p.last_message_id
  ) w WHERE coalesce(w.before, 0) < $10)
ORDER BY c.last_message_at DESC, c.id DESC;

-- name: last_messages
-- $2: ids of the last messages of a page of conversations.
SELECT id, organization_id, channel, direction, from_address, to_address, lead_id, client_id,
  conversation_id, subject, body, html_body, attachments, status, sent_at, delivered_at, read_at,
  failed_at, error_code, error_message, external_id, template_id, reference, send_at, expires_at,
  retry_of, metadata, created_at, updated_at
FROM messages WHERE organization_id = $1 AND id = ANY ($2::uuid[]);

-- name: last_lines
-- The same for a list, which shows one line of each message and its status; without JSON that is larger
-- than any of ours.
SELECT id, channel, direction, subject, left(body, 1000) AS body, status, send_at,
  CASE WHEN octet_length(attachments::text) <= 131072 THEN attachments END AS attachments,
  CASE WHEN octet_length(metadata::text) <= 262144 THEN metadata END AS metadata
FROM messages WHERE organization_id = $1 AND id = ANY ($2::uuid[]);

-- name: change
-- $3: json object; columns that are not in it keep their value. `read`: true leaves at most
-- `unseen` messages unread, false leaves at least one.
UPDATE gateway.conversations SET
  status = CASE WHEN $3::jsonb ? 'status' THEN $3::jsonb ->> 'status' ELSE status END,
  assigned_to = CASE WHEN $3::jsonb ? 'assigned_to' THEN ($3::jsonb ->> 'assigned_to')::uuid
    ELSE assigned_to END,
  unread_count = CASE
    WHEN NOT $3::jsonb ? 'read' THEN unread_count
    WHEN ($3::jsonb -> 'read')::boolean
      THEN least(unread_count, coalesce(($3::jsonb -> 'unseen')::integer, 0))
    ELSE greatest(unread_count, 1) END
WHERE organization_id = $1 AND id = $2 AND merged_into IS NULL
RETURNING id;

-- name: link
-- Links conversation $2 to lead $3 if $5 is true, and to client $4 if $6 is true.
UPDATE gateway.conversations SET is_linked = true,
  lead_id = CASE WHEN $5 THEN $3 ELSE lead_id END,
  client_id = CASE WHEN $6 THEN $4 ELSE client_id END
WHERE organization_id = $1 AND id = $2 AND merged_into IS NULL
RETURNING id;

-- name: of_contact
-- The conversation of a lead or of a client.
SELECT id FROM gateway.conversations
WHERE organization_id = $1 AND (lead_id = $2 OR client_id = $3) AND merged_into IS NULL;

-- name: whose_address
-- The conversation of an address in any form ($2), and the normal form of the address.
SELECT a.address, a.conversation_id FROM gateway.conversation_addresses a
WHERE a.organization_id = $1 AND a.address = gateway.address_key($2);

-- name: make_apart
-- A new conversation, to which messages are moved from conversation $3.
INSERT INTO gateway.conversations (organization_id, id, is_linked, coming_from)
VALUES ($1, $2, true, $3);

-- name: all_here
-- All messages have been moved to $2, or to one that was merged into it since, from $3, or from one
-- that was merged into that.
UPDATE gateway.conversations c SET coming_from = NULL
WHERE c.organization_id = $1 AND (c.id = $2 OR c.merged_into = $2) AND EXISTS (
  SELECT FROM gateway.conversations f
  WHERE f.organization_id = $1 AND f.id = c.coming_from AND (f.id = $3 OR f.merged_into = $3));

-- name: move_address
UPDATE gateway.conversation_addresses SET conversation_id = $4
WHERE organization_id = $1 AND conversation_id = $2 AND address = $3;

-- name: merging_into
-- The conversation into which $2 is being merged in steps, the one into which that is, and so on.
WITH RECURSIVE places AS (
  SELECT c.merging_into AS id FROM gateway.conversations c
  WHERE c.organization_id = $1 AND c.id = $2
  UNION
  SELECT c.merging_into FROM places p
  JOIN gateway.conversations c ON c.organization_id = $1 AND c.id = p.id
)
SELECT id FROM places WHERE id IS NOT NULL AND id <> $2;

-- name: all_apart
-- A conversation without addresses is no longer being merged. Unless another one is being merged
-- into it: its messages may have gone further already, and are found through this one.
UPDATE gateway.conversations SET merging_into = NULL
WHERE organization_id = $1 AND id = $2 AND NOT EXISTS (
  SELECT FROM gateway.conversation_addresses a
  WHERE a.organization_id = $1 AND a.conversation_id = $2
) AND NOT EXISTS (
  SELECT FROM gateway.conversations o
  WHERE o.organization_id = $1 AND o.merging_into = $2);

-- name: to_move
-- Messages of conversations $2 with address $3, the newest first, as many as can be moved in half a
-- second: up to a thousand, or a million bytes of text; and whether these are all.
SELECT coalesce(array_agg(w.id) FILTER (WHERE w.n <= 1000 AND w.before < 1000000), '{}') AS ids,
  coalesce(bool_and(w.n <= 1000 AND w.before < 1000000), true) AS is_all
FROM (
  SELECT f.id, row_number() OVER newest_first AS n, sum(f.size) OVER newest_first - f.size AS before
  FROM unnest($2::uuid[]) AS place, LATERAL (
    SELECT m.id, m.created_at, coalesce(octet_length(m.body), 0) AS size FROM messages m
    WHERE m.organization_id = $1 AND m.conversation_id = place
      AND gateway.address_key(CASE m.direction WHEN 'inbound' THEN m.from_address
        ELSE m.to_address END) = $3
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1001) f
  WINDOW newest_first AS (ORDER BY f.created_at DESC, f.id DESC ROWS UNBOUNDED PRECEDING)
) w;

-- name: move_unread
-- The last messages in conversation $2 are the unread ones: those of them that are among messages
-- $3 are counted as unread in $4 instead.
WITH unread AS (
  SELECT m.id FROM messages m
  WHERE m.organization_id = $1 AND m.conversation_id = $2 AND m.direction = 'inbound'
  ORDER BY m.created_at DESC, m.id DESC
  LIMIT (SELECT c.unread_count FROM gateway.conversations c
    WHERE c.organization_id = $1 AND c.id = $2)
), theirs AS (
  SELECT count(*)::integer AS unread FROM unread WHERE id = ANY ($3::uuid[])
), stays AS (
  UPDATE gateway.conversations c SET unread_count = c.unread_count - t.unread FROM theirs t
  WHERE c.organization_id = $1 AND c.id = $2
)
UPDATE gateway.conversations c SET unread_count = c.unread_count + t.unread FROM theirs t
WHERE c.organization_id = $1 AND c.id = $4;

-- name: move_messages
-- Locked in the order in which reports lock them.
WITH held AS MATERIALIZED (
  SELECT id FROM messages WHERE organization_id = $1 AND id = ANY ($2::uuid[])
  ORDER BY id FOR NO KEY UPDATE
)
UPDATE messages m SET conversation_id = $3 FROM held
WHERE m.organization_id = $1 AND m.id = held.id
RETURNING m.conversation_id;

-- name: recount
SELECT gateway.recount_conversation($1, $2);

-- name: moved
-- Records that messages were moved between these conversations.
UPDATE gateway.conversations SET merging_at = now()
WHERE organization_id = $1 AND id = ANY ($2::uuid[]);

-- name: hold
SELECT id FROM gateway.conversations
WHERE organization_id = $1 AND id = ANY ($2::uuid[]) AND merged_into IS NULL
ORDER BY id FOR NO KEY UPDATE;

-- name: hold_both
-- With the same lock as a merge, so that a merge after it needs no stronger one.
SELECT id FROM gateway.conversations
WHERE organization_id = $1 AND id = ANY ($2::uuid[]) AND merged_into IS NULL
ORDER BY id FOR UPDATE;

-- name: reply
-- What a reply answers: their latest message (on channel $3, if given), else our latest to them; and our
-- sender among the addresses that it came to or went from. A message that announces their new address is
-- answered at that address.
WITH candidates AS (
  (SELECT true AS is_theirs, m.* FROM messages m
    WHERE m.organization_id = $1 AND m.conversation_id = $2 AND m.direction = 'inbound'
      AND ($3::text IS NULL OR m.channel = $3)
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1)
  UNION ALL
  (SELECT false, m.* FROM messages m
    WHERE m.organization_id = $1 AND m.conversation_id = $2 AND m.direction = 'outbound'
      AND ($3::text IS NULL OR m.channel = $3)
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1)
)
SELECT c.id, c.channel, c.is_theirs, c.subject,
  CASE WHEN NOT c.is_theirs THEN c.to_address
    WHEN c.channel = 'whatsapp' THEN
      coalesce(c.metadata #>> '{provider,new_address}', c.from_address)
    ELSE c.from_address END AS their_address,
  (SELECT s.address FROM gateway.senders s
    JOIN gateway.provider_accounts a
      ON a.organization_id = s.organization_id AND a.id = s.account_id
    WHERE s.organization_id = $1 AND s.channel = c.channel AND s.is_active AND a.is_active
      AND gateway.address_key(s.address) IN (
        SELECT gateway.address_key(CASE WHEN o.is_theirs THEN o.to_address ELSE o.from_address END)
        FROM candidates o WHERE o.channel = c.channel)
    ORDER BY gateway.address_key(s.address) =
      gateway.address_key(CASE WHEN c.is_theirs THEN c.to_address ELSE c.from_address END) DESC
    LIMIT 1) AS our_address
FROM candidates c
ORDER BY c.is_theirs DESC
LIMIT 1;
