-- Conversations: everything said with one contact, over all channels. Every address belongs to one
-- conversation, every message to that of the address at its other end.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- addresses, and whose they are

-- The one form of an address, on whatever channel: mailboxes in small letters, mobile numbers of
-- Mexico, Argentina and Brazil without the digit that comes and goes (channels/phone.py has the same
-- three). NULL for what networks say of a caller who hides: nobody's address is everybody's.
CREATE OR REPLACE FUNCTION gateway.address_key(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN octet_length(address) > 1000 THEN 'md5:' || md5(address) -- an index holds 2,704 bytes
  WHEN address LIKE '%@%' THEN lower(btrim(address))
  WHEN address LIKE '+52%' AND address ~ '^\+521?[0-9]{10}$' THEN '+52' || right(address, 10)
  WHEN address LIKE '+54%' AND address ~ '^\+549?[0-9]{10}$' THEN '+54' || right(address, 10)
  WHEN address LIKE '+55%' AND address ~ '^\+55[0-9]{2}9?[6-9][0-9]{7}$'
    THEN '+55' || substr(address, 4, 2) || right(address, 8)
  -- https://help.twilio.com/articles/223179988: ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE
  WHEN lower(btrim(address)) IN ('', 'anonymous', 'restricted', 'blocked', 'unknown', 'unavailable',
    'private', '+266696687', '+7378742833', '+2562533', '+8656696', '+86282452253') THEN NULL
  ELSE btrim(address)
END;

-- One row for each contact. Its counters change with every message, so it is narrow.
CREATE TABLE IF NOT EXISTS gateway.conversations (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  lead_id uuid,
  client_id uuid,
  name text, -- what they call themselves; a lead's or client's name goes first
  is_linked boolean NOT NULL DEFAULT false, -- somebody said who this is: no message changes it
  status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
  assigned_to uuid,
  last_message_id uuid,
  last_message_at timestamptz NOT NULL DEFAULT now(),
  last_inbound_at timestamptz,
  unread_count integer NOT NULL DEFAULT 0 CHECK (unread_count >= 0),
  channels text[] NOT NULL DEFAULT '{}', -- on which something was said
  merged_into uuid, -- gone into another one; kept, so that its id still leads there
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, lead_id)
    REFERENCES public.leads (organization_id, id) ON DELETE SET NULL (lead_id),
  FOREIGN KEY (organization_id, client_id)
    REFERENCES public.clients (organization_id, id) ON DELETE SET NULL (client_id),
  FOREIGN KEY (organization_id, assigned_to)
    REFERENCES public.auth_users (organization_id, id) ON DELETE SET NULL (assigned_to),
  FOREIGN KEY (organization_id, merged_into)
    REFERENCES gateway.conversations (organization_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX IF NOT EXISTS idx_conversations_org_lead
  ON gateway.conversations (organization_id, lead_id) WHERE lead_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS idx_conversations_org_client
  ON gateway.conversations (organization_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_latest
  ON gateway.conversations (organization_id, last_message_at DESC, id DESC)
  WHERE merged_into IS NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_unread
  ON gateway.conversations (organization_id, last_message_at DESC, id DESC)
  WHERE merged_into IS NULL AND unread_count > 0;
CREATE INDEX IF NOT EXISTS idx_conversations_org_assigned
  ON gateway.conversations (organization_id, assigned_to, last_message_at DESC, id DESC)
  WHERE assigned_to IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_merged
  ON gateway.conversations (organization_id, merged_into) WHERE merged_into IS NOT NULL;

CREATE TABLE IF NOT EXISTS gateway.conversation_addresses (
  organization_id uuid NOT NULL,
  address text NOT NULL, -- gateway.address_key of it
  conversation_id uuid NOT NULL,
  written text NOT NULL, -- as it was seen first: what can be written to
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organization_id, address),
  FOREIGN KEY (organization_id, conversation_id)
    REFERENCES gateway.conversations (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_conversation_addresses_org_conversation
  ON gateway.conversation_addresses (organization_id, conversation_id);

-- The newest lead and the newest client that have this address. Ours are in E.164, theirs as somebody
-- typed them: the last nine digits tell, or all of a shorter one.
CREATE OR REPLACE FUNCTION gateway.owner_of(
  organization uuid, address text, OUT lead_id uuid, OUT client_id uuid
)
LANGUAGE sql STABLE
AS $$
  WITH found AS (
    SELECT c.kind, c.id, c.created_at
    FROM gateway.contacts_by_address(
      organization,
      CASE WHEN address ~ '^\+[0-9]{7,15}$' THEN ARRAY[right(address, 7)] ELSE '{}' END,
      CASE WHEN address LIKE '%@%' THEN ARRAY[gateway.address_key(address)] ELSE '{}' END
    ) c
    WHERE address LIKE '%@%'
      OR right(ltrim(regexp_replace(c.phone, '\D', '', 'g'), '0'), 9)
        = right(address, least(9, length(ltrim(regexp_replace(c.phone, '\D', '', 'g'), '0'))))
  )
  SELECT
    (SELECT f.id FROM found f WHERE f.kind = 'lead' ORDER BY f.created_at DESC, f.id LIMIT 1),
    (SELECT f.id FROM found f WHERE f.kind = 'client' ORDER BY f.created_at DESC, f.id LIMIT 1)
$$;

-- ---------------------------------------------------------------- where a message belongs

-- The conversation of each message that is about to be stored, made where there is none, and locked in
-- one order for everybody until the transaction ends. `wanted` is a json array of
--   {n, seed, addresses, lead_id, client_id, name, conversation_id}
-- with the addresses of the other end, of which the first decides; the lead and the client that have
-- one of them; what they call themselves; and where a new address belongs when somebody said so. A
-- message without an address (a caller who hides) gets a conversation of its own, by its seed.
-- `joins` names another conversation of the same person: somebody has to merge them.
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
      PERFORM FROM gateway.conversations c
      WHERE c.organization_id = organization AND c.id = ANY (there)
      ORDER BY c.id FOR NO KEY UPDATE;
      held := held || there;
      CONTINUE;
    END IF;
    EXIT WHEN known = cardinality(keys);

    -- Of several at once that bring a new address one makes its conversation: the same id for all.
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
    ORDER BY i.id ON CONFLICT DO NOTHING;

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

  -- Who it is, where that has become known. Whose it was it stays: two leads may share a telephone.
  IF 0 < cardinality(array_remove(leads || clients, NULL))
    + cardinality(array_remove(names, NULL))
  THEN
    UPDATE gateway.conversations c SET
      lead_id = coalesce(c.lead_id, i.lead_id),
      client_id = coalesce(c.client_id, i.client_id),
      name = coalesce(i.name, c.name)
    FROM (
      SELECT DISTINCT ON (a.conversation_id) a.conversation_id, w.lead_id, w.client_id,
        left(w.name, 200) AS name
      FROM unnest(ns, firsts, leads, clients, names) AS w (n, key, lead_id, client_id, name)
      JOIN gateway.conversation_addresses a ON a.organization_id = organization
        AND a.address = w.key
      WHERE w.lead_id IS NOT NULL OR w.client_id IS NOT NULL OR w.name IS NOT NULL
      ORDER BY a.conversation_id, w.n DESC
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

-- All of one conversation becomes part of another; its id leads there from then on. False where
-- there is nothing to merge (any more).
CREATE OR REPLACE FUNCTION gateway.merge_conversations(organization uuid, merged uuid, kept uuid)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone gateway.conversations;
BEGIN
  PERFORM FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id IN (merged, kept)
  ORDER BY c.id FOR UPDATE;
  IF merged = kept OR 2 <> (SELECT count(*) FROM gateway.conversations c
    WHERE c.organization_id = organization AND c.id IN (merged, kept) AND c.merged_into IS NULL)
  THEN
    RETURN false;
  END IF;
  SELECT * INTO gone FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id = merged;
  UPDATE gateway.conversations SET merged_into = kept, lead_id = NULL, client_id = NULL,
    assigned_to = NULL, unread_count = 0
  WHERE organization_id = organization AND id = merged;
  UPDATE gateway.conversations SET merged_into = kept
  WHERE organization_id = organization AND merged_into = merged;
  UPDATE gateway.conversation_addresses SET conversation_id = kept
  WHERE organization_id = organization AND conversation_id = merged;
  UPDATE public.messages SET conversation_id = kept
  WHERE organization_id = organization AND conversation_id = merged;
  UPDATE gateway.conversations c SET
    lead_id = coalesce(c.lead_id, gone.lead_id),
    client_id = coalesce(c.client_id, gone.client_id),
    name = coalesce(c.name, gone.name),
    is_linked = c.is_linked OR gone.is_linked,
    status = CASE WHEN 'open' IN (c.status, gone.status) THEN 'open' ELSE 'closed' END,
    assigned_to = coalesce(c.assigned_to, gone.assigned_to),
    last_message_id = CASE WHEN c.last_message_id IS NULL OR gone.last_message_at > c.last_message_at
      THEN coalesce(gone.last_message_id, c.last_message_id) ELSE c.last_message_id END,
    last_message_at = greatest(c.last_message_at, gone.last_message_at),
    last_inbound_at = greatest(c.last_inbound_at, gone.last_inbound_at),
    unread_count = c.unread_count + gone.unread_count,
    channels = ARRAY(SELECT DISTINCT unnest(c.channels || gone.channels) ORDER BY 1)
  WHERE c.organization_id = organization AND c.id = kept;
  RETURN true;
END
$$;

-- What is said last, how much is unread: from the messages themselves, after some were moved.
CREATE OR REPLACE FUNCTION gateway.recount_conversation(organization uuid, conversation uuid)
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE gateway.conversations c SET
    last_message_id = latest.id,
    last_message_at = coalesce(latest.created_at, c.created_at),
    last_inbound_at = said.last_inbound_at,
    unread_count = least(c.unread_count, said.inbound)::integer,
    channels = said.channels
  FROM (
    SELECT max(m.created_at) FILTER (WHERE m.direction = 'inbound') AS last_inbound_at,
      count(*) FILTER (WHERE m.direction = 'inbound') AS inbound,
      coalesce(array_agg(DISTINCT m.channel ORDER BY m.channel), '{}') AS channels
    FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = conversation
  ) said
  LEFT JOIN LATERAL (
    SELECT m.id, m.created_at FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = conversation
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1
  ) latest ON true
  WHERE c.organization_id = organization AND c.id = conversation
$$;

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['conversations', 'conversation_addresses'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM
      gateway.set_policy(t, 'Gateway: service role',
        'TO service_role USING (true) WITH CHECK (true)'),
      gateway.set_policy(t, 'Gateway: staff view',
        format('FOR SELECT TO authenticated USING (%s)', mine)),
      gateway.set_policy(t, 'Gateway: API keys view',
        format('FOR SELECT TO gateway_api USING (%s)', mine))
    FROM to_regclass(format('gateway.%I', own)) t;
  END LOOP;
  PERFORM
    gateway.set_policy('gateway.conversations', 'Gateway: staff update',
      format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', mine)),
    gateway.set_policy('gateway.conversations', 'Gateway: API keys update',
      format('FOR UPDATE TO gateway_api USING (%s) WITH CHECK (%1$s)', mine));
END
$policies$;

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.conversations, gateway.conversation_addresses
  TO service_role;
GRANT SELECT ON gateway.conversations, gateway.conversation_addresses TO authenticated, gateway_api;
-- Who it is with (links, merges) goes through the gateway, which moves the messages with it.
GRANT UPDATE (status, assigned_to, unread_count) ON gateway.conversations
  TO authenticated, gateway_api;

REVOKE ALL ON FUNCTION gateway.address_key(text), gateway.owner_of(uuid, text),
  gateway.place(uuid, json), gateway.merge_conversations(uuid, uuid, uuid),
  gateway.recount_conversation(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.address_key(text) TO authenticated, gateway_api, service_role;
GRANT EXECUTE ON FUNCTION gateway.owner_of(uuid, text), gateway.place(uuid, json),
  gateway.merge_conversations(uuid, uuid, uuid), gateway.recount_conversation(uuid, uuid)
  TO service_role;

-- Who it is with, whose it is, open or closed, merged: audited. What every message counts is not.
CREATE OR REPLACE TRIGGER audit_conversations AFTER UPDATE ON gateway.conversations
  FOR EACH ROW WHEN (
    (OLD.lead_id, OLD.client_id, OLD.is_linked, OLD.status, OLD.assigned_to, OLD.merged_into)
    IS DISTINCT FROM
    (NEW.lead_id, NEW.client_id, NEW.is_linked, NEW.status, NEW.assigned_to, NEW.merged_into))
  EXECUTE FUNCTION public.log_audit_trail();
CREATE OR REPLACE TRIGGER audit_conversation_addresses AFTER UPDATE ON gateway.conversation_addresses
  FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();

-- ---------------------------------------------------------------- messages

-- Those of others (the CRM's own, through PostgREST) that name no conversation find theirs, too.
-- SECURITY DEFINER: whoever may write a message of an organization may have it placed.
CREATE OR REPLACE FUNCTION gateway.place_message() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  theirs CONSTANT text :=
    CASE NEW.direction WHEN 'inbound' THEN NEW.from_address ELSE NEW.to_address END;
BEGIN
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

SELECT gateway.note_undo('20261126000006');

-- migrate:down

SELECT gateway.take_back('20261126000006');
