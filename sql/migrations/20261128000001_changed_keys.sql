-- Web processes keep API keys for seconds, and hear when one has changed.

-- migrate:up

SELECT gateway.remember();

-- Keys change rarely, so a notification inside of the transaction holds nobody up; it is told when that
-- is committed, once for all keys that it changed. The statement, not pg_notify(): everybody may use it.
CREATE OR REPLACE FUNCTION gateway.tell_changed_keys() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NOTIFY gateway_keys;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.tell_changed_keys() FROM PUBLIC;
-- For each row: a statement that changes none tells nobody.
CREATE OR REPLACE TRIGGER tell_changed_keys AFTER UPDATE OR DELETE ON gateway.api_keys
  FOR EACH ROW EXECUTE FUNCTION gateway.tell_changed_keys();
CREATE OR REPLACE TRIGGER tell_truncated_keys AFTER TRUNCATE ON gateway.api_keys
  FOR EACH STATEMENT EXECUTE FUNCTION gateway.tell_changed_keys();

SELECT gateway.note_undo('20261128000001');

-- migrate:down

SELECT gateway.take_back('20261128000001');
