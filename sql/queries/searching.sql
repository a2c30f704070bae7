-- What a search looks for beside the words of a message.

-- name: conversations
-- Whose contact has the words, or where something was said lately that has them.
SELECT gateway.search_conversations($1);

-- name: corresponding
-- With whom an address corresponds, where it is theirs: its messages are those of one conversation. An
-- address of ours is in many, and one that nobody has (any more) may have been.
SELECT a.conversation_id FROM gateway.conversation_addresses a
WHERE a.organization_id = $1 AND a.address = gateway.address_key($2)
  AND NOT EXISTS (
    SELECT FROM gateway.senders s
    WHERE s.organization_id = $1 AND gateway.address_key(s.address) = gateway.address_key($2));
