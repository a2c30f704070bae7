-- $n messages in 100 organizations; the first has two fifths of them. The messages of contacts follow
-- Zipf's law: the k-th of an organization has a share of 1/k. "parcel" is in half of all messages,
-- "xylophone" in five of the first organization. Texts are made from 5,000 sentences of 8,000 words, which
-- follow Zipf's law, too.
-- Run as a superuser, on a database with all migrations and no rows.

SET synchronous_commit = off;
SET session_replication_role = replica; -- foreign keys need no checks: they are right by construction
SET work_mem = '256MB';
SET maintenance_work_mem = '512MB';
SELECT setseed(0.5);

INSERT INTO organizations (id, name)
  SELECT md5('org ' || n)::uuid, 'Org ' || n FROM generate_series(0, 99) n;
INSERT INTO auth_users (id, auth_id, email, organization_id, role)
  SELECT id, id, name || '@example.com', id, 'member' FROM organizations;

CREATE TEMP TABLE sentences AS
  SELECT n, (
    SELECT initcap(string_agg('word' || floor(8000 ^ random())::int, ' ')) || '. '
    FROM generate_series(1, 8 + n % 6)) AS said
  FROM generate_series(0, 4999) n;
CREATE UNIQUE INDEX ON sentences (n);
ANALYZE sentences;

-- Indexes are dropped, and made again afterwards: that is faster than updating them.
CREATE TEMP TABLE indexes AS
  SELECT pg_get_indexdef(i.indexrelid) AS made, i.indexrelid::regclass::text AS name
  FROM pg_index i
  WHERE i.indrelid = 'messages'::regclass AND NOT EXISTS (
    SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid);
DO $$
DECLARE one text;
BEGIN
  FOR one IN SELECT 'DROP INDEX ' || name FROM indexes LOOP EXECUTE one; END LOOP;
END
$$;

INSERT INTO messages (id, organization_id, conversation_id, channel, direction, from_address,
    to_address, subject, body, status, created_at)
  SELECT md5('message ' || c.n)::uuid, md5('org ' || c.org)::uuid,
    md5('conversation ' || c.org || ' ' || c.k)::uuid,
    (ARRAY['sms', 'whatsapp', 'email', 'call'])[1 + c.n % 4],
    CASE WHEN c.n % 3 = 0 THEN 'inbound' ELSE 'outbound' END,
    CASE WHEN c.n % 3 = 0 THEN '+1555' || 1000000 + c.k ELSE '+15550000000' END,
    CASE WHEN c.n % 3 = 0 THEN '+15550000000' ELSE '+1555' || 1000000 + c.k END,
    CASE WHEN c.n % 4 = 2 THEN 'Subject ' || c.n % 1000 END,
    a.said || b.said || CASE WHEN hashint8(c.n) % 2 = 0 THEN 'Your parcel is on its way.'
      ELSE 'We hear you.' END || ' Case ' || c.n
      || CASE WHEN c.n % ($n / 5) = 1 THEN ' xylophone' ELSE '' END,
    CASE WHEN c.n % 3 = 0 THEN 'received' ELSE 'delivered' END,
    timestamptz '2026-01-01' + c.n * interval '7 seconds'
  FROM (
    SELECT n::bigint, org,
      floor(greatest($n * CASE WHEN org = 0 THEN 0.04 ELSE 0.0006 END, 2) ^ random())::int AS k
    FROM (
      SELECT n, CASE WHEN n % 5 < 2 THEN 0 ELSE 1 + (n / 5 * 3 + n % 5 - 2) % 99 END AS org
      FROM generate_series(1, $n) n) numbered
  ) c
  JOIN sentences a ON a.n = c.n * 7919 % 5000
  JOIN sentences b ON b.n = c.n * 104729 % 5000
  ORDER BY c.n;

DO $$
DECLARE one text;
BEGIN
  FOR one IN SELECT made FROM indexes LOOP EXECUTE one; END LOOP;
END
$$;

-- Every second contact is a lead with a name.
INSERT INTO gateway.conversations (organization_id, id, lead_id, channels, last_message_at,
    last_message_id, last_inbound_at, unread_count)
  SELECT organization_id, conversation_id,
    CASE WHEN hashtext(conversation_id::text) % 2 = 0 THEN conversation_id END,
    array_agg(DISTINCT channel), max(created_at), '00000000-0000-0000-0000-000000000000',
    max(created_at) FILTER (WHERE direction = 'inbound'),
    CASE WHEN hashtext(conversation_id::text) % 10 = 0 THEN 1 ELSE 0 END
  FROM messages GROUP BY organization_id, conversation_id;
UPDATE gateway.conversations c SET last_message_id = (
  SELECT m.id FROM messages m
  WHERE m.organization_id = c.organization_id AND m.conversation_id = c.id
  ORDER BY m.created_at DESC, m.id DESC LIMIT 1);
INSERT INTO leads (id, organization_id, first_name, last_name, phone)
  SELECT lead_id, organization_id,
    (ARRAY['Ada', 'Ben', 'Cleo', 'Dina', 'Emil', 'Fatima', 'Goran', 'Hana', 'Ivo', 'Jun'])
      [1 + abs(hashtext('first ' || id)) % 10],
    'Name' || abs(hashtext('last ' || id)) % 5000, NULL
  FROM gateway.conversations WHERE lead_id IS NOT NULL;
INSERT INTO gateway.conversation_addresses (organization_id, address, conversation_id, written)
  SELECT DISTINCT ON (organization_id, address) organization_id, address, conversation_id, address
  FROM (
    SELECT organization_id, conversation_id,
      max(CASE direction WHEN 'inbound' THEN from_address ELSE to_address END) AS address
    FROM messages GROUP BY organization_id, conversation_id) theirs;

RESET session_replication_role;
