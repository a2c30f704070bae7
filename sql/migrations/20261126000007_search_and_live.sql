-- Words found in millions of messages at once, and what happened since a place in the stream of events.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- search

-- What somebody typed, as a query: words, "phrases", beginnings*, -not, or. Anything may be typed; what
-- cannot be searched for is refused with SQLSTATE 22023 and a text that completes "q ...".
CREATE OR REPLACE FUNCTION gateway.words_query(q text) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
  SET client_min_messages = warning -- words that are none are no news
AS $$
DECLARE
  part text[];
  term tsquery;
  branch tsquery := '';
  found tsquery := '';
BEGIN
  IF length(q) > 1000 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'is too long: 1,000 characters at most';
  END IF;
  FOR part IN SELECT regexp_matches(q, '(-?)(?:"([^"]*)"?|([^\s"]+))', 'g') LOOP
    IF lower(part[3]) = 'or' AND part[1] = '' THEN
      found := found || branch;
      branch := '';
      CONTINUE;
    END IF;
    term := phraseto_tsquery('simple', coalesce(part[2], part[3]));
    CONTINUE WHEN numnode(term) = 0;
    IF part[3] LIKE '_%*' THEN -- a word with a hyphen is several: each of them may go on
      term := regexp_replace(term::text, '(''(?:[^'']|'''')+'')', '\1:*', 'g');
    ELSIF part[2] LIKE '%_*' THEN
      term := term::text || ':*';
    END IF;
    branch := branch && CASE part[1] WHEN '-' THEN !!term ELSE term END;
  END LOOP;
  found := found || branch;
  IF querytree(found) IN ('', 'T') THEN
    RAISE invalid_parameter_value USING MESSAGE = 'names no word to look for';
  ELSIF numnode(found) > 80 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'names too many words: 40 at most';
  END IF;
  RETURN found;
END
$$;

-- A contact's words: the name, the mailbox whole and in its parts, and each end of the telephone number,
-- so that any stretch of its digits is the beginning of one.
CREATE OR REPLACE FUNCTION gateway.contact_words(name text, email text, phone text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('simple'::regconfig, left(coalesce(nullif(name, 'Unknown'), ''), 1000)
    || ' ' || left(coalesce(email, ''), 1000)
    || ' ' || translate(left(split_part(coalesce(email, ''), '@', 1), 1000), '.+-_', '    ')
    || ' ' || left(split_part(coalesce(email, ''), '@', 2), 1000))
  || array_to_tsvector(ARRAY(
    SELECT right(d, n) FROM left(regexp_replace(coalesce(phone, ''), '\D', '', 'g'), 20) AS d,
      generate_series(4, length(d)) AS n));

DO $$
DECLARE
  uuid_ops text;
  one record;
BEGIN
  SELECT format('organization_id %I.uuid_ops, ', n.nspname) INTO uuid_ops
  FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
  WHERE e.extname = 'btree_gin';
  FOR one IN
    SELECT * FROM (VALUES
      ('idx_leads_words', 'public.leads', 'name, email, phone', ''),
      ('idx_clients_words', 'public.clients', 'name, email, phone', ''),
      ('idx_conversations_words', 'gateway.conversations', 'name, NULL, NULL',
        'WHERE name IS NOT NULL'),
      ('idx_conversation_addresses_words', 'gateway.conversation_addresses',
        'written, written, written', '')
    ) AS indexes (index, target, words, partly)
  LOOP
    EXECUTE format('CREATE INDEX IF NOT EXISTS %s ON %s USING gin (%s gateway.contact_words(%s)) %s',
      one.index, one.target, uuid_ops, one.words, one.partly);
  END LOOP;
END
$$;

-- The conversations whose contact has the words that somebody typed: of many the thousand that
-- something was said in last. A telephone number may be typed in any way.
CREATE OR REPLACE FUNCTION gateway.contacts_matching(organization uuid, q text) RETURNS uuid[]
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  digits CONSTANT text := CASE WHEN q ~ '^[-\d\s()+./*]+$'
    THEN substr(ltrim(regexp_replace(q, '\D', '', 'g'), '0'), 1, 20) END;
  words CONSTANT tsquery := gateway.words_query(q)
    || CASE WHEN length(digits) >= 4 THEN (digits || ':*')::tsquery ELSE '' END;
  found uuid[];
BEGIN
  EXECUTE $sql$
    SELECT array(
      SELECT c.id FROM gateway.conversations c
      WHERE c.organization_id = $1 AND c.merged_into IS NULL AND c.id = ANY (array(
        SELECT conversation_id FROM gateway.conversation_addresses
        WHERE organization_id = $1 AND gateway.contact_words(written, written, written) @@ $2
        UNION
        SELECT id FROM gateway.conversations
        WHERE organization_id = $1 AND name IS NOT NULL
          AND gateway.contact_words(name, NULL, NULL) @@ $2
        UNION
        SELECT c.id FROM public.leads l
        JOIN gateway.conversations c ON c.organization_id = $1 AND c.lead_id = l.id
        WHERE l.organization_id = $1 AND gateway.contact_words(l.name, l.email, l.phone) @@ $2
        UNION
        SELECT c.id FROM public.clients k
        JOIN gateway.conversations c ON c.organization_id = $1 AND c.client_id = k.id
        WHERE k.organization_id = $1 AND gateway.contact_words(k.name, k.email, k.phone) @@ $2))
      ORDER BY c.last_message_at DESC, c.id DESC LIMIT 1000)
    $sql$
  INTO found USING organization, words;
  RETURN found;
END
$$;

-- The newest `wanted` messages of an organization that pass every filter and hold the words or belong
-- to one of the contacts.
--
-- A frequent word is found by walking back in time, a rare one by the index, and the first two hundred
-- messages tell which it is: what would take the walk too far is asked of the index. As a filter @@
-- costs a tsvector for each row; the index gives all that match, in no order. EXECUTE, so that each
-- statement is planned for the values at hand.
CREATE OR REPLACE FUNCTION gateway.find_messages(
  organization uuid, words tsquery, contacts uuid[], channel text, direction text, status text,
  address text, lead uuid, client uuid, conversation uuid, external text, reference text,
  since timestamptz, until timestamptz, before_at timestamptz, before_id uuid, wanted integer
) RETURNS TABLE (id uuid, created_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
  -- one index gives the whole order: sorting what another gives reads other organizations' rows too
  SET enable_incremental_sort = off SET enable_seqscan = off SET jit = off
  SET max_parallel_workers_per_gather = 0
  SET work_mem = '32MB' -- a bitmap that loses single rows makes a tsvector for each row again
AS $$
DECLARE
  place_at timestamptz := coalesce(before_at, 'infinity');
  place_id uuid := coalesce(before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  -- What indexes answer, and what has to be looked at.
  place CONSTANT text := $sql$
    organization_id = $1 AND (created_at, id) < ($2, $3)
    AND ($4::timestamptz IS NULL OR created_at < $4)
    AND ($5::timestamptz IS NULL OR created_at >= $5)
    AND ($6::uuid IS NULL OR lead_id = $6) AND ($7::uuid IS NULL OR client_id = $7)
    AND ($8::uuid IS NULL OR conversation_id = $8)
    AND ($9::text IS NULL OR external_id = $9) AND ($10::text IS NULL OR reference = $10)$sql$;
  suits CONSTANT text := $sql$
    ($11::text IS NULL OR channel = $11) AND ($12::text IS NULL OR direction = $12)
    AND ($13::text IS NULL OR status = $13)
    AND ($14::text IS NULL OR from_address = $14 OR to_address = $14)$sql$;
  matches CONSTANT text := 'gateway.message_words(subject, body) @@ $15';
  step integer := 200;
  looked integer;
  total integer := 0;
  found_ids uuid[];
  found_ats timestamptz[];
  found integer := 0;
BEGIN
  LOOP
    EXECUTE format($sql$
      WITH looked AS (
        SELECT * FROM public.messages WHERE %s ORDER BY created_at DESC, id DESC LIMIT $18
      ), matching AS (
        SELECT id, created_at FROM looked
        WHERE %s AND (conversation_id = ANY ($16) OR %s)
        ORDER BY created_at DESC, id DESC LIMIT $17
      )
      SELECT (SELECT count(*) FROM looked), l.created_at, l.id,
        array(SELECT id FROM matching), array(SELECT created_at FROM matching)
      FROM (SELECT created_at, id FROM looked ORDER BY created_at, id LIMIT 1) l
      $sql$, place, suits, matches)
    INTO looked, place_at, place_id, found_ids, found_ats
    USING organization, place_at, place_id, until, since, lead, client, conversation, external,
      reference, channel, direction, status, address, words, contacts, wanted - found, step;
    RETURN QUERY SELECT * FROM unnest(found_ids, found_ats);
    found := found + coalesce(cardinality(found_ids), 0);
    total := total + coalesce(looked, 0);
    IF found >= wanted OR coalesce(looked, 0) < step THEN
      RETURN;
    END IF;
    step := total * (wanted - found) / greatest(found, 1) + 20; -- as many as it should take
    EXIT WHEN found = 0 OR total + step > 2000 + 20 * wanted;
  END LOOP;
  -- Of many contacts those with the newest messages fill the page: the n-th of them cannot have
  -- more places than those before it leave, who have a newer message each.
  RETURN QUERY EXECUTE format($sql$
    WITH latest AS MATERIALIZED (
      SELECT c.contact, row_number() OVER (ORDER BY m.created_at DESC, m.id DESC) AS n
      FROM unnest($16) AS c (contact), LATERAL (
        SELECT created_at, id FROM public.messages
        WHERE %1$s AND %2$s AND conversation_id = c.contact
        ORDER BY created_at DESC, id DESC LIMIT 1) m
      ORDER BY n LIMIT $17
    ), matching AS MATERIALIZED (
      SELECT id, created_at FROM public.messages WHERE %1$s AND %2$s AND %3$s
      UNION
      SELECT m.id, m.created_at FROM latest l, LATERAL (
        SELECT id, created_at FROM public.messages
        WHERE %1$s AND %2$s AND conversation_id = l.contact
        ORDER BY created_at DESC, id DESC LIMIT $17 - l.n + 1) m
    )
    SELECT * FROM matching ORDER BY created_at DESC, id DESC LIMIT $17
    $sql$, place, suits, matches)
  USING organization, place_at, place_id, until, since, lead, client, conversation, external,
    reference, channel, direction, status, address, words, contacts, wanted - found;
END
$$;

-- The same for the caller. @@ is not leakproof: under a policy the indexes of words lie idle. Here the
-- organization comes from the caller alone, and the owner is not under the policy.
CREATE OR REPLACE FUNCTION gateway.search_messages(
  channel text, direction text, status text, address text, lead uuid, client uuid, conversation uuid,
  external text, reference text, q text, since timestamptz, until timestamptz, before_at timestamptz,
  before_id uuid, wanted integer
) RETURNS TABLE (id uuid, created_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT f.* FROM gateway.current_organization() AS mine, gateway.find_messages(
    mine, gateway.words_query(q), gateway.contacts_matching(mine, q), channel, direction, status,
    address, lead, client, conversation, external, reference, since, until, before_at, before_id,
    wanted) f
$$;

-- The caller's conversations whose contact has the words, and those of the newest two hundred
-- messages that hold them.
CREATE OR REPLACE FUNCTION gateway.search_conversations(q text) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH mine AS MATERIALIZED (
    SELECT id, array(
      SELECT f.id FROM gateway.find_messages(
        id, gateway.words_query(q), '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, 200) f) AS messages
    FROM gateway.current_organization() AS id
  )
  SELECT unnest(gateway.contacts_matching(mine.id, q)) FROM mine
  UNION
  SELECT m.conversation_id FROM public.messages m
  WHERE m.organization_id = (SELECT id FROM mine) AND m.id = ANY ((SELECT messages FROM mine)::uuid[])
$$;

DO $$
DECLARE
  one regprocedure;
BEGIN
  FOR one IN
    SELECT p.oid FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'gateway'::regnamespace AND p.proname IN ('words_query', 'contact_words',
      'contacts_matching', 'find_messages', 'search_messages', 'search_conversations')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
    IF one::text ~ 'search_' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO authenticated, gateway_api', one);
    END IF;
  END LOOP;
END
$$;
-- Whoever writes a contact writes its index.
GRANT EXECUTE ON FUNCTION gateway.contact_words(text, text, text)
  TO authenticated, service_role, gateway_api;

-- ---------------------------------------------------------------- what happened since

-- Which transaction an event came with. Transactions end in another order than they begin, so a place in
-- the stream is a snapshot: what is new is what was not visible then and is now. (A number from a
-- sequence would skip what commits late; docs/decisions has the cost.)
ALTER TABLE gateway.message_events
  ADD COLUMN IF NOT EXISTS position xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX IF NOT EXISTS idx_message_events_org_position
  ON gateway.message_events (organization_id, position);

-- That staff changed a conversation; kept for some days. What messages change is told by their events.
CREATE TABLE IF NOT EXISTS gateway.conversation_changes (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  position xid8 NOT NULL DEFAULT pg_current_xact_id(),
  conversation_id uuid NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization_id, position, conversation_id)
);
CREATE INDEX IF NOT EXISTS idx_conversation_changes_changed
  ON gateway.conversation_changes (changed_at);
ALTER TABLE gateway.conversation_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.conversation_changes FORCE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.conversation_changes FROM PUBLIC, anon, authenticated, gateway_api;
DO $$
DECLARE
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
BEGIN
  PERFORM
    gateway.set_policy(t, 'Gateway: service role', 'TO service_role USING (true) WITH CHECK (true)'),
    gateway.set_policy(t, 'Gateway: staff view',
      format('FOR SELECT TO authenticated USING (%s)', mine)),
    gateway.set_policy(t, 'Gateway: API keys view',
      format('FOR SELECT TO gateway_api USING (%s)', mine))
  FROM to_regclass('gateway.conversation_changes') t;
END
$$;
GRANT SELECT, INSERT, DELETE ON gateway.conversation_changes TO service_role;
GRANT SELECT ON gateway.conversation_changes TO authenticated, gateway_api;

-- SECURITY DEFINER: callers change conversations, but do not write what happened.
CREATE OR REPLACE FUNCTION gateway.note_conversation_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO gateway.conversation_changes (organization_id, conversation_id)
  VALUES (NEW.organization_id, NEW.id)
  ON CONFLICT DO NOTHING; -- twice in one transaction
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.note_conversation_change() FROM PUBLIC;
CREATE OR REPLACE TRIGGER note_conversation_changes AFTER UPDATE ON gateway.conversations
  FOR EACH ROW WHEN (
    (OLD.status, OLD.assigned_to, OLD.lead_id, OLD.client_id, OLD.name, OLD.merged_into)
    IS DISTINCT FROM
    (NEW.status, NEW.assigned_to, NEW.lead_id, NEW.client_id, NEW.name, NEW.merged_into)
    -- read by somebody, not counted with a message
    OR OLD.unread_count <> NEW.unread_count
      AND OLD.last_message_id IS NOT DISTINCT FROM NEW.last_message_id)
  EXECUTE FUNCTION gateway.note_conversation_change();

SELECT gateway.note_undo('20261126000007');

-- migrate:down

SELECT gateway.take_back('20261126000007');
