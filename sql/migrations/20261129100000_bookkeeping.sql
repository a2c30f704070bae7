-- How every later migration is taken back.
--
-- Most of our tables may be there before us: Supabase's and the customer's own database hold the
-- document's tables with rows. So no migration knows beforehand what it makes. Each one
--   begins with   SELECT gateway.remember();            what is there
--   ends with     SELECT gateway.note_undo('VERSION');  the difference, as statements that undo it
--   and its down  SELECT gateway.take_back('VERSION');  runs these
-- Nothing but the difference is ever touched, so what was there stays and what came later stays.

-- migrate:up

CREATE SCHEMA IF NOT EXISTS gateway;

-- dbmate has made this one already; the Supabase CLI, which runs the same files, has not.
CREATE TABLE IF NOT EXISTS gateway.schema_migrations (version varchar NOT NULL PRIMARY KEY);

-- In the week before the first release other files made the schema (docs/decisions/0029). What all of
-- them made is what these make; of less than that columns would be missing.
DO $$
BEGIN
  IF EXISTS (SELECT FROM gateway.schema_migrations WHERE version < '20261129100000')
    AND NOT EXISTS (SELECT FROM gateway.schema_migrations WHERE version = '20261129000023')
  THEN
    RAISE EXCEPTION 'this database is of before the first release: first bring it to 20261129000023,'
      ' with the version of the gateway that has that migration';
  END IF;
END
$$;

CREATE TABLE IF NOT EXISTS gateway.undo (
  version text NOT NULL,
  step integer NOT NULL,
  kind text NOT NULL,
  identity text NOT NULL,
  statement text NOT NULL,
  PRIMARY KEY (version, step)
);
ALTER TABLE gateway.undo ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.undo FORCE ROW LEVEL SECURITY;

-- Everything a migration may make or replace, one row each: what it is part of, its definition,
-- and the statements that make it and take it away. The empty search_path makes every name in a
-- definition a full one. (A kind of object that is not here, a type, a standing sequence, needs a
-- line here first; the test of up, down and up again says so.)
CREATE OR REPLACE FUNCTION gateway.catalogue()
RETURNS TABLE (kind text, part_of text, identity text, definition text, make text, take_away text)
LANGUAGE sql STABLE SET search_path = ''
AS $catalogue$
WITH
spaces AS (
  SELECT n.oid, quote_ident(n.nspname) AS name, n.nspacl AS acl, n.nspowner AS owner
  FROM pg_catalog.pg_namespace n
  WHERE n.nspname IN ('public', 'gateway', 'auth', 'extensions')
),
tables AS (
  SELECT c.oid, s.name || '.' || quote_ident(c.relname) AS name, c.relacl AS acl,
    c.relowner AS owner, c.reloptions, c.relrowsecurity, c.relforcerowsecurity
  FROM pg_catalog.pg_class c
  JOIN spaces s ON s.oid = c.relnamespace AND s.name IN ('public', 'gateway')
  WHERE c.relkind IN ('r', 'p') AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
),
functions AS (
  SELECT p.oid, p.proacl AS acl, p.proowner AS owner, s.name || '.' || quote_ident(p.proname)
    || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')' AS name
  FROM pg_catalog.pg_proc p
  JOIN spaces s ON s.oid = p.pronamespace AND s.name IN ('public', 'gateway', 'auth')
  WHERE p.prokind = 'f' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d
    WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
),
-- Who may do what, one row for each privilege: on schemas, tables, single columns and functions.
granted AS (
  SELECT 'SCHEMA ' || s.name AS object, s.name AS part_of, '' AS columns, a.*
  FROM spaces s, pg_catalog.aclexplode(coalesce(s.acl, acldefault('n', s.owner))) a
  UNION ALL
  SELECT 'TABLE ' || t.name, t.name, '', a.*
  FROM tables t, pg_catalog.aclexplode(coalesce(t.acl, acldefault('r', t.owner))) a
  UNION ALL
  SELECT 'TABLE ' || t.name, t.name, format(' (%I)', c.attname), a.*
  FROM tables t
  JOIN pg_catalog.pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped,
  pg_catalog.aclexplode(c.attacl) a
  UNION ALL
  SELECT 'FUNCTION ' || f.name, f.name, '', a.*
  FROM functions f, pg_catalog.aclexplode(coalesce(f.acl, acldefault('f', f.owner))) a
)
SELECT 'schema', NULL, s.name, '', NULL, 'DROP SCHEMA ' || s.name FROM spaces s
UNION ALL
SELECT 'extension', NULL, quote_ident(e.extname), '', NULL, format('DROP EXTENSION %I', e.extname)
FROM pg_catalog.pg_extension e
UNION ALL
SELECT 'function', NULL, f.name, pg_catalog.pg_get_functiondef(f.oid),
  pg_catalog.pg_get_functiondef(f.oid), 'DROP FUNCTION ' || f.name
