-- Conversations: everything said with one contact, over all channels. Every address belongs to one
-- conversation, every message to that of the address at its other end.

-- migrate:up

SELECT gateway.remember();

-- ---------------------------------------------------------------- tables

-- One row for each contact. Its counters change with every message, so it is narrow.
CREATE TABLE IF NOT EXISTS gateway.conversations (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  lead_id uuid,
  client_id uuid,
  name text, -- what they call themselves; a lead's or client's name goes first
  is_linked boolean NOT NULL DEFAULT false, -- somebody said who this is: no message changes it
  status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'closed')),
  assigned_to uuid,
  last_message_id uuid,
  last_message_at timestamptz NOT NULL DEFAULT now(),
  last_inbound_at timestamptz,
  unread_count integer NOT NULL DEFAULT 0 CHECK (unread_count >= 0),
  channels text[] NOT NULL DEFAULT '{}', -- on which something was said
  merged_into uuid, -- gone into another one; kept, so that its id still leads there
  created_at timestamptz NOT NULL DEFAULT now(),
  merging_into uuid, -- its oldest messages have moved there already
  merging_at timestamptz, -- when some last did
  coming_from uuid, -- one that its address was set apart from, which still has messages of it
  PRIMARY KEY (organization_id, id),
  FOREIGN KEY (organization_id, lead_id)
    REFERENCES public.leads (organization_id, id) ON DELETE SET NULL (lead_id),
  FOREIGN KEY (organization_id, client_id)
    REFERENCES public.clients (organization_id, id) ON DELETE SET NULL (client_id),
  FOREIGN KEY (organization_id, assigned_to)
    REFERENCES public.auth_users (organization_id, id) ON DELETE SET NULL (assigned_to),
  FOREIGN KEY (organization_id, merged_into)
    REFERENCES gateway.conversations (organization_id, id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
CREATE UNIQUE INDEX IF NOT EXISTS idx_conversations_org_lead
  ON gateway.conversations (organization_id, lead_id) WHERE lead_id IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS idx_conversations_org_client
  ON gateway.conversations (organization_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_latest
  ON gateway.conversations (organization_id, last_message_at DESC, id DESC)
  WHERE merged_into IS NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_unread
  ON gateway.conversations (organization_id, last_message_at DESC, id DESC)
  WHERE merged_into IS NULL AND unread_count > 0;
CREATE INDEX IF NOT EXISTS idx_conversations_org_assigned
  ON gateway.conversations (organization_id, assigned_to, last_message_at DESC, id DESC)
  WHERE assigned_to IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_merged
  ON gateway.conversations (organization_id, merged_into) WHERE merged_into IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_conversations_org_merging_into ON gateway.conversations
  (organization_id, merging_into) WHERE merging_into IS NOT NULL; -- asked at the end of each merge

CREATE TABLE IF NOT EXISTS gateway.conversation_addresses (
  organization_id uuid NOT NULL,
  address text NOT NULL, -- gateway.address_key of it
  conversation_id uuid NOT NULL,
  written text NOT NULL, -- as it was seen first: what can be written to
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (organization_id, address),
  FOREIGN KEY (organization_id, conversation_id)
    REFERENCES gateway.conversations (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS idx_conversation_addresses_org_conversation
  ON gateway.conversation_addresses (organization_id, conversation_id);

-- ---------------------------------------------------------------- who may do what

DO $policies$
DECLARE
  own text;
  mine CONSTANT text := 'organization_id = (SELECT gateway.current_organization())';
BEGIN
  FOREACH own IN ARRAY ARRAY['conversations', 'conversation_addresses'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM
      gateway.set_policy(t, 'Gateway: service role',
        'TO service_role USING (true) WITH CHECK (true)'),
      gateway.set_policy(t, 'Gateway: staff view',
        format('FOR SELECT TO authenticated USING (%s)', mine)),
      gateway.set_policy(t, 'Gateway: API keys view',
        format('FOR SELECT TO gateway_api USING (%s)', mine))
    FROM to_regclass(format('gateway.%I', own)) t;
  END LOOP;
  PERFORM
    gateway.set_policy('gateway.conversations', 'Gateway: staff update',
      format('FOR UPDATE TO authenticated USING (%s) WITH CHECK (%1$s)', mine)),
    gateway.set_policy('gateway.conversations', 'Gateway: API keys update',
      format('FOR UPDATE TO gateway_api USING (%s) WITH CHECK (%1$s)', mine));
END
$policies$;

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.conversations, gateway.conversation_addresses
  TO service_role;
GRANT SELECT ON gateway.conversations, gateway.conversation_addresses TO authenticated, gateway_api;
-- Who it is with (links, merges) goes through the gateway, which moves the messages with it.
GRANT UPDATE (status, assigned_to, unread_count) ON gateway.conversations
  TO authenticated, gateway_api;

-- Who it is with, whose it is, open or closed, merged: audited. What every message counts is not.
CREATE OR REPLACE TRIGGER audit_conversations AFTER UPDATE ON gateway.conversations
  FOR EACH ROW WHEN (
    (OLD.lead_id, OLD.client_id, OLD.is_linked, OLD.status, OLD.assigned_to, OLD.merged_into)
    IS DISTINCT FROM
    (NEW.lead_id, NEW.client_id, NEW.is_linked, NEW.status, NEW.assigned_to, NEW.merged_into))
  EXECUTE FUNCTION public.log_audit_trail();
CREATE OR REPLACE TRIGGER audit_conversation_addresses AFTER UPDATE ON gateway.conversation_addresses
  FOR EACH ROW EXECUTE FUNCTION public.log_audit_trail();

-- ---------------------------------------------------------------- messages that move or go

-- What is said last, how much is unread: from the messages themselves, after some were moved.
CREATE OR REPLACE FUNCTION gateway.recount_conversation(organization uuid, conversation uuid)
RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
  UPDATE gateway.conversations c SET
    last_message_id = latest.id,
    last_message_at = coalesce(latest.created_at, c.created_at),
    last_inbound_at = said.last_inbound_at,
    unread_count = least(c.unread_count, said.inbound)::integer,
    channels = said.channels
  FROM (
    SELECT max(m.created_at) FILTER (WHERE m.direction = 'inbound') AS last_inbound_at,
      count(*) FILTER (WHERE m.direction = 'inbound') AS inbound,
      coalesce(array_agg(DISTINCT m.channel ORDER BY m.channel), '{}') AS channels
    FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = conversation
  ) said
  LEFT JOIN LATERAL (
    SELECT m.id, m.created_at FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = conversation
    ORDER BY m.created_at DESC, m.id DESC LIMIT 1
  ) latest ON true
  WHERE c.organization_id = organization AND c.id = conversation
$$;

-- Where nothing is said any more, nothing is unread: another program may delete messages. Of a
-- conversation that has others left, how much is unread is not known message by message. SECURITY
-- DEFINER: who may delete a message may not change a conversation.
CREATE OR REPLACE FUNCTION gateway.unread_of_none() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  UPDATE gateway.conversations c SET unread_count = 0
  FROM (SELECT DISTINCT organization_id, conversation_id FROM gone
    WHERE direction = 'inbound' AND conversation_id IS NOT NULL) g
  WHERE c.organization_id = g.organization_id AND c.id = g.conversation_id AND c.unread_count > 0
    AND NOT EXISTS (
      SELECT FROM public.messages m
      WHERE m.organization_id = c.organization_id AND m.conversation_id = c.id);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.unread_of_none() FROM PUBLIC;
CREATE OR REPLACE TRIGGER unread_of_none AFTER DELETE ON public.messages
  REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION gateway.unread_of_none();

-- ---------------------------------------------------------------- people who go

-- Whom staff have said a conversation to be with may be deleted: then nobody has said it any more, for a
-- deleted lead's number may be another one's. Staff who say that it is with nobody are believed: whom
-- they took away is still there. SECURITY DEFINER: a policy may hide whom a caller may not see.
CREATE OR REPLACE FUNCTION gateway.forget_link() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.is_linked := EXISTS (SELECT FROM public.leads
      WHERE organization_id = OLD.organization_id AND id = OLD.lead_id)
    OR EXISTS (SELECT FROM public.clients
      WHERE organization_id = OLD.organization_id AND id = OLD.client_id);
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.forget_link() FROM PUBLIC;
CREATE OR REPLACE TRIGGER forget_link BEFORE UPDATE OF lead_id, client_id ON gateway.conversations
  FOR EACH ROW WHEN (OLD.is_linked AND NEW.is_linked
    AND coalesce(OLD.lead_id, OLD.client_id) IS NOT NULL
    AND coalesce(NEW.lead_id, NEW.client_id) IS NULL)
  EXECUTE FUNCTION gateway.forget_link();

-- A member of staff may move to another organization, or leave: what was theirs is nobody's then. The
-- keys that hold leads, invitations and conversations to the staff of their own organization would
-- refuse it. What others have locked has to be waited for: leads, which other programs lock for long,
-- before the conversations that messages wait for, as whoever accepts one does. SECURITY DEFINER: whoever
-- may move somebody may leave their leads behind.
CREATE OR REPLACE FUNCTION gateway.leave_organization() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  -- Triggers that others have on these tables find their own ones, too.
  PERFORM set_config('search_path', 'pg_catalog, public, extensions, pg_temp', true);
  UPDATE public.leads SET assigned_to = NULL WHERE organization_id = OLD.organization_id
    AND id = ANY (array(SELECT id FROM public.leads
      WHERE organization_id = OLD.organization_id AND assigned_to = OLD.id
      ORDER BY id FOR NO KEY UPDATE));
  UPDATE public.client_invitations SET invited_by = NULL
  WHERE organization_id = OLD.organization_id AND invited_by = OLD.id;
  UPDATE gateway.conversations SET assigned_to = NULL WHERE organization_id = OLD.organization_id
    AND id = ANY (array(SELECT id FROM gateway.conversations
      WHERE organization_id = OLD.organization_id AND assigned_to = OLD.id
      ORDER BY id FOR NO KEY UPDATE));
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.leave_organization() FROM PUBLIC;
-- Behind other programs' triggers in the order of names: they may say where somebody goes.
CREATE OR REPLACE TRIGGER zz_leave_organization BEFORE UPDATE ON public.auth_users
  FOR EACH ROW WHEN (OLD.organization_id IS DISTINCT FROM NEW.organization_id)
  EXECUTE FUNCTION gateway.leave_organization();

-- ---------------------------------------------------------------- merging

-- All of one conversation becomes part of another; its id leads there from then on. False where there is
-- nothing to merge (any more); null where it is to be called again, because there are more messages.
--
-- A message takes half a millisecond, in which its words are indexed anew: forty thousand at once would
-- take longer than a statement may. So each call moves the oldest 500, or the first million bytes of
-- text, whose words are half a second of work. Until the last one both conversations are shown, each with
-- what is in it, and new messages come to where they came before. `merging_into` says where some have
-- gone: such a one is merged into no third one, and its addresses are set apart from both. Of two that are
-- merged into each other at the same time, the first goes on.
--
-- Where another program's trigger or policy leaves a message where it is, or puts it elsewhere, and says
-- nothing, the merge is refused: the conversation stays, too.
CREATE OR REPLACE FUNCTION gateway.merge_conversations(organization uuid, merged uuid, kept uuid)
RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone gateway.conversations;
  oldest uuid[];
  came record;
  unread integer;
BEGIN
  PERFORM FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id IN (merged, kept)
  ORDER BY c.id FOR UPDATE;
  IF merged = kept OR 2 <> (SELECT count(*) FROM gateway.conversations c
    WHERE c.organization_id = organization AND c.id IN (merged, kept) AND c.merged_into IS NULL)
  THEN
    RETURN false;
  END IF;
  IF EXISTS (SELECT FROM gateway.conversations c
    WHERE c.organization_id = organization AND (
      c.id = merged AND c.merging_into <> kept
      OR c.id = kept AND c.merging_into = merged
        AND c.merging_at > now() - interval '20 seconds'))
  THEN
    RETURN false;
  END IF;
  oldest := ARRAY(
    SELECT o.id FROM (
      SELECT m.id, m.created_at,
        sum(m.size) OVER (ORDER BY m.created_at, m.id) - m.size AS before
      FROM (
        SELECT m.id, m.created_at, coalesce(octet_length(m.body), 0) AS size
        FROM public.messages m
        WHERE m.organization_id = organization AND m.conversation_id = merged
        ORDER BY m.created_at, m.id LIMIT 500) m
    ) o WHERE o.before < 1000000 ORDER BY o.created_at, o.id);
  -- In the order in which reports lock them.
  PERFORM FROM public.messages m
  WHERE m.organization_id = organization AND m.id = ANY (oldest)
  ORDER BY m.id FOR NO KEY UPDATE;
  UPDATE public.messages m SET conversation_id = kept
  WHERE m.organization_id = organization AND m.id = ANY (oldest);
  SELECT bool_or(m.conversation_id IS DISTINCT FROM kept) AS stayed, max(m.created_at) AS at,
    max(m.created_at) FILTER (WHERE m.direction = 'inbound') AS inbound_at,
    array_agg(DISTINCT m.channel) AS channels
  INTO came FROM public.messages m
  WHERE m.organization_id = organization AND m.id = ANY (oldest);
  IF came.stayed THEN
    RAISE EXCEPTION 'another program''s trigger or policy lets not all messages of % move', merged
      USING TABLE = 'messages', COLUMN = 'conversation_id';
  END IF;
  SELECT * INTO gone FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id = merged;
  IF EXISTS (SELECT FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged)
  THEN
    -- What is unread came last, and so goes last.
    SELECT count(*) INTO unread FROM (
      SELECT FROM public.messages m
      WHERE m.organization_id = organization AND m.conversation_id = merged
        AND m.direction = 'inbound'
      LIMIT gone.unread_count) stays;
    UPDATE gateway.conversations SET
      unread_count = unread, merging_into = kept, merging_at = now()
    WHERE organization_id = organization AND id = merged;
    UPDATE gateway.conversations c SET
      status = CASE WHEN 'open' IN (c.status, gone.status) THEN 'open' ELSE 'closed' END,
      last_message_id = CASE WHEN c.last_message_id IS NULL OR came.at > c.last_message_at
        THEN oldest[cardinality(oldest)] ELSE c.last_message_id END,
      last_message_at = CASE WHEN c.last_message_id IS NULL THEN coalesce(came.at, c.last_message_at)
        ELSE greatest(c.last_message_at, came.at) END,
      last_inbound_at = greatest(c.last_inbound_at, came.inbound_at),
      unread_count = c.unread_count + gone.unread_count - unread,
      channels = ARRAY(SELECT DISTINCT unnest(c.channels || came.channels) ORDER BY 1)
    WHERE c.organization_id = organization AND c.id = kept;
    RETURN NULL;
  END IF;
  UPDATE gateway.conversations SET merged_into = kept, lead_id = NULL, client_id = NULL,
    assigned_to = NULL, unread_count = 0, merging_into = NULL
  WHERE organization_id = organization AND id = merged;
  UPDATE gateway.conversations SET merged_into = kept
  WHERE organization_id = organization AND merged_into = merged;
  UPDATE gateway.conversations SET merging_into = nullif(kept, id)
  WHERE organization_id = organization AND merging_into = merged;
  UPDATE gateway.conversation_addresses SET conversation_id = kept
  WHERE organization_id = organization AND conversation_id = merged;
  UPDATE gateway.conversations c SET
    lead_id = coalesce(c.lead_id, gone.lead_id),
    client_id = coalesce(c.client_id, gone.client_id),
    name = coalesce(c.name, gone.name),
    is_linked = c.is_linked OR gone.is_linked,
    status = CASE WHEN 'open' IN (c.status, gone.status) THEN 'open' ELSE 'closed' END,
    assigned_to = coalesce(c.assigned_to, gone.assigned_to),
    last_message_id = CASE WHEN c.last_message_id IS NULL OR gone.last_message_at > c.last_message_at
      THEN coalesce(gone.last_message_id, c.last_message_id) ELSE c.last_message_id END,
    last_message_at = greatest(c.last_message_at, gone.last_message_at),
    last_inbound_at = greatest(c.last_inbound_at, gone.last_inbound_at),
    unread_count = c.unread_count + gone.unread_count,
    channels = ARRAY(SELECT DISTINCT unnest(c.channels || gone.channels) ORDER BY 1)
  WHERE c.organization_id = organization AND c.id = kept;
  RETURN true;
END
$$;

-- What a rule of another program's left in a conversation that was merged, or put there, goes where that
-- went, and makes itself known there ('gateway migrate up' names it: migrate.doubts).
CREATE OR REPLACE FUNCTION gateway.follow_merged(organization uuid, merged uuid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
  gone gateway.conversations;
BEGIN
  SELECT * INTO STRICT gone FROM gateway.conversations c
  WHERE c.organization_id = organization AND c.id = merged AND c.merged_into IS NOT NULL
  FOR UPDATE;
  UPDATE public.messages SET conversation_id = gone.merged_into
  WHERE organization_id = organization AND conversation_id = merged;
  IF EXISTS (SELECT FROM public.messages m
    WHERE m.organization_id = organization AND m.conversation_id = merged)
  THEN
    RAISE EXCEPTION 'another program''s trigger or policy lets not all messages of % move', merged
      USING TABLE = 'messages', COLUMN = 'conversation_id';
  END IF;
  UPDATE gateway.conversations SET
    unread_count = unread_count + gone.unread_count,
    status = CASE WHEN gone.unread_count > 0 THEN 'open' ELSE status END
  WHERE organization_id = gone.organization_id AND id = gone.merged_into;
  UPDATE gateway.conversations SET unread_count = 0
  WHERE organization_id = organization AND id = merged;
  PERFORM gateway.recount_conversation(organization, gone.merged_into);
END
$$;

REVOKE ALL ON FUNCTION gateway.recount_conversation(uuid, uuid),
  gateway.merge_conversations(uuid, uuid, uuid), gateway.follow_merged(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.recount_conversation(uuid, uuid),
  gateway.merge_conversations(uuid, uuid, uuid) TO service_role;

SELECT gateway.note_undo('20261129101100');

-- migrate:down

SELECT gateway.take_back('20261129101100');
