-- A conversation is merged however long it is, in steps.

-- migrate:up

SELECT gateway.remember();

-- As before, but of a long conversation only its oldest 500 messages go along, and null says that there
-- are more: it is to be called again. A message takes half a millisecond, in which its words are
-- indexed anew: forty thousand took longer than a statement may, so that they never were merged, and
-- each of that person's messages waited for another attempt. Until the last step both are shown, each
-- with what is in it, and new messages come to where they came before. Where another program's trigger or
-- policy leaves a message where it is, and says nothing, it is refused: the conversation stays, too.
CREATE OR REPLACE FUNCTION gateway.merge_conversations(organization uuid, merged uuid, kept uuid)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone gateway.conversations;
  oldest uuid[];
  came record;
  unread integer;
BEGIN
  PERFORM FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id IN (merged, kept)
  ORDER BY c.id FOR UPDATE;
  IF merged = kept OR 2 <> (SELECT count(*) FROM gateway.conversations c
    WHERE c.organization_id = organization AND c.id IN (merged, kept) AND c.merged_into IS NULL)
  THEN
    RETURN false;
  END IF;
  oldest := ARRAY(
    SELECT m.id FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged
    ORDER BY m.created_at, m.id LIMIT 500);
  UPDATE public.messages m SET conversation_id = kept
  WHERE m.organization_id = organization AND m.id = ANY (oldest);
  SELECT bool_or(m.conversation_id = merged) AS stayed, max(m.created_at) AS at,
    max(m.created_at) FILTER (WHERE m.direction = 'inbound') AS inbound_at,
    array_agg(DISTINCT m.channel) AS channels
  INTO came FROM public.messages m
  WHERE m.organization_id = organization AND m.id = ANY (oldest);
  IF came.stayed THEN
    RAISE EXCEPTION 'another program''s trigger or policy lets not all messages of % move', merged
      USING TABLE = 'messages', COLUMN = 'conversation_id';
  END IF;
  SELECT * INTO gone FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id = merged;
  IF EXISTS (SELECT FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged)
  THEN
    -- What is unread came last, and so goes last.
    SELECT count(*) INTO unread FROM (
      SELECT FROM public.messages m
      WHERE m.organization_id = organization AND m.conversation_id = merged
        AND m.direction = 'inbound'
      LIMIT gone.unread_count) stays;
    UPDATE gateway.conversations SET unread_count = unread
    WHERE organization_id = organization AND id = merged AND unread_count <> unread;
    UPDATE gateway.conversations c SET
      status = CASE WHEN 'open' IN (c.status, gone.status) THEN 'open' ELSE 'closed' END,
      last_message_id = CASE WHEN c.last_message_id IS NULL OR came.at > c.last_message_at
        THEN oldest[cardinality(oldest)] ELSE c.last_message_id END,
      last_message_at = CASE WHEN c.last_message_id IS NULL THEN coalesce(came.at, c.last_message_at)
        ELSE greatest(c.last_message_at, came.at) END,
      last_inbound_at = greatest(c.last_inbound_at, came.inbound_at),
      unread_count = c.unread_count + gone.unread_count - unread,
      channels = ARRAY(SELECT DISTINCT unnest(c.channels || came.channels) ORDER BY 1)
    WHERE c.organization_id = organization AND c.id = kept;
    RETURN NULL;
  END IF;
  UPDATE gateway.conversations SET merged_into = kept, lead_id = NULL, client_id = NULL,
    assigned_to = NULL, unread_count = 0
  WHERE organization_id = organization AND id = merged;
  UPDATE gateway.conversations SET merged_into = kept
  WHERE organization_id = organization AND merged_into = merged;
  UPDATE gateway.conversation_addresses SET conversation_id = kept
  WHERE organization_id = organization AND conversation_id = merged;
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

-- What came after its conversation was merged, and went there all the same (see merged_meanwhile), is
-- where that went, and makes itself known there; what a rule of another program's refuses to move does
-- not keep all the rest from being migrated ('gateway migrate up' names it: migrate.doubts).
DO $came$
DECLARE
  gone gateway.conversations;
BEGIN
  FOR gone IN
    SELECT * FROM gateway.conversations c
    WHERE c.merged_into IS NOT NULL AND EXISTS (
      SELECT FROM public.messages m
      WHERE m.organization_id = c.organization_id AND m.conversation_id = c.id)
    ORDER BY c.organization_id, c.id
  LOOP
    BEGIN
      UPDATE public.messages SET conversation_id = gone.merged_into
      WHERE organization_id = gone.organization_id AND conversation_id = gone.id;
      UPDATE gateway.conversations SET
        unread_count = unread_count + gone.unread_count,
        status = CASE WHEN gone.unread_count > 0 THEN 'open' ELSE status END
      WHERE organization_id = gone.organization_id AND id = gone.merged_into;
      UPDATE gateway.conversations SET unread_count = 0
      WHERE organization_id = gone.organization_id AND id = gone.id;
      PERFORM gateway.recount_conversation(gone.organization_id, gone.merged_into);
    EXCEPTION
      WHEN transaction_rollback OR lock_not_available THEN RAISE; -- another time it can be done
      WHEN OTHERS THEN
        RAISE WARNING 'conversation % was merged into %, but has messages that no list shows (%)',
          gone.id, gone.merged_into, SQLSTATE;
    END;
  END LOOP;
END
$came$;

SELECT gateway.note_undo('20261127000048');

-- migrate:down

SELECT gateway.take_back('20261127000048');
