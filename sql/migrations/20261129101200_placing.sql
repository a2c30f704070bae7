-- Where a message belongs: the conversation of the address at its other end.

-- migrate:up

SELECT gateway.remember();

-- The conversation of each message that is about to be stored, made where there is none, and locked in
-- one order for everybody until the transaction ends. `wanted` is a json array of
--   {n, seed, addresses, lead_id, client_id, name, conversation_id}
-- with the addresses of the other end, of which the first decides; the lead and the client that have
-- one of them; what they call themselves; and where a new address belongs when somebody said so. A
-- message without an address (a caller who hides) gets a conversation of its own, by its seed.
-- `joins` names another conversation of the same person: somebody has to merge them.
--
-- A lead or client has one conversation: of several that turn out to be with the same one, one is told
-- so, and the others are to be joined with it. Who has waited for a conversation that was merged
-- meanwhile looks where it went, and an address that is new to it goes along: what came from there
-- would be in a conversation that no list shows. Where others have given all addresses away meanwhile,
-- the conversation that was made for them goes again: it would stay in every list, without name, address
-- or message.
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
REVOKE ALL ON FUNCTION gateway.place(uuid, json) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.place(uuid, json) TO service_role;

-- ---------------------------------------------------------------- messages of other programs

-- Those of others (the CRM's own, through PostgREST) that name no conversation find theirs, too.
-- SECURITY DEFINER: whoever may write a message of an organization may have it placed.
--
-- Nothing is looked for, made or locked for a row that the policy is about to refuse, which it does
-- after this: who wrote one of another organization's would wait where that one is busy with the
-- address, and so learn with whom it corresponds. Nor for a row whose id is taken: what follows is an
-- error, or what ON CONFLICT says, as of the CRM's upserts, which name neither its time nor its
-- conversation. `created_at` may be given as null: its conversation needs a time.
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
REVOKE ALL ON FUNCTION gateway.place_message() FROM PUBLIC;
CREATE OR REPLACE TRIGGER place_messages BEFORE INSERT ON public.messages
  FOR EACH ROW WHEN (NEW.conversation_id IS NULL) EXECUTE FUNCTION gateway.place_message();

CREATE INDEX IF NOT EXISTS idx_messages_org_conversation_created
  ON public.messages (organization_id, conversation_id, created_at DESC, id DESC);

-- The messages that were there before are placed, too. Nobody changed them: their triggers rest.
DO $$
DECLARE
  resting name[] := ARRAY(
    SELECT t.tgname FROM pg_catalog.pg_trigger t
    WHERE t.tgrelid = 'public.messages'::regclass AND NOT t.tgisinternal AND t.tgenabled = 'O'
      AND t.tgtype & 16 <> 0);
  one name;
  these record;
BEGIN
  CREATE TEMP TABLE unplaced ON COMMIT DROP AS
    SELECT m.organization_id, m.id,
      CASE m.direction WHEN 'inbound' THEN m.from_address ELSE m.to_address END AS theirs
    FROM public.messages m
    WHERE NOT EXISTS (SELECT FROM gateway.conversations c
      WHERE c.organization_id = m.organization_id AND c.id = m.conversation_id);
  IF NOT EXISTS (SELECT FROM unplaced) THEN
    DROP TABLE unplaced;
    RETURN;
  END IF;
  CREATE TEMP TABLE placed ON COMMIT DROP AS
    SELECT organization_id, key, md5(organization_id || key)::uuid AS conversation_id
    FROM unplaced, gateway.address_key(theirs) AS key LIMIT 0;
  -- A thousand addresses at a time; those without one by their own ids.
  FOR these IN
    SELECT organization_id, json_agg(json_build_object(
      'n', place, 'seed', seed, 'addresses', json_build_array(theirs),
      'lead_id', lead_id, 'client_id', client_id)) AS wanted, array_agg(key ORDER BY place) AS keys
    FROM (
      SELECT a.*, o.lead_id, o.client_id,
        row_number() OVER (PARTITION BY a.organization_id, a.part ORDER BY a.seed) AS place
      FROM (
        SELECT organization_id, coalesce(key, id::text) AS key, min(theirs) AS theirs,
          min(id::text) AS seed,
          row_number() OVER (PARTITION BY organization_id ORDER BY min(id::text)) / 1000 AS part
        FROM unplaced, gateway.address_key(theirs) AS key
        GROUP BY organization_id, coalesce(key, id::text)
      ) a, gateway.owner_of(a.organization_id, a.theirs) o
    ) each
    GROUP BY organization_id, part
  LOOP
    INSERT INTO placed
    SELECT these.organization_id, these.keys[p.n], p.conversation_id
    FROM gateway.place(these.organization_id, these.wanted) p;
  END LOOP;
  FOREACH one IN ARRAY resting LOOP
    EXECUTE format('ALTER TABLE public.messages DISABLE TRIGGER %I', one);
  END LOOP;
  UPDATE public.messages m SET conversation_id = p.conversation_id
  FROM unplaced u, placed p
  WHERE m.id = u.id AND p.organization_id = u.organization_id
    AND p.key = coalesce(gateway.address_key(u.theirs), u.id::text);
  FOREACH one IN ARRAY resting LOOP
    EXECUTE format('ALTER TABLE public.messages ENABLE TRIGGER %I', one);
  END LOOP;
  PERFORM gateway.recount_conversation(p.organization_id, p.conversation_id)
  FROM (SELECT DISTINCT organization_id, conversation_id FROM placed) p;
  DROP TABLE unplaced, placed;
END
$$;

DO $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM pg_catalog.pg_constraint
    WHERE conrelid = 'public.messages'::regclass AND conname = 'messages_conversation_id_fkey')
  THEN
    ALTER TABLE public.messages ADD CONSTRAINT messages_conversation_id_fkey
      FOREIGN KEY (organization_id, conversation_id)
      REFERENCES gateway.conversations (organization_id, id) ON DELETE SET NULL (conversation_id);
  END IF;
END
$$;

SELECT gateway.note_undo('20261129101200');

-- migrate:down

SELECT gateway.take_back('20261129101200');
