-- The organization of the caller, found without a plan being made for each table that asks for it.

-- migrate:up

SELECT gateway.remember();

-- Every policy compares with it, so a statement asks for it once for each table that it names: ten times
-- to read what a send refers to. A function in SQL that acts as its owner is never made part of the
-- statement: before PostgreSQL 18 it is parsed and planned each time, and later still begun as a query.
-- PL/pgSQL keeps its plan, and needs none for an API key, whose organization is a setting.
CREATE OR REPLACE FUNCTION gateway.current_organization() RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF gateway.caller() = 'gateway_api' THEN
    RETURN nullif(current_setting('gateway.organization_id', true), '')::uuid;
  END IF;
  RETURN (
    SELECT u.organization_id FROM public.auth_users u
    WHERE u.auth_id = auth.uid() AND u.is_active);
END
$$;

SELECT gateway.note_undo('20261130103030');

-- migrate:down

SELECT gateway.take_back('20261130103030');
