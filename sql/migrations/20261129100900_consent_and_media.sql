-- Who must not be written to and why, with whom we correspond, files, and what is still to be fetched.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- who must not be written to

-- What people and providers said about an address, as evidence: appended, never changed. `id` is a
-- digest of what makes it the same statement.
CREATE TABLE IF NOT EXISTS gateway.consent_events (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  channel text NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'call')),
  address text NOT NULL,
  reason text NOT NULL
    CHECK (reason IN ('stop', 'hard_bounce', 'complaint', 'unsubscribe', 'manual')),
  is_lifted boolean NOT NULL,
  occurred_at timestamptz NOT NULL,
  recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  source text NOT NULL,
  detail jsonb NOT NULL DEFAULT '{}',
  -- whose statements a lift takes back (a provider that takes an address off its own list: what it said
  -- itself, and no more); null: those of everybody
  of_source text,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX IF NOT EXISTS idx_consent_events_org_address
  ON gateway.consent_events (organization_id, channel, address, occurred_at DESC);
CREATE OR REPLACE TRIGGER append_only_consent_events BEFORE UPDATE ON gateway.consent_events
  FOR EACH ROW EXECUTE FUNCTION gateway.refuse_change();

-- What follows from it: one row for each reason that holds. `address` in its one form (E.164, a
-- mailbox in small letters).
CREATE TABLE IF NOT EXISTS gateway.suppressions (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  channel text NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'call')),
  address text NOT NULL,
  reason text NOT NULL
    CHECK (reason IN ('stop', 'hard_bounce', 'complaint', 'unsubscribe', 'manual')),
  source text NOT NULL,
  evidence jsonb NOT NULL DEFAULT '{}',
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization_id, id),
  UNIQUE (organization_id, channel, address, reason)
);
CREATE INDEX IF NOT EXISTS idx_suppressions_org_created
  ON gateway.suppressions (organization_id, created_at DESC, id DESC);

-- ---------------------------------------------------------------- with whom we correspond

-- One row for each pair of addresses (e-mail: and topic, the subject without its Re:): when they last
-- wrote, which is WhatsApp's window, and the Message-IDs that a next mail refers to, oldest first.
-- Hot, so narrow and without foreign keys but the organization's.
CREATE TABLE IF NOT EXISTS gateway.correspondence (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  channel text NOT NULL,
  their_address text NOT NULL,
  our_address text NOT NULL,
  topic text NOT NULL DEFAULT '',
  last_inbound_at timestamptz,
  mail_ids text[] NOT NULL DEFAULT '{}',
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organization_id, channel, their_address, our_address, topic)
) WITH (fillfactor = 80);

-- ---------------------------------------------------------------- files, and what is to be fetched

-- A file of a message: to be fetched, kept, or given up. `storage_key` names it in the media store.
CREATE TABLE IF NOT EXISTS gateway.media (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  message_id uuid NOT NULL,
  position smallint NOT NULL,
  source_url text,
  filename text,
  content_type text,
  size bigint,
  storage_key text,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'stored', 'failed')),
  reason text,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, message_id)
    REFERENCES public.messages (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_media_org_message ON gateway.media (organization_id, message_id);

-- What a worker has to fetch at a provider: a message's file (`media`), what a webhook only pointed
-- at (`parse`), a confirmation (`visit`). Gone when it is done.
CREATE TABLE IF NOT EXISTS gateway.errands (
  organization_id uuid NOT NULL,
  id uuid NOT NULL,
  account_id uuid NOT NULL,
  kind text NOT NULL CHECK (kind IN ('media', 'parse', 'visit')),
  url text NOT NULL,
  run_at timestamptz NOT NULL DEFAULT now(),
  attempts smallint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, account_id)
    REFERENCES gateway.provider_accounts (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_errands_run_at ON gateway.errands (run_at);
CREATE INDEX IF NOT EXISTS idx_errands_org_account ON gateway.errands (organization_id, account_id);

-- What was to be fetched goes with its account, and the files say so. The account is locked by now, so
-- that no more is added.
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

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['consent_events', 'suppressions', 'correspondence', 'media', 'errands']
  LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)');
  END LOOP;
  FOREACH own IN ARRAY ARRAY['consent_events', 'suppressions', 'correspondence', 'media'] LOOP
    PERFORM
      gateway.set_policy(t, 'Gateway: staff view',
        format('FOR SELECT TO authenticated USING (%s)', mine)),
      gateway.set_policy(t, 'Gateway: API keys view',
        format('FOR SELECT TO gateway_api USING (%s)', mine))
    FROM to_regclass(format('gateway.%I', own)) t;
  END LOOP;
END
$policies$;

GRANT SELECT, INSERT, DELETE ON gateway.consent_events TO service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.suppressions, gateway.correspondence, gateway.media,
  gateway.errands TO service_role;
-- Callers read; what they change goes through the gateway, which keeps the evidence beside it.
GRANT SELECT ON gateway.consent_events, gateway.suppressions, gateway.correspondence
  TO authenticated, gateway_api;
GRANT SELECT (organization_id, id, message_id, position, filename, content_type, size, storage_key,
  state, reason, created_at) ON gateway.media TO authenticated, gateway_api;

CREATE OR REPLACE TRIGGER audit_suppressions AFTER INSERT OR UPDATE OR DELETE
  ON gateway.suppressions FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();
CREATE OR REPLACE TRIGGER update_media_updated_at BEFORE UPDATE
  ON gateway.media FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER update_correspondence_updated_at BEFORE UPDATE
  ON gateway.correspondence FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

SELECT gateway.note_undo('20261129100900');

-- migrate:down

SELECT gateway.take_back('20261129100900');
