-- What the schema document leaves to be solved: who sees what, keys that cannot point into another
-- organization, an audit trail without secrets, and the indexes that its guide asks for.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- roles

-- What an API key's request runs as. Belongs to the cluster, so it is never dropped. Whoever migrates
-- may become each of the roles, so that one login can serve in small installations.
DO $$
DECLARE
  wanted text;
  how CONSTANT text := CASE WHEN current_setting('server_version_num')::integer >= 160000
    THEN 'SET' ELSE 'MEMBER' END;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'gateway_api') THEN
    BEGIN
      CREATE ROLE gateway_api NOLOGIN NOINHERIT;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
  END IF;
  FOREACH wanted IN ARRAY ARRAY['authenticated', 'service_role', 'gateway_api'] LOOP
    BEGIN
      IF NOT pg_has_role(current_user, wanted, how) THEN
        EXECUTE format('GRANT %I TO %I', wanted, current_user);
      END IF;
    EXCEPTION
      WHEN duplicate_object OR unique_violation THEN NULL;
      WHEN insufficient_privilege THEN
        RAISE WARNING 'a superuser should run: GRANT % TO %', wanted, current_user;
    END;
  END LOOP;
END
$$;

GRANT USAGE ON SCHEMA public TO authenticated, service_role, gateway_api;
GRANT USAGE ON SCHEMA gateway TO authenticated, service_role, gateway_api;

-- ---------------------------------------------------------------- the one organization of the caller

-- The role the caller has taken on. `role` keeps its value inside SECURITY DEFINER functions, where
-- current_user is their owner, and it changes only by SET ROLE, which asks for membership: unlike
-- other settings it cannot be forged.
CREATE OR REPLACE FUNCTION gateway.caller() RETURNS text
LANGUAGE sql STABLE
RETURN CASE current_setting('role') WHEN 'none' THEN session_user::text
  ELSE current_setting('role') END;

