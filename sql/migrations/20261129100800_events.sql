-- What happened: events of messages, reports of providers, and the requests that brought them.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- events of messages

-- `id` is a digest of what makes a report the same report: the primary key takes each once.
-- `position` says which transaction an event came with. Transactions end in another order than they
-- begin, so a place in the stream of events is a snapshot: what is new is what was not visible then and
-- is now. (A number from a sequence would skip what commits late; docs/decisions has the cost.)
CREATE TABLE IF NOT EXISTS gateway.message_events (
  organization_id uuid NOT NULL,
  message_id uuid NOT NULL,
  id uuid NOT NULL,
  type text NOT NULL,
  status text,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  source text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}',
  position xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (organization_id, message_id, id),
  FOREIGN KEY (organization_id, message_id)
    REFERENCES public.messages (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_message_events_org_position
  ON gateway.message_events (organization_id, position);

CREATE OR REPLACE FUNCTION gateway.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RAISE insufficient_privilege USING
    MESSAGE = format('%s is only appended to, never changed', TG_TABLE_NAME);
END
$$;
REVOKE ALL ON FUNCTION gateway.refuse_change() FROM PUBLIC;
CREATE OR REPLACE TRIGGER append_only_message_events BEFORE UPDATE ON gateway.message_events
  FOR EACH ROW EXECUTE FUNCTION gateway.refuse_change();

-- What providers tell beside a status (messages.metadata.provider): of two values of one key the
-- greater stays, so that the order of reports never shows. Mostly one side is empty, the first report of
-- a message or of a batch: a function in SQL starts a query for that, too, which takes thirty times as
-- long as looking.
CREATE OR REPLACE FUNCTION gateway.merge_provider_pair(one jsonb, other jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF jsonb_typeof(one) IS DISTINCT FROM 'object' THEN
    one := '{}';
  END IF;
  IF jsonb_typeof(other) IS DISTINCT FROM 'object' THEN
    other := '{}';
  END IF;
  IF one = '{}' OR one = other THEN
    RETURN other;
  ELSIF other = '{}' THEN
    RETURN one;
  END IF;
  RETURN (
    SELECT jsonb_object_agg(key, value) FROM (
      SELECT DISTINCT ON (key) key, value
      FROM (SELECT * FROM jsonb_each(one) UNION ALL SELECT * FROM jsonb_each(other)) AS told
      ORDER BY key, value DESC
    ) AS kept
  );
END
$$;

CREATE OR REPLACE AGGREGATE gateway.merge_provider(jsonb) (
  SFUNC = gateway.merge_provider_pair, STYPE = jsonb, INITCOND = '{}'
);

REVOKE ALL ON FUNCTION gateway.merge_provider_pair(jsonb, jsonb), gateway.merge_provider(jsonb)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.merge_provider_pair(jsonb, jsonb), gateway.merge_provider(jsonb)
  TO service_role;

-- ---------------------------------------------------------------- requests and reports

-- As received, for `gateway replay`; kept for a time.
CREATE TABLE IF NOT EXISTS gateway.webhook_requests (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  account_id uuid NOT NULL,
  provider text NOT NULL,
  event text NOT NULL,
  method text NOT NULL,
  url text NOT NULL,
  headers jsonb NOT NULL,
  body bytea NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, account_id)
    REFERENCES gateway.provider_accounts (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_webhook_requests_org_account_received
  ON gateway.webhook_requests (organization_id, account_id, received_at);
CREATE INDEX IF NOT EXISTS idx_webhook_requests_received ON gateway.webhook_requests (received_at);

-- Reports that came before we knew the provider's id; applied as soon as it is stored.
CREATE TABLE IF NOT EXISTS gateway.unmatched_reports (
  organization_id uuid NOT NULL,
  account_id uuid NOT NULL,
  external_id text NOT NULL,
  id uuid NOT NULL,
  type text NOT NULL,
  status text,
  occurred_at timestamptz NOT NULL,
  received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  error_code text,
  error_message text,
  source text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}',
  provider jsonb, -- what was told beside the status
  PRIMARY KEY (organization_id, account_id, external_id, id),
  FOREIGN KEY (organization_id, account_id)
    REFERENCES gateway.provider_accounts (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_unmatched_reports_received
  ON gateway.unmatched_reports (received_at);

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['message_events', 'webhook_requests', 'unmatched_reports'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)');
  END LOOP;
  PERFORM
    gateway.set_policy('gateway.message_events', 'Gateway: staff view',
      format('FOR SELECT TO authenticated USING (%s)', mine)),
    gateway.set_policy('gateway.message_events', 'Gateway: API keys view',
      format('FOR SELECT TO gateway_api USING (%s)', mine));
END
$policies$;

GRANT SELECT, INSERT, DELETE ON gateway.message_events TO service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.webhook_requests, gateway.unmatched_reports
  TO service_role;
GRANT SELECT ON gateway.message_events TO authenticated, gateway_api;

SELECT gateway.note_undo('20261129100800');

-- migrate:down

SELECT gateway.take_back('20261129100800');
