-- The gateway's own tables, in a schema that PostgREST does not expose, and what it adds to messages.
-- Every key includes the organization; every foreign key between tenant tables is composite with it.

-- migrate:up

SELECT gateway.remember();

-- uuid_generate_v4() is wherever the first migration found or made it.
SELECT set_config('search_path', concat_ws(', ', 'public', (
  SELECT quote_ident(n.nspname)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.proname = 'uuid_generate_v4' AND p.pronargs = 0
  ORDER BY n.nspname = 'public' DESC LIMIT 1), 'extensions'), true);

-- ---------------------------------------------------------------- messages and templates

ALTER TABLE public.messages
  ADD COLUMN IF NOT EXISTS client_id uuid,
  ADD COLUMN IF NOT EXISTS conversation_id uuid,
  ADD COLUMN IF NOT EXISTS template_id uuid,
  ADD COLUMN IF NOT EXISTS reference text,
  ADD COLUMN IF NOT EXISTS send_at timestamptz,
  ADD COLUMN IF NOT EXISTS expires_at timestamptz,
  ADD COLUMN IF NOT EXISTS error_code text,
  ADD COLUMN IF NOT EXISTS retry_of uuid;

DO $$
DECLARE
  link record;
BEGIN
  FOR link IN
    SELECT * FROM (VALUES
      ('client_id', 'clients'), ('template_id', 'message_templates'), ('retry_of', 'messages')
    ) AS links(field, target)
    WHERE NOT EXISTS (
      SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = 'public.messages'::regclass AND conname = format('messages_%s_fkey', field))
  LOOP
    EXECUTE format('ALTER TABLE public.messages ADD CONSTRAINT %I FOREIGN KEY (organization_id, %I)
      REFERENCES public.%I (organization_id, id) ON DELETE SET NULL (%2$I)',
      format('messages_%s_fkey', link.field), link.field, link.target);
  END LOOP;
END
$$;

