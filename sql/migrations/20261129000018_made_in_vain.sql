-- A conversation that was made in vain does not stay.

-- migrate:up

SELECT gateway.remember();

-- As before, but where others have given all addresses away meanwhile, the conversation that was made
-- for them goes again: it stayed in every list, without name, address or message.
CREATE OR REPLACE FUNCTION gateway.place(organization uuid, wanted json)
RETURNS TABLE (n integer, conversation_id uuid, joins uuid)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET plan_cache_mode = auto -- keys find all
AS $$
#variable_conflict use_column
DECLARE
  -- What is wanted, read once: most of it is known, and then nothing else is to be done.
  ns integer[];
  seeds text[];
  firsts text[]; -- keys of their first addresses
  leads uuid[];
  clients uuid[];
  names text[];
  more boolean[]; -- which have other addresses beside it
  keys text[];
  held uuid[] := '{}';
  there uuid[];
  known bigint;
  merged bigint;
  fresh uuid[];
  made uuid[] := '{}';
BEGIN
  -- Planning all of this for one message takes five times as long as doing it. Of large tables that
  -- PostgreSQL knows, one plan is right for every message: through the keys.
  IF 10000 <= ALL (SELECT reltuples FROM pg_class
    WHERE oid IN ('gateway.conversations'::regclass, 'gateway.conversation_addresses'::regclass))
  THEN
    SET LOCAL plan_cache_mode = force_generic_plan;
  END IF;

  SELECT array_agg(w.n), array_agg(w.seed), array_agg(gateway.address_key(w.addresses[1])),
    array_agg(w.lead_id), array_agg(w.client_id), array_agg(nullif(btrim(w.name), '')),
    array_agg(cardinality(w.addresses) > 1)
  INTO ns, seeds, firsts, leads, clients, names, more
  FROM json_to_recordset(wanted) AS w (
    n integer, seed text, addresses text[], lead_id uuid, client_id uuid, name text
  );
  keys := ARRAY(SELECT DISTINCT key FROM unnest(firsts) AS key WHERE key IS NOT NULL);
  IF true = ANY (more) THEN
    keys := ARRAY(
      SELECT DISTINCT key FROM json_to_recordset(wanted) AS w (addresses text[]),
        unnest(w.addresses) AS a (address), gateway.address_key(a.address) AS key
      WHERE key IS NOT NULL);
  END IF;
  LOOP
    SELECT coalesce(array_agg(DISTINCT a.conversation_id), '{}'), count(*) INTO there, known
    FROM gateway.conversation_addresses a
    WHERE a.organization_id = organization AND a.address = ANY (keys);
    -- What waited here may have been merged or moved meanwhile: then it is looked at again.
    IF NOT there <@ held THEN
      SELECT count(l.merged_into) INTO merged FROM (
        SELECT c.merged_into FROM gateway.conversations c
        WHERE c.organization_id = organization AND c.id = ANY (there)
        ORDER BY c.id FOR NO KEY UPDATE) l;
      IF merged > 0 THEN
        UPDATE gateway.conversation_addresses a SET conversation_id = c.merged_into
        FROM gateway.conversations c
        WHERE c.organization_id = organization AND c.id = ANY (there) AND c.merged_into IS NOT NULL
          AND a.organization_id = organization AND a.conversation_id = c.id;
      END IF;
      held := held || there;
      CONTINUE;
    END IF;
    EXIT WHEN known = cardinality(keys);

    -- Of several at once that bring a new address one makes its conversation: the same id for all.
    WITH inserted AS (
      INSERT INTO gateway.conversations (organization_id, id, lead_id, client_id)
      SELECT organization, i.id, i.lead_id, i.client_id
      FROM (
        SELECT DISTINCT ON (id) md5(organization || key)::uuid AS id, w.lead_id, w.client_id
        FROM json_to_recordset(wanted) AS w (
          n integer, addresses text[], lead_id uuid, client_id uuid, conversation_id uuid
        ), gateway.address_key(w.addresses[1]) AS key
        WHERE key IS NOT NULL
          AND NOT EXISTS (
            SELECT FROM unnest(w.addresses) AS each (address)
            JOIN gateway.conversation_addresses a
              ON a.organization_id = organization AND a.address = gateway.address_key(each.address))
          AND NOT EXISTS (
            SELECT FROM gateway.conversations c
            WHERE c.organization_id = organization AND c.id = w.conversation_id
              AND c.merged_into IS NULL)
          AND NOT EXISTS (
            SELECT FROM gateway.conversations c
            WHERE c.organization_id = organization AND c.lead_id = w.lead_id)
          AND NOT EXISTS (
            SELECT FROM gateway.conversations c
            WHERE c.organization_id = organization AND c.client_id = w.client_id)
        ORDER BY id, w.n
      ) i
      -- two of one lead: the first makes it
      ORDER BY i.id ON CONFLICT DO NOTHING
      RETURNING id
    )
    SELECT coalesce(array_agg(id), '{}') INTO fresh FROM inserted;
    made := made || fresh;

    INSERT INTO gateway.conversation_addresses (organization_id, address, conversation_id, written)
    SELECT DISTINCT ON (i.key) organization, i.key, i.conversation_id, i.address
    FROM (
      SELECT w.n, key, each.address, coalesce(
        (SELECT a.conversation_id FROM unnest(w.addresses) WITH ORDINALITY AS other (address, place)
          JOIN gateway.conversation_addresses a
            ON a.organization_id = organization AND a.address = gateway.address_key(other.address)
          ORDER BY other.place LIMIT 1),
        (SELECT c.id FROM gateway.conversations c
          WHERE c.organization_id = organization AND c.id = w.conversation_id
            AND c.merged_into IS NULL),
        (SELECT c.id FROM gateway.conversations c
          WHERE c.organization_id = organization AND c.lead_id = w.lead_id),
        (SELECT c.id FROM gateway.conversations c
          WHERE c.organization_id = organization AND c.client_id = w.client_id),
        md5(organization || gateway.address_key(w.addresses[1]))::uuid) AS conversation_id
      FROM json_to_recordset(wanted) AS w (
        n integer, addresses text[], lead_id uuid, client_id uuid, conversation_id uuid
      ), unnest(w.addresses) AS each (address), gateway.address_key(each.address) AS key
      WHERE key IS NOT NULL
    ) i
    ORDER BY i.key, i.n ON CONFLICT DO NOTHING;
  END LOOP;
  IF NOT made <@ there THEN
    DELETE FROM gateway.conversations c
    WHERE c.organization_id = organization AND c.id = ANY (made) AND c.id <> ALL (there);
  END IF;

  -- Who it is, where that has become known. Whose it was it stays: two leads may share a telephone.
  IF 0 < cardinality(array_remove(leads || clients, NULL))
    + cardinality(array_remove(names, NULL))
  THEN
    UPDATE gateway.conversations c SET
      lead_id = coalesce(c.lead_id, i.lead_id),
      client_id = coalesce(c.client_id, i.client_id),
      name = coalesce(i.name, c.name)
    FROM (
      -- of several that are one person's, one may say so: the others join it
      SELECT conversation_id, name,
        CASE row_number() OVER (PARTITION BY has_lead, lead_id ORDER BY conversation_id)
          WHEN 1 THEN lead_id END AS lead_id,
        CASE row_number() OVER (PARTITION BY has_client, client_id ORDER BY conversation_id)
          WHEN 1 THEN client_id END AS client_id
      FROM (
        SELECT DISTINCT ON (a.conversation_id) a.conversation_id, w.lead_id, w.client_id,
          left(w.name, 200) AS name, o.lead_id IS NOT NULL AS has_lead,
          o.client_id IS NOT NULL AS has_client
        FROM unnest(ns, firsts, leads, clients, names) AS w (n, key, lead_id, client_id, name)
        JOIN gateway.conversation_addresses a ON a.organization_id = organization
          AND a.address = w.key
        JOIN gateway.conversations o ON o.organization_id = organization
          AND o.id = a.conversation_id AND NOT o.is_linked
        WHERE w.lead_id IS NOT NULL OR w.client_id IS NOT NULL OR w.name IS NOT NULL
        ORDER BY a.conversation_id, w.n DESC
      ) told
    ) i
    WHERE c.organization_id = organization AND c.id = i.conversation_id AND NOT c.is_linked
      AND (c.lead_id IS NULL AND i.lead_id IS NOT NULL
        OR c.client_id IS NULL AND i.client_id IS NOT NULL
        OR i.name <> coalesce(c.name, ''))
      AND NOT EXISTS (
        SELECT FROM gateway.conversations other
        WHERE other.organization_id = organization AND other.lead_id = i.lead_id AND other.id <> c.id)
      AND NOT EXISTS (
        SELECT FROM gateway.conversations other
        WHERE other.organization_id = organization AND other.client_id = i.client_id
          AND other.id <> c.id);
  END IF;

  IF array_position(firsts, NULL) IS NOT NULL THEN
    INSERT INTO gateway.conversations (organization_id, id)
    SELECT organization, md5(organization || w.seed)::uuid
    FROM unnest(seeds, firsts) AS w (seed, key)
    WHERE w.key IS NULL
    ORDER BY 2 ON CONFLICT DO NOTHING;
  END IF;

  RETURN QUERY
  SELECT w.n, coalesce(c.id, md5(organization || w.seed)::uuid),
    -- two people with names are two, whatever they share
    CASE WHEN NOT c.is_linked
      AND (w.lead_id <> c.lead_id OR w.lead_id IS NOT NULL AND c.lead_id IS NULL
        OR w.client_id <> c.client_id OR w.client_id IS NOT NULL AND c.client_id IS NULL
        OR w.more)
    THEN (
      SELECT other.id FROM gateway.conversations other
      WHERE other.organization_id = organization AND other.id <> c.id
        AND other.id = ANY (ARRAY(
          SELECT l.id FROM gateway.conversations l
          WHERE l.organization_id = organization AND l.lead_id = w.lead_id
          UNION ALL
          SELECT k.id FROM gateway.conversations k
          WHERE k.organization_id = organization AND k.client_id = w.client_id
          UNION ALL
          SELECT b.conversation_id
          FROM json_to_recordset(wanted) AS same (n integer, addresses text[]),
            unnest(same.addresses) AS each (address)
          JOIN gateway.conversation_addresses b
            ON b.organization_id = organization AND b.address = gateway.address_key(each.address)
          WHERE same.n = w.n))
        AND other.merged_into IS NULL AND NOT other.is_linked
        AND (c.lead_id IS NULL AND c.client_id IS NULL
          OR other.lead_id IS NULL AND other.client_id IS NULL
          OR c.lead_id IS NULL AND other.client_id IS NULL
          OR c.client_id IS NULL AND other.lead_id IS NULL)
      ORDER BY other.id LIMIT 1)
    END
  FROM unnest(ns, seeds, firsts, leads, clients, more)
    AS w (n, seed, key, lead_id, client_id, more)
  LEFT JOIN gateway.conversation_addresses a ON a.organization_id = organization
    AND a.address = w.key
  LEFT JOIN gateway.conversations c ON c.organization_id = organization AND c.id = a.conversation_id;
END
$$;

SELECT gateway.note_undo('20261129000018');

-- migrate:down

SELECT gateway.take_back('20261129000018');
