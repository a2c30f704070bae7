-- What the gateway adds to messages and to their templates.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- messages

ALTER TABLE public.messages
  ADD COLUMN IF NOT EXISTS client_id uuid,
  ADD COLUMN IF NOT EXISTS conversation_id uuid, -- its key follows when old messages have theirs
  ADD COLUMN IF NOT EXISTS template_id uuid,
  ADD COLUMN IF NOT EXISTS reference text,
  ADD COLUMN IF NOT EXISTS send_at timestamptz,
  ADD COLUMN IF NOT EXISTS expires_at timestamptz,
  ADD COLUMN IF NOT EXISTS error_code text,
  ADD COLUMN IF NOT EXISTS retry_of uuid,
  -- how it is said beyond its text (a provider's template, a voice, what it answers)
  ADD COLUMN IF NOT EXISTS parts jsonb;

-- They point at rows of the same organization. A key of the database's owner may have the name of ours, and
-- let a message point at another organization's row all the same: theirs stays, ours goes beside it.
-- Old rows that already point elsewhere do not stop the migration: the key holds for new rows.
DO $$
DECLARE
  link record;
  key text;
BEGIN
  FOR link IN
    SELECT * FROM (VALUES
      ('client_id', 'clients'), ('template_id', 'message_templates'), ('retry_of', 'messages')
    ) AS links(field, target)
  LOOP
    CONTINUE WHEN EXISTS (
      SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = 'public.messages'::regclass AND contype = 'f'
        AND pg_get_constraintdef(oid)
          LIKE format('FOREIGN KEY (organization_id, %I)%%', link.field));
    key := format('messages_%s_fkey', link.field);
    IF EXISTS (
      SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = 'public.messages'::regclass AND conname = key)
    THEN
      key := format('messages_organization_id_%s_fkey', link.field);
    END IF;
    EXECUTE format('ALTER TABLE public.messages ADD CONSTRAINT %I FOREIGN KEY (organization_id, %I)
      REFERENCES public.%I (organization_id, id) ON DELETE SET NULL (%2$I) NOT VALID',
      key, link.field, link.target);
    BEGIN
      EXECUTE format('ALTER TABLE public.messages VALIDATE CONSTRAINT %I', key);
    EXCEPTION WHEN foreign_key_violation THEN
      RAISE WARNING 'table messages has rows whose % belongs to another organization: they stay,'
        ' new ones are refused', link.field;
    END;
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

-- Pages, newest first. There is no index on messages.status on purpose: it changes four times a
-- message, and any index on it makes each change five times dearer (docs/decisions).
CREATE INDEX IF NOT EXISTS idx_messages_org_created
  ON public.messages (organization_id, created_at DESC, id DESC);

-- Room beside each message for the next version of it. Reports are stored together, and those that
-- come together are about messages that were sent together: all rows of a page change in one
-- transaction, before which no old version of them can go. So a page needs as much room as its rows
-- take, or three of four versions go to another page and into every index anew (docs/decisions/0017).
ALTER TABLE public.messages SET (fillfactor = 50);

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
REVOKE ALL ON FUNCTION gateway.status_rank(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.status_rank(text) TO authenticated, gateway_api, service_role;

-- What receivers go by: the newest `updated_at` of a message is that of its newest state. now() is when
-- a transaction began: of two that change a message the one that began first may be the last to change
-- it. The other trigger, which may be another program's, sets that time, so this one comes behind it in
-- the order of names; its condition is all that it costs where time goes forward. A time that somebody
-- wrote far ahead (infinity has no next microsecond) is not kept.
CREATE OR REPLACE FUNCTION gateway.go_forward() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.updated_at := OLD.updated_at + interval '1 microsecond';
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.go_forward() FROM PUBLIC;
CREATE OR REPLACE TRIGGER zz_go_forward BEFORE UPDATE ON public.messages FOR EACH ROW
  WHEN (NEW.updated_at <= OLD.updated_at AND OLD.updated_at < now() + interval '1 hour')
  EXECUTE FUNCTION gateway.go_forward();

-- ---------------------------------------------------------------- templates

-- What a template's channel needs beyond its text; see docs/operating.md.
ALTER TABLE public.message_templates ADD COLUMN IF NOT EXISTS options jsonb;

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

-- A name means one template of a type. Where old rows share a name their owner has to choose: until
-- then the newest one counts.
DO $$
BEGIN
  IF EXISTS (
    SELECT FROM public.message_templates WHERE is_active
    GROUP BY organization_id, type, name HAVING count(*) > 1
  ) THEN
    RAISE WARNING 'active message_templates of one organization and type share a name: rename them';
  ELSE
    CREATE UNIQUE INDEX IF NOT EXISTS idx_message_templates_org_type_name_active
      ON public.message_templates (organization_id, type, name) WHERE is_active;
  END IF;
END
$$;

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
ALTER TABLE gateway.template_uses ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.template_uses FORCE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.template_uses FROM PUBLIC, anon, authenticated, gateway_api;
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
  FROM to_regclass('gateway.template_uses') t;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.template_uses TO service_role;
GRANT SELECT ON gateway.template_uses TO authenticated, gateway_api;

SELECT gateway.note_undo('20261129100500');

-- migrate:down

SELECT gateway.take_back('20261129100500');
