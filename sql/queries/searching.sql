-- What a search looks for besides the words of a message.

-- name: conversations
-- Conversations whose contact has the words, or in which something said recently has them: of the former
-- more than a page of those that pass the filters of a list and come after its cursor.
SELECT gateway.search_conversations($1, $2, $3, $4, $5, $6, $7, 1000);

-- name: corresponding
-- The conversation of an address that belongs to a contact: all its messages are there, unless some are in
-- another one while it is merged or was set apart in steps. Our own addresses are in many conversations:
-- senders, what was one once, what shares a mail domain with one (but not one that more than twenty have: then
-- it is everybody's, as gmail.com); and so may be one that belongs to nobody (any more).
SELECT a.conversation_id FROM gateway.conversation_addresses a
CROSS JOIN LATERAL split_part(a.address, '@', 2) AS domain
WHERE a.organization_id = $1 AND a.address = gateway.address_key($2)
  AND NOT EXISTS (
    SELECT FROM gateway.conversations c
    WHERE c.organization_id = $1 AND c.id = a.conversation_id
      AND (c.merging_into IS NOT NULL OR c.coming_from IS NOT NULL))
  AND NOT EXISTS (
    SELECT FROM gateway.conversations c
    WHERE c.organization_id = $1 AND c.merged_into = a.conversation_id AND c.coming_from IS NOT NULL)
  AND NOT gateway.was_sender($2)
  AND NOT (
    EXISTS (
      SELECT FROM gateway.senders s
      WHERE s.organization_id = $1 AND domain <> ''
        AND split_part(gateway.address_key(s.address), '@', 2) = domain)
    AND 20 >= (
      SELECT count(*) FROM (
        SELECT FROM gateway.conversation_addresses o
        WHERE o.organization_id = $1 AND split_part(o.address, '@', 2) = domain LIMIT 21) AS at_it));
