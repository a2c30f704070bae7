-- A search knows all contacts that it finds, not the thousand of them that wrote last.

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
-- filter. (The one with `q` alone is that of the version before.)
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

REVOKE ALL ON FUNCTION
  gateway.contacts_matching(
    uuid, text, integer, uuid[], text, uuid, text, boolean, timestamptz, uuid),
  gateway.search_conversations(
    text, text, uuid, text, boolean, timestamptz, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.search_conversations(
  text, text, uuid, text, boolean, timestamptz, uuid, integer) TO authenticated, gateway_api;

SELECT gateway.note_undo('20261129000006');

-- migrate:down

SELECT gateway.take_back('20261129000006');
