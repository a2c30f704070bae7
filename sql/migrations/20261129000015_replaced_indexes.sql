-- The indexes that those of 20261129000013 replace.

-- migrate:up

SELECT gateway.remember();

DROP INDEX IF EXISTS public.idx_leads_org_lower_email, public.idx_clients_org_lower_email;

SELECT gateway.note_undo('20261129000015');

-- migrate:down

SELECT gateway.take_back('20261129000015');
