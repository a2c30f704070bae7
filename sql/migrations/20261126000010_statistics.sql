-- Statistics of tables that are new and have grown, without waiting for autovacuum to come by.

-- migrate:up

SELECT gateway.remember();

-- While PostgreSQL knows nothing of a table it takes `organization_id = ...` to be as telling as a
-- whole key, and foreign keys to messages walk all of an organization's, by a plan that is kept as
-- long as the connection. ANALYZE has every connection plan anew. SECURITY DEFINER: it is for the
-- tables' owner to do. Small tables wait: whole they are read quicker than by an index, and that
-- plan would be kept, too. Answers which tables it has looked at.
CREATE OR REPLACE FUNCTION gateway.analyse_new_tables() RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  one regclass;
  found regclass[] := '{}';
BEGIN
  IF pg_try_advisory_xact_lock(hashtext('gateway.analyse_new_tables')) THEN
    FOR one IN
      SELECT c.oid FROM pg_catalog.pg_class c
      WHERE c.relnamespace IN ('public'::regnamespace, 'gateway'::regnamespace) AND c.relkind = 'r'
        AND c.reltuples < 0 AND pg_relation_size(c.oid) >= 16 * 8192
        AND pg_has_role(c.relowner, 'USAGE')
      ORDER BY c.oid
    LOOP
      EXECUTE format('ANALYZE %s', one);
      found := found || one;
    END LOOP;
  END IF;
  RETURN found::text[];
END
$$;
REVOKE ALL ON FUNCTION gateway.analyse_new_tables() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.analyse_new_tables() TO service_role;

SELECT gateway.note_undo('20261126000010');

-- migrate:down

SELECT gateway.take_back('20261126000010');
