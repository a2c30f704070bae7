-- The schema document, whole: its tables, columns, indexes, functions and triggers under their names.
-- What is there already stays as it is; what the document leaves to be solved comes in the next file.

-- migrate:up

SELECT gateway.remember();

-- uuid_generate_v4() may be in any schema.
SELECT set_config('search_path', concat_ws(', ', 'public', (
  SELECT quote_ident(n.nspname)
  FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
  WHERE p.proname = 'uuid_generate_v4' AND p.pronargs = 0
  ORDER BY n.nspname = 'public' DESC LIMIT 1), 'extensions'), true);

CREATE TABLE IF NOT EXISTS public.organizations (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  name TEXT NOT NULL,
  slug TEXT UNIQUE,
  settings JSONB DEFAULT '{}',
  subscription_status TEXT DEFAULT 'trial',
  subscription_tier TEXT DEFAULT 'starter',
  trial_ends_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_organizations_slug ON public.organizations(slug);
CREATE INDEX IF NOT EXISTS idx_organizations_subscription_status ON public.organizations(subscription_status);

CREATE TABLE IF NOT EXISTS public.auth_users (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  auth_id UUID UNIQUE NOT NULL, -- Supabase auth.users.id
  email TEXT UNIQUE NOT NULL,
  full_name TEXT,
  organization_id UUID REFERENCES public.organizations(id) ON DELETE CASCADE,
  role TEXT DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'member')),
  is_active BOOLEAN DEFAULT true,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_auth_users_auth_id ON public.auth_users(auth_id);
CREATE INDEX IF NOT EXISTS idx_auth_users_organization_id ON public.auth_users(organization_id);
CREATE INDEX IF NOT EXISTS idx_auth_users_email ON public.auth_users(email);

CREATE TABLE IF NOT EXISTS public.client_invitations (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Client info
  email TEXT NOT NULL,
  first_name TEXT,
  last_name TEXT,
  phone TEXT,

  -- Invitation details
  invitation_token TEXT UNIQUE NOT NULL,
  is_claimed BOOLEAN DEFAULT false,
  claimed_at TIMESTAMP WITH TIME ZONE,

  -- Metadata
  invited_by UUID REFERENCES public.auth_users(id),
  custom_message TEXT,
  metadata JSONB DEFAULT '{}',

  -- Timestamps
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  expires_at TIMESTAMP WITH TIME ZONE -- NULL = never expires (GoTeamUp style)
);

CREATE INDEX IF NOT EXISTS idx_client_invitations_organization_id ON public.client_invitations(organization_id);
CREATE INDEX IF NOT EXISTS idx_client_invitations_email ON public.client_invitations(email);
CREATE INDEX IF NOT EXISTS idx_client_invitations_token ON public.client_invitations(invitation_token);
CREATE INDEX IF NOT EXISTS idx_client_invitations_is_claimed ON public.client_invitations(is_claimed);

