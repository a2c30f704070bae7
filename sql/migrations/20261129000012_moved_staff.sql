-- A member of staff may move to another organization, or leave: what was theirs is nobody's then.

-- migrate:up

SELECT gateway.remember();

-- The keys that hold leads, invitations and conversations to the staff of their own organization would
-- refuse it. What others have locked has to be waited for: leads, which other programs lock for long,
-- before the conversations that messages wait for, as whoever accepts one does. SECURITY DEFINER: whoever
-- may move somebody may leave their leads behind.
CREATE OR REPLACE FUNCTION gateway.leave_organization() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Triggers that others have on these tables find their own ones, too.
  PERFORM set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
  UPDATE public.leads SET assigned_to = NULL WHERE organization_id = OLD.organization_id
    AND id = ANY (array(SELECT id FROM public.leads
      WHERE organization_id = OLD.organization_id AND assigned_to = OLD.id
      ORDER BY id FOR NO KEY UPDATE));
  UPDATE public.client_invitations SET invited_by = NULL
  WHERE organization_id = OLD.organization_id AND invited_by = OLD.id;
  UPDATE gateway.conversations SET assigned_to = NULL WHERE organization_id = OLD.organization_id
    AND id = ANY (array(SELECT id FROM gateway.conversations
      WHERE organization_id = OLD.organization_id AND assigned_to = OLD.id
      ORDER BY id FOR NO KEY UPDATE));
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.leave_organization() FROM PUBLIC;
-- Behind other programs' triggers in the order of names: they may say where somebody goes.
CREATE OR REPLACE TRIGGER zz_leave_organization BEFORE UPDATE ON public.auth_users
  FOR EACH ROW WHEN (OLD.organization_id IS DISTINCT FROM NEW.organization_id)
  EXECUTE FUNCTION gateway.leave_organization();

SELECT gateway.note_undo('20261129000012');

-- migrate:down

SELECT gateway.take_back('20261129000012');