FROM functions f
UNION ALL
SELECT 'aggregate', NULL, name, '', NULL, 'DROP AGGREGATE ' || name
FROM (
  SELECT format('%s.%I(%s)', s.name, p.proname, pg_get_function_identity_arguments(p.oid)) AS name
  FROM pg_catalog.pg_proc p
  JOIN spaces s ON s.oid = p.pronamespace AND s.name = 'gateway'
  WHERE p.prokind = 'a') aggregates
UNION ALL
SELECT 'view', NULL, name, '', NULL, 'DROP VIEW ' || name
FROM (
  SELECT format('%s.%I', s.name, c.relname) AS name
  FROM pg_catalog.pg_class c
  JOIN spaces s ON s.oid = c.relnamespace AND s.name = 'gateway'
  WHERE c.relkind = 'v') views
UNION ALL
SELECT 'table', NULL, t.name, '', NULL, t.name FROM tables t
UNION ALL
SELECT 'column', t.name, format('%s.%I', t.name, c.attname), '', NULL,
  format('ALTER TABLE %s DROP COLUMN IF EXISTS %I', t.name, c.attname)
FROM tables t
JOIN pg_catalog.pg_attribute c ON c.attrelid = t.oid AND c.attnum > 0 AND NOT c.attisdropped
UNION ALL
SELECT CASE WHEN k.contype = 'f' THEN 'foreign key' ELSE 'constraint' END, t.name,
  format('%s.%I', t.name, k.conname), pg_catalog.pg_get_constraintdef(k.oid),
  format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.name, k.conname,
    pg_catalog.pg_get_constraintdef(k.oid)),
  format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', t.name, k.conname)
FROM tables t
JOIN pg_catalog.pg_constraint k ON k.conrelid = t.oid AND k.contype IN ('c', 'f', 'p', 'u', 'x')
UNION ALL
SELECT 'index', t.name, i.indexrelid::regclass::text, pg_catalog.pg_get_indexdef(i.indexrelid),
  pg_catalog.pg_get_indexdef(i.indexrelid), 'DROP INDEX IF EXISTS ' || i.indexrelid::regclass
FROM tables t
JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
WHERE NOT EXISTS (
  SELECT FROM pg_catalog.pg_constraint k
  WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
UNION ALL
SELECT 'trigger', t.name, format('%s.%I', t.name, g.tgname), pg_catalog.pg_get_triggerdef(g.oid),
  pg_catalog.pg_get_triggerdef(g.oid), format('DROP TRIGGER IF EXISTS %I ON %s', g.tgname, t.name)
FROM tables t
JOIN pg_catalog.pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
UNION ALL
SELECT 'policy', t.name, format('%s.%I', t.name, p.polname), p.made, p.made,
  format('DROP POLICY IF EXISTS %I ON %s', p.polname, t.name)
FROM tables t
CROSS JOIN LATERAL (
  SELECT y.polname, concat_ws(' ',
    format('CREATE POLICY %I ON %s', y.polname, t.name),
    CASE WHEN y.polpermissive THEN 'AS PERMISSIVE' ELSE 'AS RESTRICTIVE' END,
    'FOR ' || CASE y.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT'
      WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
    'TO ' || (
      SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE r::regrole::text END, ', ' ORDER BY r)
      FROM unnest(y.polroles) r),
    'USING (' || pg_catalog.pg_get_expr(y.polqual, t.oid) || ')',
    'WITH CHECK (' || pg_catalog.pg_get_expr(y.polwithcheck, t.oid) || ')') AS made
  FROM pg_catalog.pg_policy y
  WHERE y.polrelid = t.oid) p
UNION ALL
SELECT 'row security', t.name, t.name, format('%s %s', t.relrowsecurity, t.relforcerowsecurity),
  format('ALTER TABLE %s %s ROW LEVEL SECURITY, %s ROW LEVEL SECURITY', t.name,
    CASE WHEN t.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END,
    CASE WHEN t.relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END), NULL
FROM tables t
UNION ALL
SELECT 'option', t.name, t.name || ' ' || o.option_name, o.option_value,
  format('ALTER TABLE %s SET (%s = %L)', t.name, o.option_name, o.option_value),
  format('ALTER TABLE %s RESET (%s)', t.name, o.option_name)
