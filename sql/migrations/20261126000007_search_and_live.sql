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

-- The newest `wanted` messages of the caller's organization that pass every filter and hold the words.
--
-- @@ is not leakproof: under a policy the index of words lies idle, and as a filter it costs a
-- tsvector for each row. Here the organization comes from the caller alone and the owner is not under
-- the policy. A frequent word is found by walking back in time, a rare one by the index, and the first
-- two hundred messages tell which it is: what would take the walk too far is asked of the index.
-- EXECUTE, so that each statement is planned for the values at hand.
CREATE OR REPLACE FUNCTION gateway.search_messages(
  channel text, direction text, status text, address text, lead uuid, client uuid, conversation uuid,
  external text, reference text, q text, since timestamptz, until timestamptz, before_at timestamptz,
  before_id uuid, wanted integer
) RETURNS TABLE (id uuid, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  -- one index gives the whole order: sorting what another gives reads other organizations' rows too
  SET enable_incremental_sort = off SET enable_seqscan = off SET jit = off SET max_parallel_workers_per_gather = 0
  SET work_mem = '32MB' -- a bitmap that loses single rows makes a tsvector for each row again
AS $$
DECLARE
  organization CONSTANT uuid := gateway.current_organization();
  words CONSTANT tsquery := gateway.words_query(q);
  until_row CONSTANT timestamptz := least(until, 'infinity');
  place_at timestamptz := coalesce(before_at, 'infinity');
  place_id uuid := coalesce(before_id, 'ffffffff-ffff-ffff-ffff-ffffffffffff');
  -- What indexes answer, and what has to be looked at.
  place CONSTANT text := $sql$
    organization_id = $1 AND (created_at, id) < ($2, $3) AND created_at < $4
    AND ($5::timestamptz IS NULL OR created_at >= $5)
    AND ($6::uuid IS NULL OR lead_id = $6) AND ($7::uuid IS NULL OR client_id = $7)
    AND ($8::uuid IS NULL OR conversation_id = $8)
    AND ($9::text IS NULL OR external_id = $9) AND ($10::text IS NULL OR reference = $10)$sql$;
  match CONSTANT text := $sql$
    ($11::text IS NULL OR channel = $11) AND ($12::text IS NULL OR direction = $12)
    AND ($13::text IS NULL OR status = $13)
    AND ($14::text IS NULL OR from_address = $14 OR to_address = $14)
    AND gateway.message_words(subject, body) @@ $15$sql$;
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
        SELECT * FROM public.messages WHERE %s ORDER BY created_at DESC, id DESC LIMIT $16
      ), matching AS (
        SELECT id, created_at FROM looked WHERE %s ORDER BY created_at DESC, id DESC LIMIT $17
      )
      SELECT (SELECT count(*) FROM looked), l.created_at, l.id,
        array(SELECT id FROM matching), array(SELECT created_at FROM matching)
      FROM (SELECT created_at, id FROM looked ORDER BY created_at, id LIMIT 1) l
      $sql$, place, match)
    INTO looked, place_at, place_id, found_ids, found_ats
    USING organization, place_at, place_id, until_row, since, lead, client, conversation, external,
      reference, channel, direction, status, address, words, step, wanted - found;
    RETURN QUERY SELECT * FROM unnest(found_ids, found_ats);
    found := found + coalesce(cardinality(found_ids), 0);
    total := total + coalesce(looked, 0);
    IF found >= wanted OR coalesce(looked, 0) < step THEN
      RETURN;
    END IF;
    step := total * (wanted - found) / greatest(found, 1) + 20; -- as many as it should take
    EXIT WHEN found = 0 OR total + step > 60 * wanted;
  END LOOP;
  RETURN QUERY EXECUTE format($sql$
    WITH matching AS MATERIALIZED (SELECT id, created_at FROM public.messages WHERE %s AND %s)
    SELECT * FROM matching ORDER BY created_at DESC, id DESC LIMIT $16
    $sql$, place, match)
  USING organization, place_at, place_id, until_row, since, lead, client, conversation, external,
    reference, channel, direction, status, address, words, wanted - found;
END
$$;

REVOKE ALL ON FUNCTION gateway.words_query(text), gateway.search_messages(text, text, text, text, uuid,
  uuid, uuid, text, text, text, timestamptz, timestamptz, timestamptz, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.search_messages(text, text, text, text, uuid,
  uuid, uuid, text, text, text, timestamptz, timestamptz, timestamptz, uuid, integer)
  TO authenticated, gateway_api;

SELECT gateway.note_undo('20261126000007');

-- migrate:down

SELECT gateway.take_back('20261126000007');
