-- Addresses that must not be written to: statements about them (evidence), and the suppressions
-- that follow from these.

-- name: lock
-- Statements about one address are applied one after the other, because suppressions are derived
-- from all of them. $1: lock keys, each shared by many addresses; always taken in the same order,
-- so that no two transactions deadlock.
SELECT pg_advisory_xact_lock(hashtextextended(k, 7042))
FROM unnest($1::text[]) AS k ORDER BY k;

-- name: on_behalf
-- The audit trail names $1 for whatever this transaction changes from here on.
SELECT set_config('request.jwt.claims', json_build_object('sub', $1::uuid)::text, true);

-- name: change
-- Appends statements and derives the suppressions: a statement holds until a later one takes it back,
-- whatever their order of arrival; of two at the same instant, the one that suppresses wins. A lift may be
-- limited to what one source said, to what it said about one group of its own (source:group), or about
-- none (source:). $1: json array, $2: organization.
WITH incoming AS MATERIALIZED (
  SELECT DISTINCT ON (id) * FROM json_to_recordset($1::json) AS i (
    id uuid, channel text, address text, reason text, is_lifted boolean, occurred_at timestamptz,
    source text, detail jsonb, of_source text
  ) ORDER BY id
), fresh AS (
  INSERT INTO gateway.consent_events (
    organization_id, id, channel, address, reason, is_lifted, occurred_at, source, detail, of_source
  )
  SELECT $2, id, channel, address, reason, is_lifted,
    -- a statement from a fast clock must not outweigh later ones
    least(occurred_at, clock_timestamp()), source, coalesce(detail, '{}'), of_source
  FROM incoming
  ON CONFLICT DO NOTHING
  RETURNING id, channel, address, reason, is_lifted, occurred_at, source, detail, of_source
), said AS MATERIALIZED (
  SELECT e.id, e.channel, e.address, e.reason, e.is_lifted, e.occurred_at, e.source, e.detail,
    e.of_source
  FROM gateway.consent_events e
  WHERE e.organization_id = $2 AND (e.channel, e.address, e.reason) IN (
    SELECT f.channel, f.address, f.reason FROM fresh f)
  UNION ALL
  SELECT * FROM fresh
), lifts AS MATERIALIZED (
  SELECT channel, address, reason, of_source, max(occurred_at) AS occurred_at
  FROM said WHERE is_lifted GROUP BY channel, address, reason, of_source
), standing AS MATERIALIZED (
  SELECT DISTINCT ON (channel, address, reason) id, channel, address, reason, occurred_at, source,
    detail
  FROM said s
  WHERE NOT s.is_lifted AND NOT EXISTS (
    SELECT FROM lifts l
    WHERE l.channel = s.channel AND l.address = s.address AND l.reason = s.reason
      AND l.occurred_at > s.occurred_at AND (l.of_source IS NULL
        OR l.of_source IN (s.source, s.source || ':' || coalesce(s.detail ->> 'of_group', ''))))
  ORDER BY channel, address, reason, occurred_at DESC
), lifted AS (
  DELETE FROM gateway.suppressions s USING (
    SELECT channel, address, reason FROM fresh EXCEPT SELECT channel, address, reason FROM standing
  ) l
  WHERE s.organization_id = $2 AND s.channel = l.channel AND s.address = l.address
    AND s.reason = l.reason
  RETURNING s.id
), made AS (
  INSERT INTO gateway.suppressions (organization_id, id, channel, address, reason, source, evidence)
  SELECT $2, id, channel, address, reason, source,
    detail || jsonb_build_object('occurred_at', occurred_at)
  FROM standing
  ON CONFLICT (organization_id, channel, address, reason) DO NOTHING
  RETURNING id
)
SELECT count(*) FROM fresh;

-- name: known
SELECT id FROM gateway.consent_events WHERE organization_id = $1 AND id = ANY ($2::uuid[]);

-- name: also_known_as
-- The other WhatsApp addresses of the people who have one of these ($2): those in the same
-- conversation, which may have user ids and numbers. A number belongs to one person, so it never
-- leads to another number.
SELECT said.address AS said_of, o.written AS address
FROM unnest($2::text[]) AS said (address)
JOIN gateway.conversation_addresses a
  ON a.organization_id = $1 AND a.address = gateway.address_key(said.address)
CROSS JOIN LATERAL (
  SELECT o.written FROM gateway.conversation_addresses o
  WHERE o.organization_id = a.organization_id AND o.conversation_id = a.conversation_id
    AND o.address <> a.address AND o.address NOT LIKE '%@%'
    AND NOT (o.address LIKE '+%' AND a.address LIKE '+%')
  LIMIT 50
) o;

