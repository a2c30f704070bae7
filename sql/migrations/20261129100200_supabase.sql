-- What Supabase brings, and the schema document takes for granted, where it is missing.

-- migrate:up

SELECT gateway.remember();

-- Roles belong to the whole cluster: another database may be migrating at this moment, and they are
-- never dropped.
DO $$
DECLARE
  wanted record;
BEGIN
  FOR wanted IN
    SELECT name FROM (VALUES ('anon'), ('authenticated'), ('service_role')) AS roles(name)
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name)
  LOOP
    BEGIN
      EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT %s', wanted.name,
        CASE wanted.name WHEN 'service_role' THEN 'BYPASSRLS' END);
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        -- Only a superuser may give BYPASSRLS; our tables have a policy for service_role as well.
        BEGIN
          EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted.name);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END;
  END LOOP;
END
$$;

DO $$
BEGIN
  IF to_regnamespace('auth') IS NULL THEN
    CREATE SCHEMA auth;
    GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
  END IF;
  IF to_regprocedure('auth.uid()') IS NULL THEN
    -- As Supabase has it.
    CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $uid$
      SELECT coalesce(
        nullif(current_setting('request.jwt.claim.sub', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
      )::uuid
    $uid$;
  END IF;
END
$$;

-- uuid_generate_v4() comes with uuid-ossp, which the embedded server does not have. Supabase keeps it
-- in the schema `extensions`, others elsewhere.
DO $$
DECLARE
  home text := CASE WHEN to_regnamespace('extensions') IS NULL THEN 'public' ELSE 'extensions' END;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_proc WHERE proname = 'uuid_generate_v4') THEN
    IF EXISTS (SELECT FROM pg_catalog.pg_available_extensions WHERE name = 'uuid-ossp') THEN
      EXECUTE format('CREATE EXTENSION "uuid-ossp" SCHEMA %I', home);
    ELSE
      CREATE FUNCTION public.uuid_generate_v4() RETURNS uuid LANGUAGE sql VOLATILE
        AS 'SELECT gen_random_uuid()';
    END IF;
  END IF;
END
$$;

SELECT gateway.note_undo('20261129100200');

-- migrate:down

SELECT gateway.take_back('20261129100200');