CREATE TABLE IF NOT EXISTS public.clients (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Basic info
  first_name TEXT,
  last_name TEXT,
  name TEXT GENERATED ALWAYS AS (
    COALESCE(first_name || ' ' || last_name, first_name, last_name, 'Unknown')
  ) STORED,
  email TEXT UNIQUE NOT NULL,
  phone TEXT,

  -- Authentication
  password_hash TEXT, -- bcrypt hash for password authentication
  password_set_at TIMESTAMP WITH TIME ZONE,
  last_login_at TIMESTAMP WITH TIME ZONE,

  -- Status
  is_active BOOLEAN DEFAULT true,
  email_verified BOOLEAN DEFAULT false,

  -- Profile
  date_of_birth DATE,
  gender TEXT,
  emergency_contact_name TEXT,
  emergency_contact_phone TEXT,

  -- Membership
  membership_status TEXT DEFAULT 'active',
  membership_start_date DATE,
  membership_end_date DATE,

  -- Invitation link
  invitation_id UUID REFERENCES public.client_invitations(id),

  -- Metadata
  custom_fields JSONB DEFAULT '{}',
  notes TEXT,

  -- Timestamps
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_clients_organization_id ON public.clients(organization_id);
CREATE INDEX IF NOT EXISTS idx_clients_email ON public.clients(email);
CREATE INDEX IF NOT EXISTS idx_clients_phone ON public.clients(phone);
CREATE INDEX IF NOT EXISTS idx_clients_membership_status ON public.clients(membership_status);
CREATE INDEX IF NOT EXISTS idx_clients_is_active ON public.clients(is_active);

CREATE TABLE IF NOT EXISTS public.leads (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Basic info
  first_name TEXT,
  last_name TEXT,
  name TEXT GENERATED ALWAYS AS (
    COALESCE(first_name || ' ' || last_name, first_name, last_name, 'Unknown')
  ) STORED,
  email TEXT,
  phone TEXT,

  -- Source tracking
  source TEXT DEFAULT 'manual',
  source_details JSONB DEFAULT '{}',
  utm_source TEXT,
  utm_medium TEXT,
  utm_campaign TEXT,

  -- Status
  status TEXT DEFAULT 'new' CHECK (status IN ('new', 'contacted', 'qualified', 'converted', 'lost')),
  tags TEXT[] DEFAULT '{}',

  -- Scores
  lead_score INTEGER DEFAULT 0,
  ai_score FLOAT,

  -- Assignments
  assigned_to UUID REFERENCES public.auth_users(id),

  -- Metadata
  custom_fields JSONB DEFAULT '{}',
  notes TEXT,

  -- Timestamps
  last_contacted_at TIMESTAMP WITH TIME ZONE,
  converted_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_leads_organization_id ON public.leads(organization_id);
CREATE INDEX IF NOT EXISTS idx_leads_email ON public.leads(email);
CREATE INDEX IF NOT EXISTS idx_leads_phone ON public.leads(phone);
CREATE INDEX IF NOT EXISTS idx_leads_status ON public.leads(status);
CREATE INDEX IF NOT EXISTS idx_leads_source ON public.leads(source);
CREATE INDEX IF NOT EXISTS idx_leads_created_at ON public.leads(created_at DESC);
CREATE INDEX IF NOT EXISTS idx_leads_tags ON public.leads USING GIN(tags);

CREATE TABLE IF NOT EXISTS public.workflows (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Basic info
  name TEXT NOT NULL,
  description TEXT,

  -- Workflow definition
  trigger_type TEXT NOT NULL,
  trigger_config JSONB DEFAULT '{}',
  nodes JSONB NOT NULL DEFAULT '[]',
  edges JSONB NOT NULL DEFAULT '[]',

  -- Status
  status TEXT DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'inactive')),
  version INTEGER DEFAULT 1,

  -- Settings
  settings JSONB DEFAULT '{
    "errorHandling": "continue",
    "maxExecutionTime": 300,
    "timezone": "Europe/London"
  }',

  -- Stats
  total_executions INTEGER DEFAULT 0,
  successful_executions INTEGER DEFAULT 0,
  failed_executions INTEGER DEFAULT 0,
  last_run_at TIMESTAMP WITH TIME ZONE,

  -- Timestamps
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_workflows_organization_id ON public.workflows(organization_id);
CREATE INDEX IF NOT EXISTS idx_workflows_status ON public.workflows(status);
CREATE INDEX IF NOT EXISTS idx_workflows_trigger_type ON public.workflows(trigger_type);

