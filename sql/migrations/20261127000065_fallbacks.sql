-- Fallbacks: what is sent instead when a message failed, or did not get far enough in time.

-- migrate:up

SELECT gateway.remember();

-- One row for each message that has a step behind it. `steps` are the messages still to come, rendered
-- and judged when the first one was accepted; the first of them is due at `due_at`, or as soon as
-- this message has failed. Rows go when they are due: nothing changes them while a message succeeds.
CREATE TABLE IF NOT EXISTS gateway.fallbacks (
  organization_id uuid NOT NULL,
  message_id uuid NOT NULL,
  due_at timestamptz NOT NULL,
  is_test boolean NOT NULL DEFAULT false,
  steps jsonb NOT NULL,
  PRIMARY KEY (organization_id, message_id),
  FOREIGN KEY (organization_id, message_id)
    REFERENCES public.messages (organization_id, id) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
-- Whether anything is due, each second; and what is, of each organization.
CREATE INDEX IF NOT EXISTS idx_fallbacks_due ON gateway.fallbacks (due_at);
CREATE INDEX IF NOT EXISTS idx_fallbacks_turns ON gateway.fallbacks (organization_id, due_at);

ALTER TABLE gateway.fallbacks ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.fallbacks FORCE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.fallbacks FROM PUBLIC, anon, authenticated, gateway_api;
SELECT gateway.set_policy('gateway.fallbacks', 'Gateway: service role',
  'TO service_role USING (true) WITH CHECK (true)');
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.fallbacks TO service_role;

-- A message that fails has its next step due at once, whoever says that it failed. A row that is
-- locked is one that a worker is just about to follow: to wait for it could be to wait for each other.
CREATE OR REPLACE FUNCTION gateway.hurry_fallback() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE gateway.fallbacks SET due_at = now() WHERE (organization_id, message_id) IN (
    SELECT f.organization_id, f.message_id FROM gateway.fallbacks f
    WHERE f.organization_id = NEW.organization_id AND f.message_id = NEW.id AND f.due_at > now()
    FOR UPDATE SKIP LOCKED
  );
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.hurry_fallback() FROM PUBLIC;
CREATE OR REPLACE TRIGGER hurry_fallbacks AFTER UPDATE OF status ON public.messages
  FOR EACH ROW WHEN (NEW.status = 'failed' AND OLD.status IS DISTINCT FROM 'failed')
  EXECUTE FUNCTION gateway.hurry_fallback();

SELECT gateway.note_undo('20261127000065');

-- migrate:down

SELECT gateway.take_back('20261127000065');
