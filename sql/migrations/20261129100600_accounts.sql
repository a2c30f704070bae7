-- Who sends, and who calls: accounts at providers, senders, API keys, and signing in to the inbox.
--
-- The gateway's own tables are in a schema that PostgREST does not expose. Every foreign key between
-- tenant tables includes the organization.

-- migrate:up

SELECT gateway.remember();

-- uuid_generate_v4() may be in any schema.
SELECT set_config('search_path', concat_ws(', ', 'public', (
  SELECT quote_ident(n.nspname)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.proname = 'uuid_generate_v4' AND p.pronargs = 0
  ORDER BY n.nspname = 'public' DESC LIMIT 1), 'extensions'), true);

-- ---------------------------------------------------------------- accounts and senders

CREATE TABLE IF NOT EXISTS gateway.provider_accounts (
  id uuid DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  provider text NOT NULL,
  name text,
  credentials bytea NOT NULL, -- sealed
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (organization_id, id)
);

CREATE TABLE IF NOT EXISTS gateway.senders (
  id uuid DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  account_id uuid NOT NULL,
  channel text NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'call')),
  address text NOT NULL,
  is_default boolean NOT NULL DEFAULT false,
  rate double precision CHECK (rate BETWEEN 0.001 AND 10000), -- messages a second
  is_active boolean NOT NULL DEFAULT true,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (organization_id, id),
  UNIQUE (organization_id, channel, address),
  FOREIGN KEY (organization_id, account_id)
    REFERENCES gateway.provider_accounts (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_senders_org_account ON gateway.senders (organization_id, account_id);
CREATE UNIQUE INDEX IF NOT EXISTS idx_senders_org_channel_default
  ON gateway.senders (organization_id, channel) WHERE is_default;

-- When a sender may send next. Hot: one row, updated with every message of a paced sender.
CREATE TABLE IF NOT EXISTS gateway.sender_paces (
  organization_id uuid NOT NULL,
  sender_id uuid NOT NULL,
  next_at timestamptz NOT NULL,
  PRIMARY KEY (organization_id, sender_id),
  FOREIGN KEY (organization_id, sender_id)
    REFERENCES gateway.senders (organization_id, id) ON DELETE CASCADE
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- ---------------------------------------------------------------- who calls: API keys

CREATE TABLE IF NOT EXISTS gateway.api_keys (
  id uuid DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  name text,
  prefix text NOT NULL,
  hash bytea NOT NULL, -- SHA-256 of the key
  is_test boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  revoked_at timestamptz
);
CREATE INDEX IF NOT EXISTS idx_api_keys_org ON gateway.api_keys (organization_id, created_at DESC);
-- The one look-up that cannot name the organization: the key is what tells it.
CREATE INDEX IF NOT EXISTS idx_api_keys_prefix ON gateway.api_keys (prefix);

-- Web processes keep API keys for seconds, and hear when one has changed. Keys change rarely, so a
-- notification inside of the transaction holds nobody up; it is told when that is committed, once for
-- all keys that it changed. The statement, not pg_notify(): everybody may use it.
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

-- Answers that were given, for callers who ask once more with the same key.
CREATE TABLE IF NOT EXISTS gateway.idempotency_keys (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  key text NOT NULL,
  request_hash bytea NOT NULL,
  answer bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization_id, key)
);
CREATE INDEX IF NOT EXISTS idx_idempotency_keys_created ON gateway.idempotency_keys (created_at);

-- ---------------------------------------------------------------- signing in to the inbox

-- One browser of one member of staff. The cookie holds a random token, this row its SHA-256. Who they
-- are and whether they still are is read anew with every request, so nothing here points at
-- auth_users: moving or removing somebody never waits for a session.
CREATE TABLE IF NOT EXISTS gateway.staff_sessions (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  auth_id uuid NOT NULL,
  digest bytea NOT NULL,
  method text NOT NULL CHECK (method IN ('link', 'password', 'token')),
  created_at timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (organization_id, id)
);
-- The look-up that cannot name the organization: the session is what tells it.
CREATE INDEX IF NOT EXISTS idx_staff_sessions_digest ON gateway.staff_sessions (digest);
CREATE INDEX IF NOT EXISTS idx_staff_sessions_org_auth
  ON gateway.staff_sessions (organization_id, auth_id);
CREATE INDEX IF NOT EXISTS idx_staff_sessions_expires ON gateway.staff_sessions (expires_at);

-- A link that signs somebody in, once. The link carries a signature over these ids that only the
-- gateway can make, so nothing that rests here or in the message that brings it opens anything.
CREATE TABLE IF NOT EXISTS gateway.staff_links (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  auth_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX IF NOT EXISTS idx_staff_links_org_auth
  ON gateway.staff_links (organization_id, auth_id);
CREATE INDEX IF NOT EXISTS idx_staff_links_expires ON gateway.staff_links (expires_at);

-- How often an address, or somebody at a network address, tried since `begun_at`: of no
-- organization, because it is not known yet who tries. `bucket` is a digest of what is counted.
CREATE TABLE IF NOT EXISTS gateway.sign_in_attempts (
  bucket bytea NOT NULL PRIMARY KEY,
  count integer NOT NULL,
  begun_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS idx_sign_in_attempts_begun ON gateway.sign_in_attempts (begun_at);

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
  managed CONSTANT text := 'organization_id = (SELECT gateway.managed_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders', 'sender_paces', 'api_keys',
    'idempotency_keys', 'staff_sessions', 'staff_links', 'sign_in_attempts']
  LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)');
  END LOOP;

  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders', 'api_keys'] LOOP
    PERFORM
      gateway.set_policy(t, 'Gateway: staff view',
        format('FOR SELECT TO authenticated USING (%s)', mine)),
      gateway.set_policy(t, 'Gateway: owners and admins insert',
        format('FOR INSERT TO authenticated WITH CHECK (%s)', managed)),
      gateway.set_policy(t, 'Gateway: owners and admins update',
        format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', managed)),
      gateway.set_policy(t, 'Gateway: owners and admins delete',
        format('FOR DELETE TO authenticated USING (%s)', managed))
    FROM to_regclass(format('gateway.%I', own)) t;
  END LOOP;
  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders'] LOOP
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: API keys view',
      format('FOR SELECT TO gateway_api USING (%s)', mine));
  END LOOP;
END
$policies$;

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.provider_accounts, gateway.senders,
  gateway.sender_paces, gateway.api_keys, gateway.idempotency_keys, gateway.staff_sessions,
  gateway.staff_links, gateway.sign_in_attempts TO service_role;

-- Credentials and hashes are written by owners and admins and read by service_role alone.
GRANT SELECT (id, organization_id, provider, name, is_active, created_at, updated_at)
  ON gateway.provider_accounts TO authenticated, gateway_api;
GRANT SELECT (id, organization_id, name, prefix, is_test, created_at, revoked_at)
  ON gateway.api_keys TO authenticated;
GRANT SELECT ON gateway.senders TO authenticated, gateway_api;
GRANT INSERT, UPDATE, DELETE ON gateway.provider_accounts, gateway.senders, gateway.api_keys
  TO authenticated;

-- ---------------------------------------------------------------- triggers

CREATE OR REPLACE TRIGGER update_provider_accounts_updated_at BEFORE UPDATE
  ON gateway.provider_accounts FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();
CREATE OR REPLACE TRIGGER update_senders_updated_at BEFORE UPDATE
  ON gateway.senders FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column();

-- Not the hot tables: what they hold is itself a record of what happened, or gone in a moment.
CREATE OR REPLACE TRIGGER audit_provider_accounts AFTER INSERT OR UPDATE OR DELETE
  ON gateway.provider_accounts FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();
CREATE OR REPLACE TRIGGER audit_senders AFTER INSERT OR UPDATE OR DELETE
  ON gateway.senders FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();
CREATE OR REPLACE TRIGGER audit_api_keys AFTER INSERT OR UPDATE OR DELETE
  ON gateway.api_keys FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();

SELECT gateway.note_undo('20261129100600');

-- migrate:down

SELECT gateway.take_back('20261129100600');
