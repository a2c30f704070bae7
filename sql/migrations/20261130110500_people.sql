-- Leads and clients by what somebody types, among hundreds of thousands at once.

-- migrate:up

SELECT gateway.remember();

-- Of the caller's leads and of their clients the newest `most` that have a word which begins with each
-- that was typed (names, mailboxes and their parts), or a number that ends with the digits `tail`.
--
-- What many have is among the newest hundred; what few have, the indexes of words give, which lie
-- idle under a policy, as @@ is not leakproof. Here the organization comes from the caller alone.
CREATE OR REPLACE FUNCTION gateway.search_people(typed text, tail text, most integer)
RETURNS TABLE (kind text, id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  SET enable_seqscan = off SET jit = off SET max_parallel_workers_per_gather = 0
AS $$
DECLARE
  mine CONSTANT uuid := gateway.current_organization();
  place text;
  words tsquery;
  found uuid[];
BEGIN
  words := gateway.words_query(
    regexp_replace(btrim(translate(typed, '"-*', '   ')), '\s+', '* ', 'g') || '*');
  IF tail IS NOT NULL THEN
    words := words || tail::tsquery;
  END IF;
  FOREACH place IN ARRAY ARRAY['leads', 'clients'] LOOP
    EXECUTE format($sql$
      SELECT array(
        SELECT id FROM (
          SELECT * FROM public.%I WHERE organization_id = $1 ORDER BY created_at DESC, id LIMIT 100) newest
        WHERE gateway.contact_words(name, email, phone) @@ $2
        ORDER BY created_at DESC, id LIMIT $3)
      $sql$, place) INTO found USING mine, words, most;
    IF cardinality(found) < most THEN
      EXECUTE format($sql$
        WITH matching AS MATERIALIZED (
          SELECT id, created_at FROM public.%I
          WHERE organization_id = $1 AND gateway.contact_words(name, email, phone) @@ $2
        )
        SELECT array(SELECT id FROM matching ORDER BY created_at DESC, id LIMIT $3)
        $sql$, place) INTO found USING mine, words, most;
    END IF;
    RETURN QUERY SELECT rtrim(place, 's'), unnest(found);
  END LOOP;
EXCEPTION
  WHEN invalid_parameter_value THEN
    RETURN; -- no words, or too many: nobody has them
END
$$;

REVOKE ALL ON FUNCTION gateway.search_people(text, text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.search_people(text, text, integer) TO authenticated, gateway_api;

SELECT gateway.note_undo('20261130110500');

-- migrate:down

SELECT gateway.take_back('20261130110500');
