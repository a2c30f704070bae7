-- What happened since a place in the stream of events, and who is told of it by webhook.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- changes of conversations

-- That staff changed a conversation; kept for some days. What messages change is told by their events.
CREATE TABLE IF NOT EXISTS gateway.conversation_changes (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  position xid8 NOT NULL DEFAULT pg_current_xact_id(),
  conversation_id uuid NOT NULL,
  changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization_id, position, conversation_id)
);
CREATE INDEX IF NOT EXISTS idx_conversation_changes_changed
  ON gateway.conversation_changes (changed_at);
ALTER TABLE gateway.conversation_changes ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.conversation_changes FORCE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.conversation_changes FROM PUBLIC, anon, authenticated, gateway_api;
DO $$
DECLARE
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
BEGIN
  PERFORM
    gateway.set_policy(t, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)'),
    gateway.set_policy(t, 'Gateway: staff view',
      format('FOR SELECT TO authenticated USING (%s)', mine)),
    gateway.set_policy(t, 'Gateway: API keys view',
      format('FOR SELECT TO gateway_api USING (%s)', mine))
  FROM to_regclass('gateway.conversation_changes') t;
END
$$;
GRANT SELECT, INSERT, DELETE ON gateway.conversation_changes TO service_role;
GRANT SELECT ON gateway.conversation_changes TO authenticated, gateway_api;

-- SECURITY DEFINER: callers change conversations, but do not write what happened.
CREATE OR REPLACE FUNCTION gateway.note_conversation_change() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO gateway.conversation_changes (organization_id, conversation_id)
  VALUES (NEW.organization_id, NEW.id)
  ON CONFLICT DO NOTHING; -- twice in one transaction
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.note_conversation_change() FROM PUBLIC;
CREATE OR REPLACE TRIGGER note_conversation_changes AFTER UPDATE ON gateway.conversations
  FOR EACH ROW WHEN (
    (OLD.status, OLD.assigned_to, OLD.lead_id, OLD.client_id, OLD.name, OLD.merged_into)
    IS DISTINCT FROM
    (NEW.status, NEW.assigned_to, NEW.lead_id, NEW.client_id, NEW.name, NEW.merged_into)
    -- read by somebody, not counted with a message
    OR OLD.unread_count <> NEW.unread_count
      AND OLD.last_message_id IS NOT DISTINCT FROM NEW.last_message_id)
  EXECUTE FUNCTION gateway.note_conversation_change();

-- ---------------------------------------------------------------- subscriptions

-- How far a subscription has been told, and how its receiver does, changes with its deliveries: triggers
-- look only at what somebody sets. Nothing here is written by a message or its events.
CREATE TABLE IF NOT EXISTS gateway.subscriptions (
  id uuid NOT NULL PRIMARY KEY,
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  url text NOT NULL,
  description text,
  events text[] NOT NULL DEFAULT '{}', -- empty: all
  credentials bytea NOT NULL, -- sealed: the secret, and the one before it
  former_until timestamptz, -- so long the secret before it signs, too
  is_active boolean NOT NULL DEFAULT true,
  disabled_reason text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  -- the place in the organization's events; `within`: transactions that are told up to an event
  snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
  reached_at timestamptz NOT NULL DEFAULT now(),
  within text[] NOT NULL DEFAULT '{}',
  -- how many attempts have failed since the last success, and since when
  failures integer NOT NULL DEFAULT 0,
  failing_since timestamptz,
  paused_until timestamptz,
  last_success_at timestamptz,
  last_failure_at timestamptz,
  last_error text,
  UNIQUE (organization_id, id)
) WITH (fillfactor = 50);
CREATE INDEX IF NOT EXISTS idx_subscriptions_org_created
  ON gateway.subscriptions (organization_id, created_at DESC, id DESC);

-- An event that a subscription is to be told; deleted once it is. `about` is a message or conversation,
-- and has no foreign key, which each of these would pay for: what is gone by then is not told.
CREATE TABLE IF NOT EXISTS gateway.deliveries (
  organization_id uuid NOT NULL,
  subscription_id uuid NOT NULL,
  id uuid NOT NULL, -- derived from subscription and event: the same with each attempt
  number bigint GENERATED ALWAYS AS IDENTITY,
  type text NOT NULL,
  about uuid NOT NULL,
  occurred_at timestamptz NOT NULL,
  attempts smallint NOT NULL DEFAULT 0,
  due_at timestamptz NOT NULL DEFAULT now(), -- while a worker holds it, the end of its lease
  last_status smallint,
  last_error text,
  created_at timestamptz NOT NULL DEFAULT now(),
  failures smallint NOT NULL DEFAULT 0, -- by its receiver's answers; `attempts` count claims
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, subscription_id)
    REFERENCES gateway.subscriptions (organization_id, id) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
