-- A message that is there already is no news in any conversation.

-- migrate:up

SELECT gateway.remember();

-- As before, but nothing is made or told for a row whose id is taken: what follows is an error, or what
-- ON CONFLICT says, as of the CRM's upserts, which name neither its time nor its conversation.
CREATE OR REPLACE FUNCTION gateway.place_message() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  theirs CONSTANT text :=
    CASE NEW.direction WHEN 'inbound' THEN NEW.from_address ELSE NEW.to_address END;
BEGIN
  IF gateway.caller() = 'authenticated'
    AND NEW.organization_id IS DISTINCT FROM gateway.current_organization()
    OR EXISTS (SELECT FROM public.messages m WHERE m.id = NEW.id)
  THEN
    RETURN NEW;
  END IF;
  NEW.created_at := coalesce(NEW.created_at, now());
  SELECT p.conversation_id INTO NEW.conversation_id
  FROM gateway.owner_of(NEW.organization_id, theirs) o,
    gateway.place(NEW.organization_id, json_build_array(json_build_object(
      'n', 0, 'seed', NEW.id, 'addresses', json_build_array(theirs),
      'lead_id', o.lead_id, 'client_id', o.client_id))) p;
  UPDATE gateway.conversations c SET
    last_message_id = CASE WHEN NEW.created_at >= c.last_message_at OR c.last_message_id IS NULL
      THEN NEW.id ELSE c.last_message_id END,
    last_message_at = CASE WHEN c.last_message_id IS NULL THEN NEW.created_at
      ELSE greatest(c.last_message_at, NEW.created_at) END,
    last_inbound_at = CASE NEW.direction WHEN 'inbound'
      THEN greatest(c.last_inbound_at, NEW.created_at) ELSE c.last_inbound_at END,
    channels = ARRAY(SELECT DISTINCT unnest(c.channels || NEW.channel) ORDER BY 1)
  WHERE c.organization_id = NEW.organization_id AND c.id = NEW.conversation_id;
  RETURN NEW;
END
$$;

SELECT gateway.note_undo('20261128000006');

-- migrate:down

SELECT gateway.take_back('20261128000006');
