-- Where nothing is said any more, nothing is unread.

-- migrate:up

SELECT gateway.remember();

-- Another program may delete messages; of a conversation that has others left, how much is unread is not
-- known message by message. SECURITY DEFINER: who may delete a message may not change a conversation.
CREATE OR REPLACE FUNCTION gateway.unread_of_none() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE gateway.conversations c SET unread_count = 0
  FROM (SELECT DISTINCT organization_id, conversation_id FROM gone
    WHERE direction = 'inbound' AND conversation_id IS NOT NULL) g
  WHERE c.organization_id = g.organization_id AND c.id = g.conversation_id AND c.unread_count > 0
    AND NOT EXISTS (
      SELECT FROM public.messages m
      WHERE m.organization_id = c.organization_id AND m.conversation_id = c.id);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.unread_of_none() FROM PUBLIC;
CREATE OR REPLACE TRIGGER unread_of_none AFTER DELETE ON public.messages
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gateway.unread_of_none();

SELECT gateway.note_undo('20261129000016');

-- migrate:down

SELECT gateway.take_back('20261129000016');
