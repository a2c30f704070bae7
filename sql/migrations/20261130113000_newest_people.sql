-- The newest leads and clients of an organization, which `search_people` begins with.

-- migrate:up

SELECT gateway.remember();

-- By the index of all organizations' leads whoever has older ones alone reads everybody else's first, and
-- clients have none: all of the organization's are read and sorted.
CREATE INDEX IF NOT EXISTS idx_leads_org_created
  ON public.leads (organization_id, created_at DESC, id);
CREATE INDEX IF NOT EXISTS idx_clients_org_created
  ON public.clients (organization_id, created_at DESC, id);

SELECT gateway.note_undo('20261130113000');

-- migrate:down

SELECT gateway.take_back('20261130113000');
