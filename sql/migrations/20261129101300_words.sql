-- Words: those of messages, those of contacts, and what somebody typed to find them.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- of messages

-- An index over an expression, not a column: it rewrites no table, and a change of status stays a HOT
-- update. What waits to be put into it is put there by whoever adds the last of it, and read by each
-- search: a megabyte takes 20 ms, the usual four 100. A tsvector holds 1 MB at most, so the text is cut
-- where even four-byte letters, each word kept twice, stay below that: a longer body must not fail to be
-- stored.
--
-- A word is found whatever stands beside it without a blank: "Danke.Bis", "INV-2024-0815", a link.
-- PostgreSQL's parser takes for one word what looks like a host, a file, a mailbox or a link, and for its
-- sign the hyphen before a number. With blanks for what such things are made with it sees their words.
-- What a link begins with (https://) it knows, and leaves out.
--
-- No text takes the parser long, whoever wrote it. Of `a_a_a_`, `~/~/` and others without a blank it tries
-- at each letter whether a host, a file or a mailbox begins there, and reads on to the end to see: twice
-- the text would take four times as long, 100 KB of it a minute. A tag it looks for beyond blanks. So
-- nothing looks like one, and what goes on for a hundred letters is several words: half a second then, at
-- the most.
CREATE OR REPLACE FUNCTION gateway.message_words(subject text, body text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('simple'::regconfig, regexp_replace(
  replace(
    regexp_replace(
      replace(left(coalesce(subject, '') || ' ' || body, 100000), '://', E'\x02') COLLATE "C",
      '[<./@+_~-]', ' ', 'g'),
    E'\x02', '://') COLLATE "C",
  '(\S{100})', '\1 ', 'g'));

DO $$
DECLARE
  home text := CASE WHEN to_regnamespace('extensions') IS NULL THEN 'public' ELSE 'extensions' END;
  uuid_ops text;
BEGIN
  IF EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'btree_gin') THEN
    EXECUTE format('CREATE EXTENSION IF NOT EXISTS btree_gin SCHEMA %I', home);
    -- Where it was there before, it may live in any schema.
    SELECT format('organization_id %I.uuid_ops, ', n.nspname) INTO uuid_ops
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname = 'btree_gin';
  END IF;
  EXECUTE format('CREATE INDEX IF NOT EXISTS idx_messages_words ON public.messages
    USING gin (%s gateway.message_words(subject, body)) WITH (gin_pending_list_limit = 1024)',
    uuid_ops);
END
$$;

-- ---------------------------------------------------------------- of contacts

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

-- What the indexes are made of is worked out by whoever writes these tables: another program with a login
-- of its own, too. They read nothing.
REVOKE ALL ON FUNCTION gateway.contact_words(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.message_words(text, text), gateway.contact_words(text, text, text)
  TO PUBLIC, authenticated, service_role, gateway_api;

-- ---------------------------------------------------------------- typed by somebody

-- What somebody typed, as a query: words, "phrases", beginnings*, -not, or. Anything may be typed; what
-- cannot be searched for is refused with SQLSTATE 22023 and a text that completes "q ...". It is read as
-- messages are. What was indexed stays as it came, so each word is looked for in both of Unicode's forms
-- beside its own (é as one letter, or as two, as some keyboards and files have it); and as PostgreSQL
-- reads it, too: so the words of contacts are indexed.
CREATE OR REPLACE FUNCTION gateway.words_query(q text) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
  SET client_min_messages = warning -- words that are none are no news
AS $$
DECLARE
  part text[];
  forms text[];
  form text;
  one tsquery;
  fewest integer;
  term tsquery;
  branch tsquery := '';
  found tsquery := '';
  nodes integer := 0; -- as if there were one form of each, the shortest
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
    form := coalesce(part[2], part[3]);
    forms := ARRAY[form];
    IF getdatabaseencoding() = 'UTF8' THEN -- in others there is only one
      -- As it was typed, too: some keyboards write neither.
      forms := ARRAY(SELECT DISTINCT unnest(ARRAY[form, normalize(form, NFC), normalize(form, NFD)]));
    END IF;
    forms := ARRAY(
      SELECT DISTINCT unnest(ARRAY[translate(f, '<', ' '), replace(
        regexp_replace(replace(f, '://', E'\x02') COLLATE "C", '[<./@+_~-]', ' ', 'g'), E'\x02', '://')])
      FROM unnest(forms) f);
    term := '';
    fewest := NULL;
    FOREACH form IN ARRAY forms LOOP
      one := phraseto_tsquery('simple', regexp_replace(
        form COLLATE "C", '(\S{100})', '\1 ', 'g'));
      CONTINUE WHEN numnode(one) = 0;
      fewest := least(fewest, numnode(one));
      IF part[3] LIKE '_%*' THEN -- a word with a hyphen is several: each of them may go on
        one := regexp_replace(one::text, '(''(?:[^'']|'''')+'')', '\1:*', 'g');
      ELSIF part[2] LIKE '%_*' THEN
        one := one::text || ':*';
      END IF;
      term := term || one;
    END LOOP;
    CONTINUE WHEN numnode(term) = 0;
    nodes := nodes + fewest + 1;
    branch := branch && CASE part[1] WHEN '-' THEN !!term ELSE term END;
  END LOOP;
  found := found || branch;
  IF querytree(found) IN ('', 'T') THEN
    RAISE invalid_parameter_value USING MESSAGE = 'names no word to look for';
  ELSIF nodes > 81 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'names too many words: 40 at most';
  END IF;
  RETURN found;
END
$$;
REVOKE ALL ON FUNCTION gateway.words_query(text) FROM PUBLIC;

SELECT gateway.note_undo('20261129101300');

-- migrate:down

SELECT gateway.take_back('20261129101300');
