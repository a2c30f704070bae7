-- Messages on their way: the queue, what is sent instead when one fails, and plans that stay quick.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- the queue

-- Narrow, beside the wide messages, so that claiming never touches their indexes. Leases are in no
-- index, so that taking and giving back are HOT updates. sender_id has no foreign key: only
-- service_role writes here, from a sender it has just read, and a key would cost every message a
-- look-up and every deleted sender a scan of the queue.
CREATE TABLE IF NOT EXISTS gateway.queue (
  organization_id uuid NOT NULL,
  message_id uuid NOT NULL,
  sender_id uuid,
  channel text NOT NULL,
  priority smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2), -- high, normal, bulk
  phase text NOT NULL DEFAULT 'send' CHECK (phase IN ('send', 'ask')),
  run_at timestamptz NOT NULL DEFAULT now(),
  lease_until timestamptz,
  lease_id uuid,
  attempts smallint NOT NULL DEFAULT 0,
  refusals smallint NOT NULL DEFAULT 0,
  attempted_at timestamptz,
  is_test boolean NOT NULL DEFAULT false,
  asked smallint NOT NULL DEFAULT 0,
  -- when a request was about to leave, for providers that cannot be asked what they took: what has no
  -- time here was surely not sent
  begun_at timestamptz,
  -- which claim of the entry a worker speaks of: its own lease may have ended while the database was
  -- away, and the entry been claimed anew, by itself
  claims integer NOT NULL DEFAULT 0,
  -- whose request may have left, and for how long that has been open by what workers waited: what a
  -- claim says late can still be true of its entry, and the database's clock may be set
  open_claim integer,
  open_for double precision NOT NULL DEFAULT 0,
  PRIMARY KEY (organization_id, message_id),
  FOREIGN KEY (organization_id, message_id)
    REFERENCES public.messages (organization_id, id) ON DELETE CASCADE
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 10000);
CREATE INDEX IF NOT EXISTS idx_queue_org_priority_run_at
  ON gateway.queue (organization_id, priority, run_at);

-- Callers do not see the queue, which is the workers' own; of a message of theirs they may know where
-- it stands, which explains it. SECURITY DEFINER: the owner is not under the policy, so the organization
-- is compared here, with that of the caller, whatever is asked for. `gateway.caller()` cannot be forged;
-- only the gateway itself asks for any organization's.
CREATE OR REPLACE FUNCTION gateway.place_in_queue(organization uuid, message uuid)
RETURNS TABLE (
  phase text, run_at timestamptz, attempts smallint, refusals smallint, is_held boolean,
  was_held boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT q.phase, q.run_at, q.attempts, q.refusals, coalesce(q.lease_until > now(), false),
    coalesce(q.lease_until <= now(), false)
  FROM gateway.queue q
  WHERE q.organization_id = organization AND q.message_id = message
    AND (organization = gateway.current_organization() OR gateway.caller() = 'service_role')
$$;

REVOKE ALL ON FUNCTION gateway.place_in_queue(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.place_in_queue(uuid, uuid)
  TO authenticated, gateway_api, service_role;

-- ---------------------------------------------------------------- fallbacks

-- What is sent instead when a message failed, or did not get far enough in time: one row for each
-- message that has a step behind it. `steps` are the messages still to come, rendered and judged when
-- the first one was accepted; the first of them is due at `due_at`, or as soon as this message has
-- failed. Rows go when they are due: nothing changes them while a message succeeds.
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

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
BEGIN
  FOREACH own IN ARRAY ARRAY['queue', 'fallbacks'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)');
  END LOOP;
END
$policies$;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.queue, gateway.fallbacks TO service_role;

-- ---------------------------------------------------------------- statistics of tables that have grown

-- While PostgreSQL knows nothing of a table it takes `organization_id = ...` to be as telling as a
-- whole key, and foreign keys to messages walk all of an organization's, by a plan that is kept as
-- long as the connection. ANALYZE has every connection plan anew, and autovacuum may be long in coming
-- by. SECURITY DEFINER: it is for the tables' owner to do. Small tables wait: whole they are read
-- quicker than by an index, and that plan would be kept, too. Answers which tables it has looked at.
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

SELECT gateway.note_undo('20261129100700');

-- migrate:down

SELECT gateway.take_back('20261129100700');