-- SECURITY DEFINER, so that the policy of auth_users does not ask itself; the owner is not under it.
-- One value, not a set: `organization_id = (SELECT ...)` is worked out once a statement and leaves
-- every index usable. An API key's organization is a setting that counts for that role alone;
-- the claims of a JWT count for the others alone.
--
-- Functions that act as their owner have pg_temp last in their search_path: where it is not named,
-- PostgreSQL looks for types among the caller's temporary objects first, and a domain called uuid, with
-- a check of the caller's own, would run as the owner, who sees past every policy
-- (https://www.postgresql.org/docs/current/sql-createfunction.html#SQL-CREATEFUNCTION-SECURITY).
CREATE OR REPLACE FUNCTION gateway.current_organization() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT CASE gateway.caller()
    WHEN 'gateway_api' THEN nullif(current_setting('gateway.organization_id', true), '')::uuid
    ELSE (
      SELECT u.organization_id FROM public.auth_users u
      WHERE u.auth_id = auth.uid() AND u.is_active)
  END
$$;

-- The same, for owners and admins only.
CREATE OR REPLACE FUNCTION gateway.managed_organization() RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT u.organization_id FROM public.auth_users u
  WHERE u.auth_id = auth.uid() AND u.is_active AND u.role IN ('owner', 'admin')
    AND gateway.caller() <> 'gateway_api'
$$;

REVOKE ALL ON FUNCTION gateway.caller(), gateway.current_organization(),
  gateway.managed_organization() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.caller(), gateway.current_organization(),
  gateway.managed_organization() TO authenticated, service_role, gateway_api;

-- ---------------------------------------------------------------- policies, under the document's names

DO $policies$
DECLARE
  tenant text;
  old record;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
  managed CONSTANT text := 'organization_id = (SELECT gateway.managed_organization())';
  document CONSTANT text[] := ARRAY[
    'Users can view their organization''s data', 'Users can insert in their organization',
    'Users can update their organization''s data', 'Users can delete their organization''s data',
    'Staff can manage client invitations', 'Clients can view own invitation',
    'Staff can manage clients', 'Clients can view and update own record'];
  tables CONSTANT text[] := ARRAY['organizations', 'auth_users', 'client_invitations', 'clients',
    'leads', 'workflows', 'workflow_executions', 'messages', 'forms', 'message_templates',
    'audit_logs'];
BEGIN
  FOREACH tenant IN ARRAY tables LOOP
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', tenant);
    EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', tenant);
    FOR old IN
      SELECT polname AS name, polname = ANY (document) AS ours FROM pg_catalog.pg_policy
      WHERE polrelid = format('public.%I', tenant)::regclass AND polpermissive
    LOOP
      IF old.ours THEN
        EXECUTE format('DROP POLICY %I ON public.%I', old.name, tenant);
      ELSIF old.name NOT LIKE 'Gateway: %' THEN
        RAISE WARNING 'table % has a policy of its own, "%": see that it keeps organizations apart',
          tenant, old.name;
      END IF;
    END LOOP;
    -- BYPASSRLS is not everywhere to be had.
    PERFORM gateway.set_policy(format('public.%I', tenant)::regclass, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)');
  END LOOP;

  -- The pattern.
  FOREACH tenant IN ARRAY ARRAY['leads', 'workflows', 'workflow_executions', 'messages', 'forms',
    'message_templates']
  LOOP
    PERFORM
      gateway.set_policy(t, document[1], format('FOR SELECT TO authenticated USING (%s)', mine)),
      gateway.set_policy(t, document[2],
        format('FOR INSERT TO authenticated WITH CHECK (%s)', mine)),
      gateway.set_policy(t, document[3],
        format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', mine)),
      gateway.set_policy(t, document[4], format('FOR DELETE TO authenticated USING (%s)', mine))
    FROM to_regclass(format('public.%I', tenant)) t;
  END LOOP;

  -- Staff rows: colleagues are seen, but only owners and admins write, or a member would make
  -- itself the owner. WITH CHECK: nobody is moved into another organization.
  PERFORM
    gateway.set_policy('public.auth_users', document[1],
      format('FOR SELECT TO authenticated USING (%s)', mine)),
    gateway.set_policy('public.auth_users', document[2],
      format('FOR INSERT TO authenticated WITH CHECK (%s)', managed)),
    gateway.set_policy('public.auth_users', document[3],
      format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', managed)),
    gateway.set_policy('public.auth_users', document[4],
      format('FOR DELETE TO authenticated USING (%s)', managed));

  -- An organization is its own tenant: its id is what the others call organization_id.
  PERFORM
    gateway.set_policy('public.organizations', document[1],
      'FOR SELECT TO authenticated USING (id = (SELECT gateway.current_organization()))'),
    gateway.set_policy('public.organizations', document[2],
      'FOR INSERT TO authenticated WITH CHECK (id = (SELECT gateway.managed_organization()))'),
    gateway.set_policy('public.organizations', document[3],
      'FOR UPDATE TO authenticated USING (id = (SELECT gateway.managed_organization()))
       WITH CHECK (id = (SELECT gateway.managed_organization()))'),
    gateway.set_policy('public.organizations', document[4],
      'FOR DELETE TO authenticated USING (id = (SELECT gateway.managed_organization()))');

  -- The audit trail is read by owners and admins, and written by its function alone.
  PERFORM gateway.set_policy('public.audit_logs', document[1],
    format('FOR SELECT TO authenticated USING (%s)', managed));

  -- Clients share the role `authenticated` with staff. A setting that was set once in a connection
  -- reads as '' later, hence nullif.
  PERFORM
    gateway.set_policy('public.client_invitations', document[5],
      format('TO authenticated USING (%s)', mine)),
    gateway.set_policy('public.client_invitations', document[6],
      $$FOR SELECT TO authenticated USING (
        invitation_token = nullif(current_setting('jwt.claims.invitation_token', true), ''))$$),
    gateway.set_policy('public.clients', document[7], format('TO authenticated USING (%s)', mine)),
    gateway.set_policy('public.clients', document[8],
      $$TO authenticated USING (
        email = nullif(current_setting('jwt.claims.email', true), '')
        AND organization_id = nullif(current_setting('jwt.claims.organization_id', true), '')::uuid)
      $$),
    -- "view and update", says the name of a policy FOR ALL: so neither insert nor delete.
    gateway.set_policy('public.clients', 'Gateway: only staff insert clients',
      format('AS RESTRICTIVE FOR INSERT TO authenticated WITH CHECK (%s)', mine)),
    gateway.set_policy('public.clients', 'Gateway: only staff delete clients',
      format('AS RESTRICTIVE FOR DELETE TO authenticated USING (%s)', mine));

  -- API keys.
  PERFORM gateway.set_policy('public.organizations', 'Gateway: API keys view',
    'FOR SELECT TO gateway_api USING (id = (SELECT gateway.current_organization()))');
  FOREACH tenant IN ARRAY ARRAY['messages', 'leads', 'clients', 'message_templates'] LOOP
    PERFORM gateway.set_policy(format('public.%I', tenant)::regclass, 'Gateway: API keys view',
      format('FOR SELECT TO gateway_api USING (%s)', mine));
  END LOOP;
  FOREACH tenant IN ARRAY ARRAY['leads', 'clients', 'message_templates'] LOOP
    PERFORM
      gateway.set_policy(t, 'Gateway: API keys insert',
        format('FOR INSERT TO gateway_api WITH CHECK (%s)', mine)),
      gateway.set_policy(t, 'Gateway: API keys update',
        format('FOR UPDATE TO gateway_api USING (%s) WITH CHECK (%1$s)', mine))
    FROM to_regclass(format('public.%I', tenant)) t;
  END LOOP;
  PERFORM gateway.set_policy('public.message_templates', 'Gateway: API keys delete',
    format('FOR DELETE TO gateway_api USING (%s)', mine));
END
$policies$;

-- Policies cannot tell columns apart, and column privileges cannot tell clients from staff. SECURITY
-- DEFINER, because it asks who calls, which the login of another program may not; the role that was
-- taken on, and the login, stay what they were.
CREATE OR REPLACE FUNCTION gateway.guard_client_profile() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  -- `name` is generated and not yet worked out in a BEFORE trigger.
  profile CONSTANT text[] := ARRAY['first_name', 'last_name', 'name', 'phone', 'date_of_birth',
    'gender', 'emergency_contact_name', 'emergency_contact_phone', 'updated_at'];
BEGIN
  IF gateway.caller() = 'authenticated'
    AND gateway.current_organization() IS DISTINCT FROM OLD.organization_id
    AND to_jsonb(NEW) - profile IS DISTINCT FROM to_jsonb(OLD) - profile
  THEN
    RAISE insufficient_privilege USING
      MESSAGE = 'clients may change only the plain fields of their profile',
      HINT = 'These are: ' || array_to_string(profile, ', ', NULL);
  END IF;
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.guard_client_profile() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard_clients BEFORE UPDATE ON public.clients
  FOR EACH ROW EXECUTE FUNCTION gateway.guard_client_profile();

-- ---------------------------------------------------------------- grants

DO $$
DECLARE
  tenant text;
BEGIN
  FOREACH tenant IN ARRAY ARRAY['organizations', 'auth_users', 'client_invitations', 'clients',
    'leads', 'workflows', 'workflow_executions', 'messages', 'forms', 'message_templates']
  LOOP
    -- Supabase gives every role everything: TRUNCATE too, which no policy holds back.
    EXECUTE format('REVOKE ALL ON public.%I FROM PUBLIC, anon, gateway_api', tenant);
    EXECUTE format('REVOKE TRUNCATE, REFERENCES, TRIGGER ON public.%I FROM authenticated', tenant);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO authenticated, service_role',
      tenant);
  END LOOP;
END
$$;
REVOKE ALL ON public.audit_logs FROM PUBLIC, anon, authenticated, gateway_api;
GRANT SELECT, INSERT, DELETE ON public.audit_logs TO service_role;
GRANT SELECT ON public.audit_logs TO authenticated;

GRANT SELECT ON public.organizations, public.messages TO gateway_api;
GRANT SELECT, INSERT, UPDATE ON public.leads TO gateway_api;
GRANT SELECT, INSERT, UPDATE, DELETE ON public.message_templates TO gateway_api;
-- Not the password and what belongs to signing in: a key neither reads nor sets them.
GRANT SELECT (id, organization_id, first_name, last_name, name, email, phone, last_login_at, is_active,
    email_verified, date_of_birth, gender, emergency_contact_name, emergency_contact_phone,
    membership_status, membership_start_date, membership_end_date, invitation_id, custom_fields, notes,
    created_at, updated_at),
  INSERT (id, organization_id, first_name, last_name, email, phone, is_active, date_of_birth, gender,
    emergency_contact_name, emergency_contact_phone, membership_status, membership_start_date,
    membership_end_date, custom_fields, notes),
  UPDATE (first_name, last_name, email, phone, is_active, date_of_birth, gender,
    emergency_contact_name, emergency_contact_phone, membership_status, membership_start_date,
    membership_end_date, custom_fields, notes)
  ON public.clients TO gateway_api;

-- What is applied, and how it is taken back, is read by the service and written by the owner alone.
DO $$
DECLARE
  own text;
BEGIN
  FOREACH own IN ARRAY ARRAY['undo', 'schema_migrations'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      'FOR SELECT TO service_role USING (true)');
  END LOOP;
END
$$;
GRANT SELECT ON gateway.undo, gateway.schema_migrations TO service_role;

-- ---------------------------------------------------------------- keys that stay in the organization

DO $$
DECLARE
  target text;
BEGIN
  FOREACH target IN ARRAY ARRAY['auth_users', 'client_invitations', 'clients', 'leads', 'workflows',
    'messages', 'message_templates']
  LOOP
    IF NOT EXISTS (
      SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = format('public.%I', target)::regclass AND contype = 'u'
        AND pg_get_constraintdef(oid) = 'UNIQUE (organization_id, id)')
    THEN
      EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I UNIQUE (organization_id, id)',
        target, target || '_organization_id_id_key');
    END IF;
  END LOOP;
END
$$;

-- The document's foreign keys let a row point at another organization's. Each is replaced by one over
-- (organization_id, column) that does the same otherwise and keeps its name. Old rows that already
-- point elsewhere do not stop the migration: then both keys stay, and the new one holds for new rows.
DO $$
DECLARE
  link record;
  old record;
  combined text;
BEGIN
  FOR link IN
    SELECT * FROM (VALUES
      ('client_invitations', 'invited_by', 'auth_users', ''),
      ('clients', 'invitation_id', 'client_invitations', ''),
      ('leads', 'assigned_to', 'auth_users', ''),
      ('workflow_executions', 'workflow_id', 'workflows', 'ON DELETE CASCADE'),
      ('messages', 'lead_id', 'leads', 'ON DELETE SET NULL (lead_id)')
    ) AS links(tenant, field, target, action)
  LOOP
    CONTINUE WHEN EXISTS (
      SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = format('public.%I', link.tenant)::regclass AND contype = 'f'
        AND pg_get_constraintdef(oid) LIKE format('FOREIGN KEY (organization_id, %I)%%', link.field));
    combined := format('%s_organization_id_%s_fkey', link.tenant, link.field);
    EXECUTE format('ALTER TABLE public.%I ADD CONSTRAINT %I FOREIGN KEY (organization_id, %I)
      REFERENCES public.%I (organization_id, id) %s NOT VALID',
      link.tenant, combined, link.field, link.target, link.action);
    BEGIN
      EXECUTE format('ALTER TABLE public.%I VALIDATE CONSTRAINT %I', link.tenant, combined);
      FOR old IN
        SELECT conname AS name FROM pg_catalog.pg_constraint
        WHERE conrelid = format('public.%I', link.tenant)::regclass AND contype = 'f'
          AND pg_get_constraintdef(oid) LIKE format('FOREIGN KEY (%I)%%', link.field)
      LOOP
        EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT %I', link.tenant, old.name);
      END LOOP;
      EXECUTE format('ALTER TABLE public.%I RENAME CONSTRAINT %I TO %I', link.tenant, combined,
        format('%s_%s_fkey', link.tenant, link.field));
    EXCEPTION WHEN foreign_key_violation THEN
      RAISE WARNING 'table % has rows whose % belongs to another organization: they stay, new ones are refused',
        link.tenant, link.field;
    END;
  END LOOP;
END
$$;

-- ---------------------------------------------------------------- audit trail

-- The document's function, which would write password hashes and tokens, could be written to by every
-- caller, knew nothing of organizations (their id is the organization) and forgot old_data on UPDATE.
CREATE OR REPLACE FUNCTION public.log_audit_trail() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  secrets CONSTANT text[] := ARRAY['password_hash', 'invitation_token', 'credentials', 'hash'];
  -- An update of these alone is the machine counting, not somebody changing something.
  counters CONSTANT text[] := ARRAY['updated_at', 'usage_count', 'last_used_at', 'last_contacted_at',
    'last_login_at', 'total_executions', 'successful_executions', 'failed_executions', 'last_run_at',
    'submission_count', 'last_submission_at'];
  nobody CONSTANT uuid := '00000000-0000-0000-0000-000000000000';
  -- Somebody's own trigger may be a BEFORE one, where this is the row that is written.
  result CONSTANT record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
  before jsonb;
  after jsonb;
  secret text;
BEGIN
  IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
  IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
  IF TG_OP = 'UPDATE' AND before - counters = after - counters THEN
    RETURN result;
  END IF;
  FOREACH secret IN ARRAY secrets LOOP
    IF after ->> secret IS NOT NULL THEN
      after := after || jsonb_build_object(secret,
        CASE WHEN TG_OP = 'UPDATE' AND before -> secret <> after -> secret
          THEN '[secret, changed]' ELSE '[secret]' END);
    END IF;
    IF before ->> secret IS NOT NULL THEN
      before := before || jsonb_build_object(secret, '[secret]');
    END IF;
  END LOOP;
  INSERT INTO public.audit_logs
    (organization_id, user_id, action, table_name, record_id, old_data, new_data)
  VALUES (
    CASE TG_TABLE_NAME
      WHEN 'organizations' THEN (coalesce(after, before) ->> 'id')::uuid
      -- Staff without an organization: kept, where no organization sees it.
      ELSE coalesce((after ->> 'organization_id')::uuid, (before ->> 'organization_id')::uuid, nobody)
    END,
    auth.uid(), TG_OP, TG_TABLE_NAME, (coalesce(after, before) ->> 'id')::uuid, before, after);
  RETURN result;
END
$$;
-- Whoever may execute it could hang it on a table of their own and so write what they like.
REVOKE ALL ON FUNCTION public.log_audit_trail() FROM PUBLIC, anon, authenticated, gateway_api;

-- Every tenant table but `messages` (its own events are its trail, four updates a message would double
-- the cost) and, in later files, the gateway's hot tables (queue, paces, events, requests).
DO $$
DECLARE
  tenant text;
BEGIN
  FOREACH tenant IN ARRAY ARRAY['organizations', 'auth_users', 'client_invitations', 'clients',
    'leads', 'workflows', 'workflow_executions', 'forms', 'message_templates']
  LOOP
    IF NOT EXISTS (
      SELECT FROM pg_catalog.pg_trigger
      WHERE tgrelid = format('public.%I', tenant)::regclass
        AND tgfoid = 'public.log_audit_trail()'::regprocedure)
    THEN
      EXECUTE format('CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE ON public.%I
        FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail()', 'audit_' || tenant, tenant);
    END IF;
  END LOOP;
END
$$;
CREATE INDEX IF NOT EXISTS idx_audit_logs_org_created
  ON public.audit_logs (organization_id, created_at DESC);
CREATE INDEX IF NOT EXISTS idx_audit_logs_org_record
  ON public.audit_logs (organization_id, record_id);

-- ---------------------------------------------------------------- indexes

-- Foreign keys that the document leaves without one. (messages has idx_messages_org_lead_created.)
CREATE INDEX IF NOT EXISTS idx_client_invitations_org_invited_by
  ON public.client_invitations (organization_id, invited_by) WHERE invited_by IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_clients_org_invitation
  ON public.clients (organization_id, invitation_id) WHERE invitation_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_leads_org_assigned_to
  ON public.leads (organization_id, assigned_to) WHERE assigned_to IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_workflow_executions_org_workflow
  ON public.workflow_executions (organization_id, workflow_id);

-- JSONB and arrays that are searched, by containment.
CREATE INDEX IF NOT EXISTS idx_leads_custom_fields
  ON public.leads USING gin (custom_fields jsonb_path_ops);
CREATE INDEX IF NOT EXISTS idx_clients_custom_fields
  ON public.clients USING gin (custom_fields jsonb_path_ops);
CREATE INDEX IF NOT EXISTS idx_message_templates_tags ON public.message_templates USING gin (tags);

SELECT gateway.note_undo('20261129100400');

-- migrate:down

SELECT gateway.take_back('20261129100400');