-- name: said_of
-- The other WhatsApp addresses that were suppressed by the same statement as one of these ($2).
SELECT said.address AS said_of, o.address
FROM unnest($2::text[]) AS said (address)
CROSS JOIN LATERAL (
  SELECT DISTINCT o.address
  FROM gateway.consent_events e, jsonb_array_elements_text(
    CASE WHEN jsonb_typeof(e.detail -> 'said_of') = 'array' THEN e.detail -> 'said_of'
      ELSE '[]' END
  ) AS o (address)
  WHERE e.organization_id = $1 AND e.channel = 'whatsapp' AND e.address = said.address
    AND NOT e.is_lifted AND o.address <> e.address
  LIMIT 50
) o;

-- name: said_elsewhere
-- Statements that still hold for one WhatsApp address of a person, but not for another one. $2:
-- json array of {n, addresses, before}, each with the addresses of one person; if `before` is
-- given, only statements from before then. As above, none passes from one number to another, not
-- even by way of a user id.
WITH theirs AS MATERIALIZED (
  SELECT i.n, i.before, each.address
  FROM json_to_recordset($2::json) AS i (n integer, addresses text[], before timestamptz),
    unnest(i.addresses) AS each (address)
)
SELECT DISTINCT ON (o.address, said.reason) o.address AS also, said.*
FROM theirs o
JOIN theirs a ON a.n = o.n AND a.address <> o.address
  AND NOT (a.address LIKE '+%' AND o.address LIKE '+%')
CROSS JOIN LATERAL (
  SELECT s.reason FROM gateway.suppressions s
  WHERE s.organization_id = $1 AND s.channel = 'whatsapp' AND s.address = a.address
    AND s.reason IN ('stop', 'complaint', 'unsubscribe')
    AND NOT EXISTS (
      SELECT FROM gateway.suppressions known
      WHERE known.organization_id = $1 AND known.channel = 'whatsapp'
        AND known.address = o.address AND known.reason = s.reason)
  LIMIT 3
) s
-- one look-up for each, however many the organization has
CROSS JOIN LATERAL (
  SELECT e.id, e.address, e.reason, e.source, e.occurred_at, e.detail, names.said_of
  FROM gateway.consent_events e
  CROSS JOIN LATERAL (
    SELECT ARRAY(SELECT jsonb_array_elements_text(
      CASE WHEN jsonb_typeof(e.detail -> 'said_of') = 'array' THEN e.detail -> 'said_of'
        ELSE '[]' END)) AS said_of
  ) names
  WHERE e.organization_id = $1 AND e.channel = 'whatsapp' AND e.address = a.address
    AND e.reason = s.reason AND NOT e.is_lifted
    AND (o.before IS NULL OR e.occurred_at < o.before)
    AND o.address <> ALL (names.said_of)
    AND NOT (o.address LIKE '+%' AND EXISTS (
      SELECT FROM unnest(names.said_of) AS other (address) WHERE other.address LIKE '+%'))
    AND NOT EXISTS (
      SELECT FROM gateway.consent_events l
      WHERE l.organization_id = $1 AND l.channel = 'whatsapp' AND l.address = a.address
        AND l.reason = s.reason AND l.is_lifted AND l.occurred_at > e.occurred_at
        AND (l.of_source IS NULL
          OR l.of_source IN (e.source, e.source || ':' || coalesce(e.detail ->> 'of_group', ''))))
  ORDER BY e.occurred_at DESC, e.id LIMIT 1
) said
ORDER BY o.address, said.reason, said.occurred_at DESC, said.id;

-- name: held_against
-- Why addresses must not be written to because their owners or we do not want it, without reasons
-- that concern the mailbox or number itself. If $4 is given, only reasons that held at that time.
SELECT DISTINCT s.reason FROM gateway.suppressions s
WHERE s.organization_id = $1 AND s.channel = $2 AND s.address = ANY ($3::text[])
  AND s.reason <> 'hard_bounce'
  AND ($4::timestamptz IS NULL OR EXISTS (
    SELECT FROM gateway.consent_events e
    WHERE e.organization_id = s.organization_id AND e.channel = s.channel
      AND e.address = s.address AND e.reason = s.reason AND NOT e.is_lifted AND e.occurred_at < $4
      AND NOT EXISTS (
        SELECT FROM gateway.consent_events l
        WHERE l.organization_id = e.organization_id AND l.channel = e.channel
          AND l.address = e.address AND l.reason = e.reason AND l.is_lifted
          AND l.occurred_at > e.occurred_at AND l.occurred_at < $4
          AND (l.of_source IS NULL
            OR l.of_source IN (e.source, e.source || ':' || coalesce(e.detail ->> 'of_group', ''))))))
ORDER BY s.reason;

