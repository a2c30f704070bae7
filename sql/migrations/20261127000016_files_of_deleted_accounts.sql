-- Files that nobody will fetch any more, because their account was deleted, say so.

-- migrate:up

SELECT gateway.remember();

-- What was to be fetched goes with its account. The account is locked by now, so that no more is added.
CREATE OR REPLACE FUNCTION gateway.give_up_files() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE gateway.media m SET state = 'failed', reason = 'The account that it came in for was deleted.'
  FROM gateway.errands e
  WHERE e.organization_id = OLD.organization_id AND e.account_id = OLD.id AND e.kind = 'media'
    AND m.organization_id = e.organization_id AND m.id = e.id AND m.state = 'waiting';
  RETURN OLD;
END
$$;
REVOKE ALL ON FUNCTION gateway.give_up_files() FROM PUBLIC;
CREATE OR REPLACE TRIGGER give_up_files BEFORE DELETE
  ON gateway.provider_accounts FOR EACH ROW EXECUTE FUNCTION gateway.give_up_files();

-- Those of accounts that were deleted before.
UPDATE gateway.media m SET state = 'failed', reason = 'The account that it came in for was deleted.'
WHERE m.state = 'waiting' AND NOT EXISTS (
  SELECT FROM gateway.errands e WHERE e.organization_id = m.organization_id AND e.id = m.id);

SELECT gateway.note_undo('20261127000016');

-- migrate:down

SELECT gateway.take_back('20261127000016');