CREATE INDEX IF NOT EXISTS idx_messages_org_client_created
  ON public.messages (organization_id, client_id, created_at DESC, id DESC)
  WHERE client_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_messages_org_template
  ON public.messages (organization_id, template_id) WHERE template_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_messages_org_retry_of
  ON public.messages (organization_id, retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_messages_org_reference
  ON public.messages (organization_id, reference) WHERE reference IS NOT NULL;

-- Calls render templates too.
DO $$
DECLARE
  old record;
BEGIN
  FOR old IN
    SELECT conname AS name FROM pg_catalog.pg_constraint
    WHERE conrelid = 'public.message_templates'::regclass AND contype = 'c'
      AND pg_get_constraintdef(oid) LIKE '%type = ANY%whatsapp%'
      AND pg_get_constraintdef(oid) NOT LIKE '%call%'
  LOOP
    EXECUTE format('ALTER TABLE public.message_templates DROP CONSTRAINT %I,
      ADD CONSTRAINT %1$I CHECK (type IN (''email'', ''sms'', ''whatsapp'', ''call''))', old.name);
  END LOOP;
END
$$;

-- Where a status stands in the one order: the highest that any event gives is the message's.
CREATE OR REPLACE FUNCTION gateway.status_rank(status text) RETURNS smallint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE status
  WHEN 'pending' THEN 0::smallint
  WHEN 'received' THEN 0::smallint
  WHEN 'sending' THEN 1::smallint
  WHEN 'unknown' THEN 2::smallint
  WHEN 'sent' THEN 3::smallint
  WHEN 'canceled' THEN 4::smallint
  WHEN 'failed' THEN 5::smallint
  WHEN 'delivered' THEN 6::smallint
  WHEN 'read' THEN 7::smallint
  ELSE (-1)::smallint
END;

-- ---------------------------------------------------------------- who sends: accounts, senders, keys

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

-- ---------------------------------------------------------------- on their way: the queue

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
  PRIMARY KEY (organization_id, message_id),
  FOREIGN KEY (organization_id, message_id)
    REFERENCES public.messages (organization_id, id) ON DELETE CASCADE
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0,
  autovacuum_analyze_threshold = 10000);
CREATE INDEX IF NOT EXISTS idx_queue_org_priority_run_at
  ON gateway.queue (organization_id, priority, run_at);

-- ---------------------------------------------------------------- what happened

-- `id` is a digest of what makes a report the same report: the primary key takes each once.
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
  PRIMARY KEY (organization_id, message_id, id),
  FOREIGN KEY (organization_id, message_id)
    REFERENCES public.messages (organization_id, id) ON DELETE CASCADE
);

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
  PRIMARY KEY (organization_id, account_id, external_id, id),
  FOREIGN KEY (organization_id, account_id)
    REFERENCES gateway.provider_accounts (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_unmatched_reports_received
  ON gateway.unmatched_reports (received_at);

CREATE TABLE IF NOT EXISTS gateway.idempotency_keys (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  key text NOT NULL,
  request_hash bytea NOT NULL,
  answer bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (organization_id, key)
);
CREATE INDEX IF NOT EXISTS idx_idempotency_keys_created ON gateway.idempotency_keys (created_at);

-- Appended by accept and folded into message_templates by a worker now and then, so that a template
-- that everybody uses is not a row that everybody waits for.
CREATE TABLE IF NOT EXISTS gateway.template_uses (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  organization_id uuid NOT NULL,
  template_id uuid NOT NULL,
  uses integer NOT NULL DEFAULT 1,
  used_at timestamptz NOT NULL DEFAULT now(),
  FOREIGN KEY (organization_id, template_id)
    REFERENCES public.message_templates (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_template_uses_org_template
  ON gateway.template_uses (organization_id, template_id);

-- ---------------------------------------------------------------- who is this address

-- The last seven digits are the same in every way of writing a number; the caller compares the rest.
CREATE INDEX IF NOT EXISTS idx_leads_org_phone_tail ON public.leads
  (organization_id, right(regexp_replace(phone, '\D', '', 'g'), 7)) WHERE phone IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_leads_org_lower_email ON public.leads (organization_id, lower(email));
CREATE INDEX IF NOT EXISTS idx_clients_org_phone_tail ON public.clients
  (organization_id, right(regexp_replace(phone, '\D', '', 'g'), 7)) WHERE phone IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_clients_org_lower_email
  ON public.clients (organization_id, lower(email));

CREATE OR REPLACE FUNCTION gateway.contacts_by_address(
  organization uuid, tails text[], emails text[]
) RETURNS TABLE (kind text, id uuid, phone text, email text, created_at timestamptz)
LANGUAGE sql STABLE
AS $$
  SELECT 'lead', l.id, l.phone, l.email, l.created_at
  FROM public.leads l
  WHERE l.organization_id = organization AND (
    (l.phone IS NOT NULL AND right(regexp_replace(l.phone, '\D', '', 'g'), 7) = ANY (tails))
    OR lower(l.email) = ANY (emails))
  UNION ALL
  SELECT 'client', c.id, c.phone, c.email, c.created_at
  FROM public.clients c
  WHERE c.organization_id = organization AND (
    (c.phone IS NOT NULL AND right(regexp_replace(c.phone, '\D', '', 'g'), 7) = ANY (tails))
    OR lower(c.email) = ANY (emails))
$$;

-- regexp_replace and lower are not leakproof, so under a policy their indexes lie idle. Here the
-- organization comes from the caller alone, and the owner is not under the policy; EXECUTE plans for
-- the values at hand.
CREATE OR REPLACE FUNCTION gateway.contacts_by_address(tails text[], emails text[])
RETURNS TABLE (kind text, id uuid, phone text, email text, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY EXECUTE 'SELECT * FROM gateway.contacts_by_address($1, $2, $3)'
    USING gateway.current_organization(), tails, emails;
END
$$;

REVOKE ALL ON FUNCTION gateway.contacts_by_address(uuid, text[], text[]),
  gateway.contacts_by_address(text[], text[]), gateway.status_rank(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.contacts_by_address(uuid, text[], text[]) TO service_role;
GRANT EXECUTE ON FUNCTION gateway.contacts_by_address(text[], text[]) TO authenticated, gateway_api;
GRANT EXECUTE ON FUNCTION gateway.status_rank(text) TO authenticated, gateway_api, service_role;

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
  managed CONSTANT text := 'organization_id = (SELECT gateway.managed_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders', 'sender_paces', 'api_keys', 'queue',
    'message_events', 'webhook_requests', 'unmatched_reports', 'idempotency_keys', 'template_uses',
    'undo', 'schema_migrations']
  LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      CASE WHEN own IN ('undo', 'schema_migrations') THEN 'FOR SELECT TO service_role USING (true)'
        ELSE 'TO service_role USING (true) WITH CHECK (true)' END);
  END LOOP;

  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders', 'api_keys', 'message_events'] LOOP
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: staff view',
      format('FOR SELECT TO authenticated USING (%s)', mine));
  END LOOP;
  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders', 'message_events'] LOOP
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: API keys view',
      format('FOR SELECT TO gateway_api USING (%s)', mine));
  END LOOP;
  FOREACH own IN ARRAY ARRAY['provider_accounts', 'senders', 'api_keys'] LOOP
    PERFORM
      gateway.set_policy(t, 'Gateway: owners and admins insert',
        format('FOR INSERT TO authenticated WITH CHECK (%s)', managed)),
      gateway.set_policy(t, 'Gateway: owners and admins update',
        format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', managed)),
      gateway.set_policy(t, 'Gateway: owners and admins delete',
        format('FOR DELETE TO authenticated USING (%s)', managed))
    FROM to_regclass(format('gateway.%I', own)) t;
  END LOOP;
END
$policies$;

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.provider_accounts, gateway.senders,
  gateway.sender_paces, gateway.api_keys, gateway.queue, gateway.webhook_requests,
  gateway.unmatched_reports, gateway.idempotency_keys, gateway.template_uses TO service_role;
GRANT SELECT, INSERT, DELETE ON gateway.message_events TO service_role;
GRANT SELECT ON gateway.undo, gateway.schema_migrations TO service_role;

-- Credentials and hashes are written by owners and admins and read by service_role alone.
GRANT SELECT (id, organization_id, provider, name, is_active, created_at, updated_at)
  ON gateway.provider_accounts TO authenticated, gateway_api;
GRANT SELECT (id, organization_id, name, prefix, is_test, created_at, revoked_at)
  ON gateway.api_keys TO authenticated;
GRANT INSERT, UPDATE, DELETE ON gateway.provider_accounts, gateway.senders, gateway.api_keys
  TO authenticated;
GRANT SELECT ON gateway.senders, gateway.message_events TO authenticated, gateway_api;

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

SELECT gateway.note_undo('20261123000003');

-- migrate:down

SELECT gateway.take_back('20261123000003');
