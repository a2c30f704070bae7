-- The end of a merge asks what else is being merged into it: not by a look at every conversation.

-- migrate:up

SELECT gateway.remember();

CREATE INDEX IF NOT EXISTS idx_conversations_org_merging_into ON gateway.conversations
  (organization_id, merging_into) WHERE merging_into IS NOT NULL;

SELECT gateway.note_undo('20261128000003');

-- migrate:down

SELECT gateway.take_back('20261128000003');
