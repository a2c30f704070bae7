-- What providers tell of a message is merged without a query where there is nothing to merge with.

-- migrate:up

SELECT gateway.remember();

-- As before: of each key the greater value, so that the order of reports never shows. Mostly one side
-- is empty, the first report of a message or of a batch: a function in SQL starts a query for that,
-- too, which takes thirty times as long as looking.
CREATE OR REPLACE FUNCTION gateway.merge_provider_pair(one jsonb, other jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF jsonb_typeof(one) IS DISTINCT FROM 'object' THEN
    one := '{}';
  END IF;
  IF jsonb_typeof(other) IS DISTINCT FROM 'object' THEN
    other := '{}';
  END IF;
  IF one = '{}' OR one = other THEN
    RETURN other;
  ELSIF other = '{}' THEN
    RETURN one;
  END IF;
  RETURN (
    SELECT jsonb_object_agg(key, value) FROM (
      SELECT DISTINCT ON (key) key, value
      FROM (SELECT * FROM jsonb_each(one) UNION ALL SELECT * FROM jsonb_each(other)) AS told
      ORDER BY key, value DESC
    ) AS kept
  );
END
$$;

SELECT gateway.note_undo('20261126000012');

-- migrate:down

SELECT gateway.take_back('20261126000012');
