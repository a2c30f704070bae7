-- A long conversation that is merged in steps: short ones, and what becomes of it when they are given up.

-- migrate:up

SELECT gateway.remember();

-- Of one of which the oldest messages have moved: into which, and when some last did.
ALTER TABLE gateway.conversations
  ADD COLUMN IF NOT EXISTS merging_into uuid,
  ADD COLUMN IF NOT EXISTS merging_at timestamptz;

-- As before, but a step ends with the first million bytes of text, too, whose words are half a second of
-- work; it locks messages in the order in which reports do; and it is known where they have gone: one of
-- which some are in another one is merged into no third one, and its addresses are set apart from both.
-- Of two that are merged into each other at the same time, the first goes on. A message that another
-- program's trigger puts elsewhere is one that does not move.
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
  IF EXISTS (SELECT FROM gateway.conversations c
    WHERE c.organization_id = organization AND (
      c.id = merged AND c.merging_into <> kept
      OR c.id = kept AND c.merging_into = merged
        AND c.merging_at > now() - interval '20 seconds'))
  THEN
    RETURN false;
  END IF;
  oldest := ARRAY(
    SELECT o.id FROM (
      SELECT m.id, m.created_at,
        sum(m.size) OVER (ORDER BY m.created_at, m.id) - m.size AS before
      FROM (
        SELECT m.id, m.created_at, coalesce(octet_length(m.body), 0) AS size
        FROM public.messages m
        WHERE m.organization_id = organization AND m.conversation_id = merged
        ORDER BY m.created_at, m.id LIMIT 500) m
    ) o WHERE o.before < 1000000 ORDER BY o.created_at, o.id);
  -- In the order in which reports lock them.
  PERFORM FROM public.messages m
  WHERE m.organization_id = organization AND m.id = ANY (oldest)
  ORDER BY m.id FOR NO KEY UPDATE;
  UPDATE public.messages m SET conversation_id = kept
  WHERE m.organization_id = organization AND m.id = ANY (oldest);
  SELECT bool_or(m.conversation_id IS DISTINCT FROM kept) AS stayed, max(m.created_at) AS at,
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
    UPDATE gateway.conversations SET
      unread_count = unread, merging_into = kept, merging_at = now()
    WHERE organization_id = organization AND id = merged;
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
    assigned_to = NULL, unread_count = 0, merging_into = NULL
  WHERE organization_id = organization AND id = merged;
  UPDATE gateway.conversations SET merged_into = kept
  WHERE organization_id = organization AND merged_into = merged;
  UPDATE gateway.conversations SET merging_into = nullif(kept, id)
  WHERE organization_id = organization AND merging_into = merged;
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

-- What came after its conversation was merged, and went there all the same (see merged_meanwhile), goes
-- where that went, and makes itself known there.
CREATE OR REPLACE FUNCTION gateway.follow_merged(organization uuid, merged uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone gateway.conversations;
BEGIN
  SELECT * INTO STRICT gone FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id = merged AND c.merged_into IS NOT NULL
  FOR UPDATE;
  UPDATE public.messages SET conversation_id = gone.merged_into
  WHERE organization_id = organization AND conversation_id = merged;
  IF EXISTS (SELECT FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged)
  THEN
    RAISE EXCEPTION 'another program''s trigger or policy lets not all messages of % move', merged
      USING TABLE = 'messages', COLUMN = 'conversation_id';
  END IF;
  UPDATE gateway.conversations SET
    unread_count = unread_count + gone.unread_count,
    status = CASE WHEN gone.unread_count > 0 THEN 'open' ELSE status END
  WHERE organization_id = gone.organization_id AND id = gone.merged_into;
  UPDATE gateway.conversations SET unread_count = 0
  WHERE organization_id = organization AND id = merged;
  PERFORM gateway.recount_conversation(organization, gone.merged_into);
END
$$;
REVOKE ALL ON FUNCTION gateway.follow_merged(uuid, uuid) FROM PUBLIC;

SELECT gateway.note_undo('20261128000002');

-- migrate:down

SELECT gateway.take_back('20261128000002');
