-- Addresses: the one form of each, the other forms it is written in, whose it is, and which were ours.

-- migrate:up

SELECT gateway.remember();

-- Where the gateway's tables were taken back, and come again, the audit trail may still be there: it tells
-- what was a sender. It may be long, and is read before anything is locked.
DROP TABLE IF EXISTS pg_temp.were_senders;
CREATE TEMP TABLE were_senders AS
SELECT DISTINCT l.organization_id, each.address
FROM public.audit_logs l
CROSS JOIN LATERAL (VALUES (l.old_data ->> 'address'), (l.new_data ->> 'address')) AS each (address)
WHERE l.table_name = 'senders' AND each.address IS NOT NULL;

-- ---------------------------------------------------------------- forms

-- The one form of an address, on whatever channel: mailboxes in small letters, mobile numbers of
-- Mexico, Argentina and Brazil without the digit that comes and goes (channels/phone.py has the same
-- three). NULL for what networks say of a caller who hides: nobody's address is everybody's.
CREATE OR REPLACE FUNCTION gateway.address_key(address text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN octet_length(address) > 1000 THEN 'md5:' || md5(address) -- an index holds 2,704 bytes
  WHEN address LIKE '%@%' THEN lower(btrim(address))
  WHEN address LIKE '+52%' AND address ~ '^\+521?[0-9]{10}$' THEN '+52' || right(address, 10)
  WHEN address LIKE '+54%' AND address ~ '^\+549?[0-9]{10}$' THEN '+54' || right(address, 10)
  WHEN address LIKE '+55%' AND address ~ '^\+55[0-9]{2}9?[6-9][0-9]{7}$'
    THEN '+55' || substr(address, 4, 2) || right(address, 8)
  -- https://help.twilio.com/articles/223179988: ANONYMOUS, RESTRICTED, BLOCKED, UNKNOWN, UNAVAILABLE
  WHEN lower(btrim(address)) IN ('', 'anonymous', 'restricted', 'blocked', 'unknown', 'unavailable',
    'private', '+266696687', '+7378742833', '+2562533', '+8656696', '+86282452253') THEN NULL
  ELSE btrim(address)
END;

-- Every form in which whoever has this address may be suppressed: a mailbox in small letters; a mobile
-- number of Mexico, Argentina or Brazil without the digit that comes and goes and with it
-- (addresses.forms says the same in Python). Brazil's ninth digit is a 9, the others stand before the
-- area code.
CREATE OR REPLACE FUNCTION gateway.address_forms(address text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN address LIKE '%@%' THEN ARRAY[lower(address)]
  WHEN address LIKE '+52%' AND address ~ '^\+521?[0-9]{10}$'
    THEN ARRAY['+52' || right(address, 10), '+521' || right(address, 10)]
  WHEN address LIKE '+54%' AND address ~ '^\+549?[0-9]{10}$'
    THEN ARRAY['+54' || right(address, 10), '+549' || right(address, 10)]
  WHEN address LIKE '+55%' AND address ~ '^\+55[0-9]{2}9?[6-9][0-9]{7}$' THEN ARRAY[
    left(address, 5) || right(address, 8), left(address, 5) || '9' || right(address, 8)]
  ELSE ARRAY[address]
END;
REVOKE ALL ON FUNCTION gateway.address_forms(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.address_forms(text)
  TO authenticated, gateway_api, service_role;

-- ---------------------------------------------------------------- whose they are

-- The last seven digits are the same in every way of writing a number; the caller compares the rest.
-- Blanks around a mailbox, as an imported table leaves them, are no part of it: other programs write it
-- as they have it.
CREATE INDEX IF NOT EXISTS idx_leads_org_phone_tail ON public.leads
  (organization_id, right(regexp_replace(phone, '\D', '', 'g'), 7)) WHERE phone IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_clients_org_phone_tail ON public.clients
  (organization_id, right(regexp_replace(phone, '\D', '', 'g'), 7)) WHERE phone IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_leads_org_mailbox ON public.leads
  (organization_id, lower(btrim(email, E' \t\r\n')));
CREATE INDEX IF NOT EXISTS idx_clients_org_mailbox ON public.clients
  (organization_id, lower(btrim(email, E' \t\r\n')));

-- Each address is looked for by itself, and found as often as it is given: to plan for a hundred values in
-- an array takes twenty times as long as to look for them. LATERAL and OFFSET 0 have it look for each
-- address, not read all.
--
-- One plan is right for every address where PostgreSQL's statistics speak of a table of about this size.
-- ANALYZE has a plan that is kept made anew; until it comes by, one that was made for a smaller table
-- may read all of it, so in a table that has outgrown its statistics each search is planned for what is
-- there. An empty table has none to outgrow: to plan for it would take half as long as all the rest.
CREATE OR REPLACE FUNCTION gateway.contacts_by_address(
  organization uuid, tails text[], emails text[]
) RETURNS TABLE (kind text, id uuid, phone text, email text, created_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
  SET plan_cache_mode = force_generic_plan SET enable_seqscan = off
AS $$
DECLARE
  once CONSTANT text := 'force_generic_plan';
  each CONSTANT text := 'force_custom_plan';
  page CONSTANT bigint := current_setting('block_size')::bigint;
  leads CONSTANT text := (
    SELECT CASE WHEN pg_relation_size(oid) > 2 * relpages * page THEN each ELSE once END
    FROM pg_class WHERE oid = 'public.leads'::regclass);
  clients CONSTANT text := (
    SELECT CASE WHEN pg_relation_size(oid) > 2 * relpages * page THEN each ELSE once END
    FROM pg_class WHERE oid = 'public.clients'::regclass);
  mode text;
BEGIN
  mode := set_config('plan_cache_mode', leads, true);
  IF tails <> '{}' THEN
    RETURN QUERY SELECT 'lead', found.* FROM unnest(tails) AS wanted (tail) CROSS JOIN LATERAL (
      SELECT l.id, l.phone, l.email, l.created_at FROM public.leads l
      WHERE l.organization_id = organization AND l.phone IS NOT NULL
        AND right(regexp_replace(l.phone, '\D', '', 'g'), 7) = wanted.tail
      OFFSET 0) found;
  END IF;
  IF emails <> '{}' THEN
    RETURN QUERY SELECT 'lead', found.* FROM unnest(emails) AS wanted (mailbox) CROSS JOIN LATERAL (
      SELECT l.id, l.phone, l.email, l.created_at FROM public.leads l
      WHERE l.organization_id = organization AND lower(btrim(l.email, E' \t\r\n'))
          = wanted.mailbox
        AND (right(regexp_replace(l.phone, '\D', '', 'g'), 7) = ANY (tails)) IS NOT TRUE -- not once more
      OFFSET 0) found;
  END IF;
  mode := set_config('plan_cache_mode', clients, true);
  IF tails <> '{}' THEN
    RETURN QUERY SELECT 'client', found.* FROM unnest(tails) AS wanted (tail) CROSS JOIN LATERAL (
      SELECT k.id, k.phone, k.email, k.created_at FROM public.clients k
      WHERE k.organization_id = organization AND k.phone IS NOT NULL
        AND right(regexp_replace(k.phone, '\D', '', 'g'), 7) = wanted.tail
      OFFSET 0) found;
  END IF;
  IF emails <> '{}' THEN
    RETURN QUERY SELECT 'client', found.* FROM unnest(emails) AS wanted (mailbox) CROSS JOIN LATERAL (
      SELECT k.id, k.phone, k.email, k.created_at FROM public.clients k
      WHERE k.organization_id = organization AND lower(btrim(k.email, E' \t\r\n'))
          = wanted.mailbox
        AND (right(regexp_replace(k.phone, '\D', '', 'g'), 7) = ANY (tails)) IS NOT TRUE -- not once more
      OFFSET 0) found;
  END IF;
END
$$;

-- The same for the caller. regexp_replace and lower are not leakproof, so under a policy their indexes
-- lie idle. Here the organization is the caller's alone, and the owner is not under the policy.
CREATE OR REPLACE FUNCTION gateway.contacts_by_address(tails text[], emails text[])
RETURNS TABLE (kind text, id uuid, phone text, email text, created_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  RETURN QUERY
    SELECT * FROM gateway.contacts_by_address(gateway.current_organization(), tails, emails);
END
$$;

-- The newest lead and the newest client that have this address. Ours are in E.164, theirs as somebody
-- typed them: the last nine digits tell, or all of a shorter one.
CREATE OR REPLACE FUNCTION gateway.owner_of(
  organization uuid, address text, OUT lead_id uuid, OUT client_id uuid
)
LANGUAGE sql STABLE
AS $$
  WITH found AS (
    SELECT c.kind, c.id, c.created_at
    FROM gateway.contacts_by_address(
      organization,
      CASE WHEN address ~ '^\+[0-9]{7,15}$' THEN ARRAY[right(address, 7)] ELSE '{}' END,
      CASE WHEN address LIKE '%@%' THEN ARRAY[gateway.address_key(address)] ELSE '{}' END
    ) c
    WHERE address LIKE '%@%'
      OR right(ltrim(regexp_replace(c.phone, '\D', '', 'g'), '0'), 9)
        = right(address, least(9, length(ltrim(regexp_replace(c.phone, '\D', '', 'g'), '0'))))
  )
  SELECT
    (SELECT f.id FROM found f WHERE f.kind = 'lead' ORDER BY f.created_at DESC, f.id LIMIT 1),
    (SELECT f.id FROM found f WHERE f.kind = 'client' ORDER BY f.created_at DESC, f.id LIMIT 1)
$$;

REVOKE ALL ON FUNCTION gateway.address_key(text), gateway.owner_of(uuid, text),
  gateway.contacts_by_address(uuid, text[], text[]), gateway.contacts_by_address(text[], text[])
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.contacts_by_address(uuid, text[], text[]),
  gateway.owner_of(uuid, text) TO service_role;
GRANT EXECUTE ON FUNCTION gateway.contacts_by_address(text[], text[]) TO authenticated, gateway_api;
GRANT EXECUTE ON FUNCTION gateway.address_key(text) TO authenticated, gateway_api, service_role;

-- ---------------------------------------------------------------- which were ours

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
SELECT w.organization_id, gateway.address_key(w.address) FROM pg_temp.were_senders w
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

SELECT gateway.note_undo('20261129101000');

-- migrate:down

SELECT gateway.take_back('20261129101000');
