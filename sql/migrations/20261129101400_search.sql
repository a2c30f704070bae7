-- Search: messages and conversations found by words, among millions at once.

-- migrate:up

SELECT gateway.remember();

-- The conversations whose contact has the words that somebody typed: of many the `most` that something
-- was said in last, of those that pass every filter (`among`: that are one of these). A telephone number
-- may be typed in any way.
CREATE OR REPLACE FUNCTION gateway.contacts_matching(
  organization uuid, q text, most integer, among uuid[], channel text, assigned uuid, status text,
  unread boolean, before_at timestamptz, before_id uuid
) RETURNS uuid[]
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
      WHERE c.organization_id = $1 AND c.merged_into IS NULL
        AND ($4::uuid[] IS NULL OR c.id = ANY ($4))
        AND ($5::text IS NULL OR $5 = ANY (c.channels))
        AND ($6::uuid IS NULL OR c.assigned_to = $6)
        AND ($7::text IS NULL OR c.status = $7)
        AND ($8::boolean IS NULL OR (CASE WHEN $8 THEN c.unread_count > 0 ELSE c.unread_count = 0 END))
        AND ($9::timestamptz IS NULL OR (c.last_message_at, c.id) < ($9, $10))
        AND c.id = ANY (array(
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
      ORDER BY c.last_message_at DESC, c.id DESC LIMIT $3)
    $sql$
  INTO found
  USING organization, words, most, among, channel, assigned, status, unread, before_at, before_id;
  RETURN found;
END
$$;

-- The newest `wanted` messages of an organization that pass every filter and hold the words or belong
-- to one of the contacts.
--
-- A frequent word is found by walking back in time, a rare one by the index, and the first two hundred
-- messages tell which it is: what would take the walk too far is asked of the index. As a filter @@
-- costs a tsvector for each row; the index gives all that match, in no order. So nobody walks for the
-- contacts' messages, which have an index in the order of time: only what the words themselves find
-- counts. Of long texts fewer tell, for the worst megabyte takes four seconds. EXECUTE, so that each
-- statement is planned for the values at hand.
--
-- Two addresses are one where their keys are. A message of another program's that has no status is shown
-- as pending, and found as that.
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
    AND ($13::text IS NULL OR status = $13 OR status IS NULL AND $13 = 'pending')
    AND ($14::text IS NULL OR from_address = $14 OR to_address = $14
      OR gateway.address_key($14) IN (gateway.address_key(from_address), gateway.address_key(to_address)))$sql$;
  matches CONSTANT text := 'gateway.message_words(subject, body) @@ $15';
  step integer := 200;
  newest integer;
  looked integer;
  letters bigint := 0; -- of what was looked at; and how many more may be
  letters_left bigint := 800000;
  total integer := 0;
  found_ids uuid[];
  found_ats timestamptz[];
  found integer := 0;
  worded integer; -- of those found: not by the contact
  by_words integer := 0;
BEGIN
  LOOP
    EXECUTE format($sql$
      WITH newest AS (
        SELECT * FROM public.messages WHERE %s ORDER BY created_at DESC, id DESC LIMIT $18
      ), weighed AS (
        SELECT *, least(octet_length(body), 100000) AS letters,
          sum(least(octet_length(body), 100000)) OVER (ORDER BY created_at DESC, id DESC
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM newest
      ), looked AS (
        SELECT * FROM weighed WHERE coalesce(before, 0) < $19
      ), matching AS (
        SELECT id, created_at, (conversation_id = ANY ($16)) IS NOT TRUE AS is_worded FROM looked
        WHERE %s AND (conversation_id = ANY ($16) OR %s)
        ORDER BY created_at DESC, id DESC LIMIT $17
      )
      SELECT (SELECT count(*) FROM newest), (SELECT count(*) FROM looked),
        $20 + (SELECT sum(letters) FROM looked), l.created_at, l.id,
        array(SELECT id FROM matching), array(SELECT created_at FROM matching),
        (SELECT count(*) FROM matching WHERE is_worded)
      FROM (SELECT created_at, id FROM looked ORDER BY created_at, id LIMIT 1) l
      $sql$, place, suits, matches)
    INTO newest, looked, letters, place_at, place_id, found_ids, found_ats, worded
    USING organization, place_at, place_id, until, since, lead, client, conversation, external,
      reference, channel, direction, status, address, words, contacts, wanted - found, step,
      letters_left, letters;
    RETURN QUERY SELECT * FROM unnest(found_ids, found_ats);
    found := found + coalesce(cardinality(found_ids), 0);
    total := total + coalesce(looked, 0);
    IF found >= wanted OR (coalesce(newest, 0) < step AND looked IS NOT DISTINCT FROM newest) THEN
      RETURN;
    END IF;
    step := total * (wanted - found) / greatest(found, 1) + 20; -- as many as it should take
    by_words := by_words + worded;
    letters_left := 4000000 - letters;
    EXIT WHEN by_words = 0 OR total + step > 2000 + 20 * wanted OR letters_left <= 0;
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

-- The newest `wanted` messages of the caller's organization that pass every filter and hold the words or
-- belong to a contact who has them. @@ is not leakproof: under a policy the indexes of words lie idle.
-- Here the organization comes from the caller alone, and the owner is not under the policy.
--
-- Of many contacts the thousand that something was said in last have all that is newer than what was said
-- last in the thousandth: only where more is wanted the others are asked, too. Twenty thousand take half
-- a second; what finds more of them is refused with SQLSTATE 22023 and a text that completes "q ...".
CREATE OR REPLACE FUNCTION gateway.search_messages(
  channel text, direction text, status text, address text, lead uuid, client uuid, conversation uuid,
  external text, reference text, q text, since timestamptz, until timestamptz, before_at timestamptz,
  before_id uuid, wanted integer
) RETURNS TABLE (id uuid, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  mine CONSTANT uuid := gateway.current_organization();
  words CONSTANT tsquery := gateway.words_query(q);
  among uuid[];
  most integer := 1000;
  contacts uuid[]; -- the one that something was said in last is the first
  complete timestamptz; -- what is newer
  ids uuid[];
  ats timestamptz[];
BEGIN
  IF conversation IS NOT NULL THEN
    among := ARRAY[conversation];
  ELSIF coalesce(lead, client) IS NOT NULL THEN
    EXECUTE $sql$
      SELECT array(
        SELECT DISTINCT m.conversation_id FROM public.messages m
        WHERE m.organization_id = $1 AND ($2::uuid IS NULL OR m.lead_id = $2)
          AND ($3::uuid IS NULL OR m.client_id = $3))
      $sql$ INTO among USING mine, lead, client;
  END IF;
  contacts := gateway.contacts_matching(
    mine, q, 20001, among, NULL, NULL, NULL, NULL, NULL, NULL);
  LOOP
    complete := NULL;
    IF cardinality(contacts) > most THEN
      SELECT c.last_message_at INTO complete FROM gateway.conversations c
      WHERE c.organization_id = mine AND c.id = contacts[most];
    END IF;
    IF complete IS NULL OR coalesce(least(before_at, until), 'infinity') > complete THEN
      SELECT array_agg(f.id), array_agg(f.created_at) INTO ids, ats
      FROM gateway.find_messages(mine, words, contacts[:most], channel, direction, status, address,
        lead, client, conversation, external, reference, since, until, before_at, before_id, wanted) f;
      EXIT WHEN complete IS NULL OR cardinality(ids) >= wanted AND ats[cardinality(ats)] > complete;
    END IF;
    EXIT WHEN since > complete;
    IF most = 20000 THEN
      RAISE invalid_parameter_value USING MESSAGE = 'finds more than 20,000 contacts: add a word, or'
        ' narrow it by time (since) or by a conversation, lead or client';
    END IF;
    most := 20000;
  END LOOP;
  RETURN QUERY SELECT * FROM unnest(ids, ats);
END
$$;

-- The caller's conversations whose contact has the words, and those of the newest two hundred messages
-- that hold them: of the former the `wanted` that something was said in last, of those that pass every
-- filter.
CREATE OR REPLACE FUNCTION gateway.search_conversations(
  q text, channel text, assigned uuid, status text, unread boolean, before_at timestamptz,
  before_id uuid, wanted integer
) RETURNS SETOF uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  WITH mine AS MATERIALIZED (
    SELECT id, array(
      SELECT f.id FROM gateway.find_messages(
        id, gateway.words_query(q), '{}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL, NULL, 200) f) AS messages
    FROM gateway.current_organization() AS id
  )
  SELECT unnest(gateway.contacts_matching(
    mine.id, q, wanted, NULL, channel, assigned, status, unread, before_at, before_id)) FROM mine
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
    WHERE p.pronamespace = 'gateway'::regnamespace AND p.proname IN (
      'contacts_matching', 'find_messages', 'search_messages', 'search_conversations')
  LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', one);
    IF one::text ~ 'search_' THEN
      EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO authenticated, gateway_api', one);
    END IF;
  END LOOP;
END
$$;

SELECT gateway.note_undo('20261129101400');

-- migrate:down

SELECT gateway.take_back('20261129101400');