-- name: list
SELECT id, organization_id, channel, address, reason, source, evidence, created_at
FROM gateway.suppressions
WHERE organization_id = $1
  AND ($2::text IS NULL OR channel = $2)
  AND ($3::text[] IS NULL OR address = ANY ($3))
  AND ($4::text IS NULL OR reason = $4)
  AND ($5::timestamptz IS NULL OR (created_at, id) < ($5, $6::uuid))
ORDER BY created_at DESC, id DESC LIMIT $7;

-- name: get
SELECT id, organization_id, channel, address, reason, source, evidence, created_at
FROM gateway.suppressions WHERE organization_id = $1 AND id = $2;

-- name: find
SELECT id, organization_id, channel, address, reason, source, evidence, created_at
FROM gateway.suppressions
WHERE organization_id = $1 AND channel = $2 AND address = $3 AND reason = $4;

-- name: standing
-- For each recipient: the reasons not to write to them, when they last wrote, and the mails that
-- were exchanged. $1: organization, $2: json array.
SELECT i.n,
  ARRAY(
    SELECT s.reason FROM gateway.suppressions s
    WHERE s.organization_id = $1 AND s.channel = i.channel AND s.address = ANY (i.addresses)
    ORDER BY s.reason
  ) AS reasons,
  (SELECT max(c.last_inbound_at) FROM gateway.correspondence c
    WHERE c.organization_id = $1 AND c.channel = i.channel AND c.their_address = ANY (i.addresses)
      AND c.our_address = i.our_address
  ) AS last_inbound_at,
  (SELECT c.mail_ids FROM gateway.correspondence c
    WHERE c.organization_id = $1 AND c.channel = i.channel AND c.their_address = i.addresses[1]
      AND c.our_address = i.our_address AND c.topic = i.topic
  ) AS mail_ids
FROM json_to_recordset($2::json) AS i (
  n integer, channel text, addresses text[], our_address text, topic text
);

-- name: wrote
-- Records that they wrote to us, or we to them. $1: json array, $2: organization. The latest twenty
-- mails on a topic are enough for every mail program. $3: these are old mails, so known ones keep
-- their places, and they come before the others if the person has written since.
INSERT INTO gateway.correspondence AS c (
  organization_id, channel, their_address, our_address, topic, last_inbound_at, mail_ids
)
SELECT $2, channel, their_address, our_address, topic, max(inbound_at),
  coalesce(array_agg(mail_id ORDER BY n) FILTER (WHERE mail_id IS NOT NULL), '{}')
FROM json_to_recordset($1::json) AS i (
  n integer, channel text, their_address text, our_address text, topic text,
  inbound_at timestamptz, mail_id text
)
GROUP BY channel, their_address, our_address, topic
-- in the order in which `known_as` runs, whatever the database's collation
ORDER BY channel COLLATE "C", their_address COLLATE "C", our_address COLLATE "C", topic COLLATE "C"
ON CONFLICT (organization_id, channel, their_address, our_address, topic) DO UPDATE SET
  last_inbound_at = greatest(c.last_inbound_at, excluded.last_inbound_at),
  mail_ids = CASE WHEN $3 AND c.mail_ids @> excluded.mail_ids THEN c.mail_ids ELSE (
    CASE WHEN $3 AND excluded.last_inbound_at < c.last_inbound_at
      THEN excluded.mail_ids || c.mail_ids ELSE c.mail_ids || excluded.mail_ids END
  )[greatest(1, cardinality(c.mail_ids) + cardinality(excluded.mail_ids) - 19):] END;

-- name: known_as
-- A provider gave a mail of ours another Message-ID, which later mails must refer to.
UPDATE gateway.correspondence SET mail_ids = array_replace(mail_ids, $6, $7)
WHERE organization_id = $1 AND channel = $2 AND their_address = $3 AND our_address = $4
  AND topic = $5;

-- name: answered
-- Which of our messages an inbound one answers: $1: json array of {n, ids, external_ids},
-- $2: organization. The nearest known one counts.
SELECT i.n, known.* FROM json_to_recordset($1::json) AS i (n integer, ids uuid[], external_ids text[])
CROSS JOIN LATERAL (
  SELECT m.id, m.direction, m.from_address, m.to_address, m.lead_id, m.client_id
  FROM messages m
  WHERE m.organization_id = $2 AND m.id = ANY (i.ids)
  ORDER BY array_position(i.ids, m.id) LIMIT 1
) known
UNION ALL
SELECT i.n, known.* FROM json_to_recordset($1::json) AS i (n integer, ids uuid[], external_ids text[])
CROSS JOIN LATERAL (
  SELECT m.id, m.direction, m.from_address, m.to_address, m.lead_id, m.client_id
  FROM messages m
  WHERE m.organization_id = $2 AND m.external_id = ANY (i.external_ids)
  ORDER BY array_position(i.external_ids, m.external_id) LIMIT 1
) known;
