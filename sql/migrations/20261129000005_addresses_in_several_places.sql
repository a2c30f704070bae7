-- Where the messages of an address are that are not all in its own conversation.

-- migrate:up

SELECT gateway.remember();

-- The audit trail may be long: it is read before anything is locked.
DROP TABLE IF EXISTS pg_temp.were_senders;
CREATE TEMP TABLE were_senders AS
SELECT DISTINCT l.organization_id, gateway.address_key(each.written) AS address
FROM public.audit_logs l
CROSS JOIN LATERAL (VALUES (l.old_data ->> 'address'), (l.new_data ->> 'address')) AS each (written)
WHERE l.table_name = 'senders' AND each.written IS NOT NULL;

-- What is a sender of ours, or was one once.
CREATE TABLE IF NOT EXISTS gateway.sender_addresses (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  address text NOT NULL, -- gateway.address_key of it
  PRIMARY KEY (organization_id, address)
);
ALTER TABLE gateway.sender_addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE gateway.sender_addresses FORCE ROW LEVEL SECURITY;
REVOKE ALL ON gateway.sender_addresses FROM PUBLIC, anon, authenticated, gateway_api;
DO $$
BEGIN
  PERFORM gateway.set_policy('gateway.sender_addresses'::regclass, 'Gateway: service role',
    'TO service_role USING (true) WITH CHECK (true)');
END
$$;
GRANT SELECT, INSERT, DELETE ON gateway.sender_addresses TO service_role;

-- SECURITY DEFINER: owners and admins change senders, but do not write what was one.
CREATE OR REPLACE FUNCTION gateway.keep_sender_address() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  INSERT INTO gateway.sender_addresses (organization_id, address)
  VALUES (NEW.organization_id, gateway.address_key(NEW.address))
  ON CONFLICT DO NOTHING;
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION gateway.keep_sender_address() FROM PUBLIC;
CREATE OR REPLACE TRIGGER keep_sender_address AFTER INSERT OR UPDATE OF address ON gateway.senders
  FOR EACH ROW EXECUTE FUNCTION gateway.keep_sender_address();

INSERT INTO gateway.sender_addresses (organization_id, address)
SELECT w.organization_id, w.address FROM pg_temp.were_senders w
JOIN public.organizations o ON o.id = w.organization_id
UNION
SELECT organization_id, gateway.address_key(address) FROM gateway.senders
ON CONFLICT DO NOTHING;
DROP TABLE pg_temp.were_senders;

-- Whether an address is a sender of the caller's organization or was one once: in messages of that time
-- it stands in everybody's conversation. SECURITY DEFINER: nobody else reads them.
CREATE OR REPLACE FUNCTION gateway.was_sender(address text) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT EXISTS (
    SELECT FROM gateway.sender_addresses s
    WHERE s.organization_id = (SELECT gateway.current_organization())
      AND s.address = gateway.address_key(was_sender.address))
$$;
REVOKE ALL ON FUNCTION gateway.was_sender(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.was_sender(text) TO authenticated, gateway_api;

-- Of one that an address was set apart into, until the last of its messages have come: from where.
ALTER TABLE gateway.conversations ADD COLUMN IF NOT EXISTS coming_from uuid;

SELECT gateway.note_undo('20261129000005');

-- migrate:down

SELECT gateway.take_back('20261129000005');
