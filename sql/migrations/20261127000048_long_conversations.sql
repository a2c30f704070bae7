-- A conversation is merged however long it is: the rest of its messages goes along step by step.

-- migrate:up

SELECT gateway.remember();

-- The newest `most` messages of a conversation that was merged go where it went; how many that were.
-- What somebody else has locked waits for the next time. `last_message_id` says whether any is left.
CREATE OR REPLACE FUNCTION gateway.move_merged(organization uuid, merged uuid, most integer)
RETURNS integer
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  moved integer;
BEGIN
  WITH these AS MATERIALIZED (
    SELECT m.id FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged
    ORDER BY m.created_at DESC, m.id DESC LIMIT most FOR NO KEY UPDATE SKIP LOCKED
  )
  UPDATE public.messages m SET conversation_id = c.merged_into
  FROM these, gateway.conversations c
  WHERE m.organization_id = organization AND m.id = these.id
    AND c.organization_id = organization AND c.id = merged;
  GET DIAGNOSTICS moved = ROW_COUNT;
  UPDATE gateway.conversations SET last_message_id = (
    SELECT m.id FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1)
  WHERE organization_id = organization AND id = merged;
  RETURN moved;
END
$$;
REVOKE ALL ON FUNCTION gateway.move_merged(uuid, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.move_merged(uuid, uuid, integer) TO service_role;

-- As before, but of many messages the newest go along at once, and the others later. A message takes
-- half a millisecond, in which its words are indexed anew: forty thousand took longer than a statement
-- may, so that they never were merged, and each of that person's messages waited for another attempt.
CREATE OR REPLACE FUNCTION gateway.merge_conversations(organization uuid, merged uuid, kept uuid)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone gateway.conversations;
BEGIN
  PERFORM FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id IN (merged, kept)
  ORDER BY c.id FOR UPDATE;
  IF merged = kept OR 2 <> (SELECT count(*) FROM gateway.conversations c
    WHERE c.organization_id = organization AND c.id IN (merged, kept) AND c.merged_into IS NULL)
  THEN
    RETURN false;
  END IF;
  SELECT * INTO gone FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id = merged;
  UPDATE gateway.conversations SET merged_into = kept, lead_id = NULL, client_id = NULL,
    assigned_to = NULL, unread_count = 0
  WHERE organization_id = organization AND id = merged;
  UPDATE gateway.conversations SET merged_into = kept
  WHERE organization_id = organization AND merged_into = merged;
  UPDATE gateway.conversation_addresses SET conversation_id = kept
  WHERE organization_id = organization AND conversation_id = merged;
  PERFORM gateway.move_merged(organization, merged, 1000);
  UPDATE gateway.conversations c SET
    lead_id = coalesce(c.lead_id, gone.lead_id),
    client_id = coalesce(c.client_id, gone.client_id),
    name = coalesce(c.name, gone.name),
    is_linked = c.is_linked OR gone.is_linked,
    status = CASE WHEN 'open' IN (c.status, gone.status) THEN 'open' ELSE 'closed' END,
    assigned_to = coalesce(c.assigned_to, gone.assigned_to),
    last_message_id = CASE WHEN c.last_message_id IS NULL OR gone.last_message_at > c.last_message_at
      THEN coalesce(gone.last_message_id, c.last_message_id) ELSE c.last_message_id END,
    last_message_at = greatest(c.last_message_at, gone.last_message_at),
    last_inbound_at = greatest(c.last_inbound_at, gone.last_inbound_at),
    unread_count = c.unread_count + gone.unread_count,
    channels = ARRAY(SELECT DISTINCT unnest(c.channels || gone.channels) ORDER BY 1)
  WHERE c.organization_id = organization AND c.id = kept;
  RETURN true;
END
$$;

UPDATE gateway.conversations c SET last_message_id = NULL
WHERE c.merged_into IS NOT NULL AND c.last_message_id IS NOT NULL AND NOT EXISTS (
  SELECT FROM public.messages m
  WHERE m.organization_id = c.organization_id AND m.conversation_id = c.id);
CREATE INDEX IF NOT EXISTS idx_conversations_org_unmoved ON gateway.conversations (organization_id, id)
  WHERE merged_into IS NOT NULL AND last_message_id IS NOT NULL;

SELECT gateway.note_undo('20261127000048');

-- migrate:down

SELECT gateway.take_back('20261127000048');
