-- Databases of the week before the first release, which other files made (docs/decisions/0029): the columns
-- that they lack, and what nobody uses any more. On any other database this does nothing.

-- migrate:up

SELECT gateway.remember();

ALTER TABLE IF EXISTS gateway.queue
  ADD COLUMN IF NOT EXISTS claims integer NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS open_claim integer,
  ADD COLUMN IF NOT EXISTS open_for double precision NOT NULL DEFAULT 0;
ALTER TABLE IF EXISTS gateway.consent_events ADD COLUMN IF NOT EXISTS of_source text;
ALTER TABLE IF EXISTS gateway.conversations
  ADD COLUMN IF NOT EXISTS merging_into uuid,
  ADD COLUMN IF NOT EXISTS merging_at timestamptz,
  ADD COLUMN IF NOT EXISTS coming_from uuid;
ALTER TABLE IF EXISTS gateway.deliveries
  ADD COLUMN IF NOT EXISTS failures smallint NOT NULL DEFAULT 0;

DROP INDEX IF EXISTS public.idx_leads_org_lower_email, public.idx_clients_org_lower_email;
DROP FUNCTION IF EXISTS gateway.search_conversations(text), gateway.contacts_matching(uuid, text);

SELECT gateway.note_undo('20261129100100');

-- migrate:down

SELECT gateway.take_back('20261129100100');

-- A function that comes back is everybody's, unless that is taken away.
DO $$
BEGIN
  IF to_regprocedure('gateway.contacts_matching(uuid, text)') IS NOT NULL THEN
    REVOKE ALL ON FUNCTION gateway.contacts_matching(uuid, text), gateway.search_conversations(text)
      FROM PUBLIC;
  END IF;
END
$$;
