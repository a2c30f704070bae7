-- Whom staff have said a conversation to be with may be deleted: then nobody has said it any more.

-- migrate:up

SELECT gateway.remember();

-- Staff who say that it is with nobody are believed: whom they took away is still there. A deleted lead's
-- number may be another one's. SECURITY DEFINER: a policy may hide whom a caller may not see.
CREATE OR REPLACE FUNCTION gateway.forget_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.is_linked := EXISTS (SELECT FROM public.leads
      WHERE organization_id = OLD.organization_id AND id = OLD.lead_id)
    OR EXISTS (SELECT FROM public.clients
      WHERE organization_id = OLD.organization_id AND id = OLD.client_id);
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.forget_link() FROM PUBLIC;
CREATE OR REPLACE TRIGGER forget_link BEFORE UPDATE OF lead_id, client_id ON gateway.conversations
  FOR EACH ROW WHEN (OLD.is_linked AND NEW.is_linked
    AND coalesce(OLD.lead_id, OLD.client_id) IS NOT NULL
    AND coalesce(NEW.lead_id, NEW.client_id) IS NULL)
  EXECUTE FUNCTION gateway.forget_link();

SELECT gateway.note_undo('20261129000007');

-- migrate:down

SELECT gateway.take_back('20261129000007');
