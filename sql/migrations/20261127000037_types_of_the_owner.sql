-- Functions that act as their owner take types from PostgreSQL, never from their caller.

-- migrate:up

SELECT gateway.remember();

-- With an empty search_path PostgreSQL looks for types among the caller's temporary objects first: a
-- domain called uuid, with a check of the caller's own, ran as the owner, who sees past every policy
-- (https://www.postgresql.org/docs/current/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY).
ALTER FUNCTION gateway.current_organization() SET search_path = pg_catalog, pg_temp;
ALTER FUNCTION gateway.managed_organization() SET search_path = pg_catalog, pg_temp;

SELECT gateway.note_undo('20261127000037');

-- migrate:down

SELECT gateway.take_back('20261127000037');
