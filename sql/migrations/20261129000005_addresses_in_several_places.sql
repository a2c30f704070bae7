-- Where the messages of an address are that are not all in its own conversation.

-- migrate:up

SELECT gateway.remember();

-- Of one that an address was set apart into, until the last of its messages have come: from where.
ALTER TABLE gateway.conversations ADD COLUMN IF NOT EXISTS coming_from uuid;

CREATE INDEX IF NOT EXISTS idx_audit_logs_org_senders ON public.audit_logs (organization_id)
  WHERE table_name = 'senders';

-- Whether an address was a sender of the caller's organization once: in messages of that time it stands
-- in everybody's conversation. SECURITY DEFINER: API keys do not read the audit trail.
CREATE OR REPLACE FUNCTION gateway.was_sender(address text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM public.audit_logs l
    WHERE l.organization_id = (SELECT gateway.current_organization()) AND l.table_name = 'senders'
      AND gateway.address_key(l.old_data ->> 'address') = gateway.address_key(address))
$$;
REVOKE ALL ON FUNCTION gateway.was_sender(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.was_sender(text) TO authenticated, gateway_api;

SELECT gateway.note_undo('20261129000005');

-- migrate:down

SELECT gateway.take_back('20261129000005');