FROM tables t, pg_catalog.pg_options_to_table(t.reloptions) o
UNION ALL
SELECT 'grant', g.part_of,
  concat_ws(' ', g.object || g.columns, g.grantee, g.privilege_type, g.grantor),
  g.is_grantable::text,
  format('GRANT %s%s ON %s TO %s%s', g.privilege_type, g.columns, g.object, g.who,
    CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' END),
  format('REVOKE %s%s ON %s FROM %s', g.privilege_type, g.columns, g.object, g.who)
FROM (
  SELECT *, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS who
  FROM granted) g
$catalogue$;

CREATE OR REPLACE FUNCTION gateway.remember() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
BEGIN
  DROP TABLE IF EXISTS pg_temp.found;
  CREATE TEMP TABLE found AS SELECT * FROM gateway.catalogue();
END
$$;

-- Compares what was remembered with what is there now. A table that is new goes with all its
-- parts, in one statement with the other new ones, because they point at each other.
CREATE OR REPLACE FUNCTION gateway.note_undo(migration text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- The same file run once more finds everything there: what it noted first stays true.
  IF NOT EXISTS (SELECT FROM gateway.undo WHERE version = migration) THEN
    INSERT INTO gateway.undo (version, step, kind, identity, statement)
    WITH
    now AS MATERIALIZED (SELECT * FROM gateway.catalogue()),
    order_of(kind, away, back) AS (VALUES
      ('grant', 1, 29), ('policy', 2, 27), ('trigger', 3, 26), ('foreign key', 4, 24),
      ('constraint', 5, 23), ('index', 6, 25), ('option', 7, 30), ('view', 8, 0),
      ('table', 9, 0), ('column', 10, 0), ('aggregate', 11, 0), ('function', 12, 21),
      ('extension', 13, 0), ('schema', 14, 0), ('row security', 0, 28)),
    added AS (
      SELECT o.away AS place, n.kind, n.identity, n.take_away AS statement
      FROM now n
      JOIN order_of o USING (kind)
      LEFT JOIN found f USING (kind, identity)
      WHERE n.take_away IS NOT NULL
        AND n.definition IS DISTINCT FROM f.definition
        AND NOT (n.kind = 'function' AND f.kind IS NOT NULL)  -- is replaced, not dropped
        AND (n.part_of IS NULL OR EXISTS (
          SELECT FROM found whole
          WHERE whole.part_of IS NULL AND whole.identity = n.part_of))
    ),
    gone AS (
      SELECT o.back AS place, f.kind, f.identity, f.make AS statement
      FROM found f
      JOIN order_of o USING (kind)
      LEFT JOIN now n USING (kind, identity)
      WHERE f.make IS NOT NULL AND f.definition IS DISTINCT FROM n.definition
    ),
    steps AS (
      SELECT * FROM added WHERE kind <> 'table'
      UNION ALL
      SELECT place, kind, string_agg(statement, ', ' ORDER BY statement),
        'DROP TABLE ' || string_agg(statement, ', ' ORDER BY statement)
      FROM added WHERE kind = 'table' GROUP BY place, kind
      UNION ALL
      SELECT * FROM gone
    )
    SELECT migration, row_number() OVER (ORDER BY place, identity, statement), kind, identity,
      statement
    FROM steps;
  END IF;
  DROP TABLE pg_temp.found;
END
$$;

CREATE OR REPLACE FUNCTION gateway.take_back(migration text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET check_function_bodies = off
AS $$
DECLARE
  undo record;
BEGIN
  FOR undo IN SELECT * FROM gateway.undo WHERE version = migration ORDER BY step LOOP
    BEGIN
      EXECUTE undo.statement;
    EXCEPTION
      WHEN dependent_objects_still_exist THEN
        -- Someone else has come to use what we brought for all: it stays.
        IF undo.kind NOT IN ('function', 'extension', 'schema') THEN
          RAISE;
        END IF;
        RAISE WARNING 'kept % %: other objects use it now', undo.kind, undo.identity;
      WHEN check_violation OR foreign_key_violation THEN
        -- Rows were written that the old rule does not know: it comes back for new rows.
        EXECUTE undo.statement || ' NOT VALID';
        RAISE WARNING 'constraint % is back, but NOT VALID: there are rows that break it',
          undo.identity;
    END;
  END LOOP;
  DELETE FROM gateway.undo WHERE version = migration;
END
$$;

-- A policy of this name, as it is said here, whatever it was before.
CREATE OR REPLACE FUNCTION gateway.set_policy(on_table regclass, name text, rule text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning
AS $$
BEGIN
  EXECUTE format('DROP POLICY IF EXISTS %I ON %s', name, on_table);
  EXECUTE format('CREATE POLICY %I ON %s %s', name, on_table, rule);
END
$$;

REVOKE ALL ON FUNCTION gateway.catalogue(), gateway.remember(), gateway.note_undo(text),
  gateway.take_back(text), gateway.set_policy(regclass, text, text) FROM PUBLIC;

-- migrate:down

-- Where other files have made a part of the database (docs/decisions/0029), what takes them back stays.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM gateway.undo) THEN
    DROP FUNCTION gateway.set_policy(regclass, text, text), gateway.take_back(text),
      gateway.note_undo(text), gateway.remember(), gateway.catalogue();
    DROP TABLE gateway.undo;
  END IF;
END
$$;