CREATE TABLE IF NOT EXISTS public.workflow_executions (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  workflow_id UUID NOT NULL REFERENCES public.workflows(id) ON DELETE CASCADE,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Execution details
  status TEXT NOT NULL DEFAULT 'pending'
    CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
  triggered_by TEXT,
  trigger_data JSONB,

  -- Data
  input_data JSONB,
  output_data JSONB,
  execution_steps JSONB DEFAULT '[]',

  -- Error handling
  error_message TEXT,
  error_details JSONB,

  -- Timestamps
  started_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  completed_at TIMESTAMP WITH TIME ZONE,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_workflow_executions_workflow_id ON public.workflow_executions(workflow_id);
CREATE INDEX IF NOT EXISTS idx_workflow_executions_organization_id ON public.workflow_executions(organization_id);
CREATE INDEX IF NOT EXISTS idx_workflow_executions_status ON public.workflow_executions(status);
CREATE INDEX IF NOT EXISTS idx_workflow_executions_created_at ON public.workflow_executions(created_at DESC);

-- Unified message table for all channels
CREATE TABLE IF NOT EXISTS public.messages (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Channel info
  channel TEXT NOT NULL CHECK (channel IN ('email', 'sms', 'whatsapp', 'call')),
  direction TEXT NOT NULL CHECK (direction IN ('inbound', 'outbound')),

  -- Participants
  from_address TEXT NOT NULL,
  to_address TEXT NOT NULL,
  lead_id UUID REFERENCES public.leads(id) ON DELETE SET NULL,

  -- Content
  subject TEXT, -- For emails
  body TEXT NOT NULL,
  html_body TEXT, -- For emails
  attachments JSONB DEFAULT '[]',

  -- Status
  status TEXT DEFAULT 'pending',
  sent_at TIMESTAMP WITH TIME ZONE,
  delivered_at TIMESTAMP WITH TIME ZONE,
  read_at TIMESTAMP WITH TIME ZONE,
  failed_at TIMESTAMP WITH TIME ZONE,
  error_message TEXT,

  -- External references
  external_id TEXT, -- Twilio SID, etc.
  metadata JSONB DEFAULT '{}',

  -- Timestamps
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_messages_organization_id ON public.messages(organization_id);
CREATE INDEX IF NOT EXISTS idx_messages_lead_id ON public.messages(lead_id);
CREATE INDEX IF NOT EXISTS idx_messages_channel ON public.messages(channel);
CREATE INDEX IF NOT EXISTS idx_messages_direction ON public.messages(direction);
CREATE INDEX IF NOT EXISTS idx_messages_created_at ON public.messages(created_at DESC);
CREATE INDEX IF NOT EXISTS idx_messages_external_id ON public.messages(external_id);

CREATE TABLE IF NOT EXISTS public.forms (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Basic info
  name TEXT NOT NULL,
  description TEXT,
  type TEXT DEFAULT 'embed' CHECK (type IN ('embed', 'popup', 'standalone', 'facebook')),

  -- Form definition
  fields JSONB NOT NULL DEFAULT '[]',
  settings JSONB DEFAULT '{
    "submitButton": "Submit",
    "successMessage": "Thank you for your submission!",
    "redirectUrl": null
  }',

  -- Styling
  styles JSONB DEFAULT '{}',

  -- Status
  is_active BOOLEAN DEFAULT true,

  -- External
  external_id TEXT, -- Facebook form ID
  external_data JSONB,

  -- Stats
  submission_count INTEGER DEFAULT 0,
  last_submission_at TIMESTAMP WITH TIME ZONE,

  -- Timestamps
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_forms_organization_id ON public.forms(organization_id);
CREATE INDEX IF NOT EXISTS idx_forms_is_active ON public.forms(is_active);
CREATE INDEX IF NOT EXISTS idx_forms_external_id ON public.forms(external_id);

CREATE TABLE IF NOT EXISTS public.message_templates (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL REFERENCES public.organizations(id) ON DELETE CASCADE,

  -- Template info
  name TEXT NOT NULL,
  description TEXT,
  type TEXT NOT NULL CHECK (type IN ('email', 'sms', 'whatsapp')),
  category TEXT,

  -- Content
  subject TEXT, -- For emails
  content TEXT NOT NULL,
  variables TEXT[] DEFAULT '{}',

  -- Metadata
  is_active BOOLEAN DEFAULT true,
  tags TEXT[] DEFAULT '{}',

  -- Usage stats
  usage_count INTEGER DEFAULT 0,
  last_used_at TIMESTAMP WITH TIME ZONE,

  -- Timestamps
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW(),
  updated_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

CREATE INDEX IF NOT EXISTS idx_message_templates_organization_id ON public.message_templates(organization_id);
CREATE INDEX IF NOT EXISTS idx_message_templates_type ON public.message_templates(type);
CREATE INDEX IF NOT EXISTS idx_message_templates_is_active ON public.message_templates(is_active);

CREATE TABLE IF NOT EXISTS public.audit_logs (
  id UUID DEFAULT uuid_generate_v4() PRIMARY KEY,
  organization_id UUID NOT NULL,
  user_id UUID,
  action TEXT NOT NULL,
  table_name TEXT NOT NULL,
  record_id UUID,
  old_data JSONB,
  new_data JSONB,
  created_at TIMESTAMP WITH TIME ZONE DEFAULT NOW()
);

-- Composite indexes
CREATE INDEX IF NOT EXISTS idx_leads_org_status_created
  ON public.leads(organization_id, status, created_at DESC);

CREATE INDEX IF NOT EXISTS idx_messages_org_lead_created
  ON public.messages(organization_id, lead_id, created_at DESC);

CREATE INDEX IF NOT EXISTS idx_workflows_org_status_trigger
  ON public.workflows(organization_id, status, trigger_type);

-- A table that we made here is closed until the next file gives it its policies.
DO $$
DECLARE
  made text;
BEGIN
  FOR made IN
    SELECT now.identity FROM gateway.catalogue() now
    WHERE now.kind = 'table' AND now.identity LIKE 'public.%'
      AND NOT EXISTS (SELECT FROM pg_temp.found WHERE found.identity = now.identity)
  LOOP
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made);
  END LOOP;
END
$$;

-- Functions: the document's own words, where they are missing. (`log_audit_trail` follows in the next
-- file, because the document's would write secrets.)
DO $$
BEGIN
  IF to_regprocedure('public.update_updated_at_column()') IS NULL THEN
    CREATE FUNCTION public.update_updated_at_column()
    RETURNS TRIGGER AS $trigger$
    BEGIN
      NEW.updated_at = NOW();
      RETURN NEW;
    END;
    $trigger$ LANGUAGE plpgsql;
  END IF;
END
$$;

-- update_TABLE_updated_at on every table that has the column, unless one under another name does it.
DO $$
DECLARE
  tenant text;
BEGIN
  FOREACH tenant IN ARRAY ARRAY['organizations', 'auth_users', 'client_invitations', 'clients', 'leads',
    'workflows', 'workflow_executions', 'messages', 'forms', 'message_templates']
  LOOP
    IF NOT EXISTS (
      SELECT FROM pg_catalog.pg_trigger
      WHERE tgrelid = format('public.%I', tenant)::regclass
        AND tgfoid = 'public.update_updated_at_column()'::regprocedure)
    THEN
      EXECUTE format('CREATE TRIGGER %I BEFORE UPDATE ON public.%I
        FOR EACH ROW EXECUTE FUNCTION public.update_updated_at_column()',
        'update_' || tenant || '_updated_at', tenant);
    END IF;
  END LOOP;
END
$$;

SELECT gateway.note_undo('20261129100300');

-- migrate:down

SELECT gateway.take_back('20261129100300');
