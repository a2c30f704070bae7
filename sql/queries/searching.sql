-- What a search looks for besides the words of a message.

-- name: conversations
-- Conversations whose contact has the words, or in which something said recently has them.
SELECT gateway.search_conversations($1);

-- name: corresponding
-- The conversation of an address that belongs to a contact: all its messages are there. Our own addresses
-- are in many conversations, and so may be one that belongs to nobody (any more).
SELECT a.conversation_id FROM gateway.conversation_addresses a
WHERE a.organization_id = $1 AND a.address = gateway.address_key($2)
  AND NOT EXISTS (
    SELECT FROM gateway.senders s
    WHERE s.organization_id = $1 AND gateway.address_key(s.address) = gateway.address_key($2));
