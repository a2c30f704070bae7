-- A message of another program's that has no status is shown as pending, and found as that.

-- migrate:up

SELECT gateway.remember();

-- As before, but for messages without a status.
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

SELECT gateway.note_undo('20261129000003');

-- migrate:down

SELECT gateway.take_back('20261129000003');
