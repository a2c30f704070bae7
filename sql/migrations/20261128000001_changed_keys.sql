-- Web processes keep API keys for seconds, and hear when one has changed.

-- migrate:up

SELECT gateway.remember();

-- Keys change rarely, so a notification inside of the transaction holds nobody up; it is told when that
-- is committed.
CREATE OR REPLACE FUNCTION gateway.tell_changed_keys() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM pg_notify('gateway_keys', '');
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.tell_changed_keys() FROM PUBLIC;
CREATE OR REPLACE TRIGGER tell_changed_keys AFTER UPDATE OR DELETE OR TRUNCATE ON gateway.api_keys
  FOR EACH STATEMENT EXECUTE FUNCTION gateway.tell_changed_keys();

SELECT gateway.note_undo('20261128000001');

-- migrate:down

SELECT gateway.take_back('20261128000001');
