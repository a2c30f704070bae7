-- What a search finds besides messages by their words.

-- name: conversations
-- Conversations whose contact has the words, or in which a recent message has them; of the former,
-- more than a page of those that match the filters of a list and come after its cursor.
SELECT gateway.search_conversations($1, $2, $3, $4, $5, $6, $7, 1000);

-- name: corresponding
-- The conversation of an address, if all messages with that address are there; else nothing. While
-- conversations are merged or split in steps, they may be elsewhere. Our own addresses are in many
-- conversations: senders, former senders, and addresses at a sender's mail domain (unless more than
-- twenty have that domain: then it is public, such as gmail.com). An address that no conversation
-- has (any more) may be in many messages, too.
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