-- Not led by the organization: while nothing is known of the table it would be as good as the key.
CREATE INDEX IF NOT EXISTS idx_deliveries_subscription_due
  ON gateway.deliveries (subscription_id, organization_id, due_at, number);

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
  managed CONSTANT text := 'organization_id = (SELECT gateway.managed_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['subscriptions', 'deliveries'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM
      gateway.set_policy(t, 'Gateway: service role',
        'TO service_role USING (true) WITH CHECK (true)'),
      gateway.set_policy(t, 'Gateway: owners and admins view',
        format('FOR SELECT TO authenticated USING (%s)', managed)),
      gateway.set_policy(t, 'Gateway: API keys view',
        format('FOR SELECT TO gateway_api USING (%s)', mine))
    FROM to_regclass(format('gateway.%I', own)) t;
  END LOOP;
  PERFORM
    gateway.set_policy(t, 'Gateway: owners and admins insert',
      format('FOR INSERT TO authenticated WITH CHECK (%s)', managed)),
    gateway.set_policy(t, 'Gateway: owners and admins update',
      format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', managed)),
    gateway.set_policy(t, 'Gateway: owners and admins delete',
      format('FOR DELETE TO authenticated USING (%s)', managed)),
    gateway.set_policy(t, 'Gateway: API keys insert',
      format('FOR INSERT TO gateway_api WITH CHECK (%s)', mine)),
    gateway.set_policy(t, 'Gateway: API keys update',
      format('FOR UPDATE TO gateway_api USING (%s) WITH CHECK (%1$s)', mine)),
    gateway.set_policy(t, 'Gateway: API keys delete',
      format('FOR DELETE TO gateway_api USING (%s)', mine))
  FROM to_regclass('gateway.subscriptions') t;
END
$policies$;

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.subscriptions, gateway.deliveries TO service_role;
-- The secret is written by callers and read by service_role alone; where a subscription stands, and how
-- its receiver does, is the worker's to write.
GRANT SELECT (id, organization_id, url, description, events, former_until, is_active, disabled_reason,
    created_at, updated_at, last_success_at, last_failure_at, last_error),
  INSERT (id, organization_id, url, description, events, credentials),
  UPDATE (url, description, events, credentials, former_until, is_active),
  DELETE
  ON gateway.subscriptions TO authenticated, gateway_api;
GRANT SELECT (organization_id, subscription_id, id) ON gateway.deliveries TO authenticated, gateway_api;

-- Who activates a subscription, or leads it elsewhere, begins anew with what waits. SECURITY DEFINER:
-- callers do not write deliveries.
CREATE OR REPLACE FUNCTION gateway.begin_deliveries_anew() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.is_active AND (NOT OLD.is_active OR NEW.url <> OLD.url) THEN
    NEW.disabled_reason := NULL;
    NEW.failures := 0;
    NEW.failing_since := NULL;
    NEW.paused_until := NULL;
    UPDATE gateway.deliveries SET due_at = now(), attempts = 0, failures = 0
    WHERE organization_id = NEW.organization_id AND subscription_id = NEW.id;
  END IF;
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.begin_deliveries_anew() FROM PUBLIC;
CREATE OR REPLACE TRIGGER begin_deliveries_anew BEFORE UPDATE OF is_active, url
  ON gateway.subscriptions FOR EACH ROW EXECUTE FUNCTION gateway.begin_deliveries_anew();

CREATE OR REPLACE TRIGGER update_subscriptions_updated_at BEFORE UPDATE OF url, description, events,
    credentials, former_until, is_active, disabled_reason
  ON gateway.subscriptions FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER audit_subscriptions AFTER INSERT OR DELETE OR UPDATE OF url, description,
    events, credentials, former_until, is_active, disabled_reason
  ON gateway.subscriptions FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();

SELECT gateway.note_undo('20261129101500');

-- migrate:down

SELECT gateway.take_back('20261129101500');
