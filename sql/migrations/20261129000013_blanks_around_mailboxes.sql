-- Blanks around a mailbox, as an imported table leaves them, are no part of it.

-- migrate:up

SELECT gateway.remember();

-- Whose an address is, by its mailbox: other programs write it as they have it. The indexes that these
-- replace go with a later file, in a transaction of its own: to drop one, nobody may read its table.
CREATE INDEX IF NOT EXISTS idx_leads_org_mailbox ON public.leads
  (organization_id, lower(btrim(email, E' \t\r\n')));
CREATE INDEX IF NOT EXISTS idx_clients_org_mailbox ON public.clients
  (organization_id, lower(btrim(email, E' \t\r\n')));

-- As before, but for the blanks. (Planned once, unless a table has outgrown its statistics: an earlier file
-- says why.)
CREATE OR REPLACE FUNCTION gateway.contacts_by_address(
  organization uuid, tails text[], emails text[]
) RETURNS TABLE (kind text, id uuid, phone text, email text, created_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
  once CONSTANT text := 'force_generic_plan';
  each CONSTANT text := 'force_custom_plan';
  page CONSTANT bigint := current_setting('block_size')::bigint;
  leads CONSTANT text := (
    SELECT CASE WHEN pg_relation_size(oid) > 2 * relpages * page THEN each ELSE once END
    FROM pg_class WHERE oid = 'public.leads'::regclass);
  clients CONSTANT text := (
    SELECT CASE WHEN pg_relation_size(oid) > 2 * relpages * page THEN each ELSE once END
    FROM pg_class WHERE oid = 'public.clients'::regclass);
  mode text;
BEGIN
  mode := set_config('plan_cache_mode', leads, true);
  IF tails <> '{}' THEN
    RETURN QUERY SELECT 'lead', found.* FROM unnest(tails) AS wanted (tail) CROSS JOIN LATERAL (
      SELECT l.id, l.phone, l.email, l.created_at FROM public.leads l
      WHERE l.organization_id = organization AND l.phone IS NOT NULL
        AND right(regexp_replace(l.phone, '\D', '', 'g'), 7) = wanted.tail
      OFFSET 0) found;
  END IF;
  IF emails <> '{}' THEN
    RETURN QUERY SELECT 'lead', found.* FROM unnest(emails) AS wanted (mailbox) CROSS JOIN LATERAL (
      SELECT l.id, l.phone, l.email, l.created_at FROM public.leads l
      WHERE l.organization_id = organization AND lower(btrim(l.email, E' \t\r\n'))
          = wanted.mailbox
        AND (right(regexp_replace(l.phone, '\D', '', 'g'), 7) = ANY (tails)) IS NOT TRUE -- not once more
      OFFSET 0) found;
  END IF;
  mode := set_config('plan_cache_mode', clients, true);
  IF tails <> '{}' THEN
    RETURN QUERY SELECT 'client', found.* FROM unnest(tails) AS wanted (tail) CROSS JOIN LATERAL (
      SELECT k.id, k.phone, k.email, k.created_at FROM public.clients k
      WHERE k.organization_id = organization AND k.phone IS NOT NULL
        AND right(regexp_replace(k.phone, '\D', '', 'g'), 7) = wanted.tail
      OFFSET 0) found;
  END IF;
  IF emails <> '{}' THEN
    RETURN QUERY SELECT 'client', found.* FROM unnest(emails) AS wanted (mailbox) CROSS JOIN LATERAL (
      SELECT k.id, k.phone, k.email, k.created_at FROM public.clients k
      WHERE k.organization_id = organization AND lower(btrim(k.email, E' \t\r\n'))
          = wanted.mailbox
        AND (right(regexp_replace(k.phone, '\D', '', 'g'), 7) = ANY (tails)) IS NOT TRUE -- not once more
      OFFSET 0) found;
  END IF;
END
$$;

SELECT gateway.note_undo('20261129000013');

-- migrate:down

SELECT gateway.take_back('20261129000013');
