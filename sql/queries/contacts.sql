-- Leads and clients, and everything else that a request to send refers to.

-- name: context
-- Everything that a batch of requests refers to, in one answer, under the caller's own policies.
-- $1: organization, $2: lead ids, $3: client ids, $4: template ids, $5: template names,
-- $6: channels, $7: sender addresses, $8: last digits of phone numbers, $9: e-mail addresses,
-- $10: last digits of sender addresses, $11: addresses that may be suppressed, in every form,
-- $12: ids of messages that are answered. Of all templates' options together 4 MiB of JSON are read, which
-- is ten times as large in Python: the smallest first, and templates beyond that are refused.
SELECT
  (SELECT left(settings ->> 'country', 10) FROM organizations WHERE id = $1) AS country,
  (SELECT coalesce(json_agg(json_build_object(
      'id', id, 'phone', phone, 'email', email)), '[]')
    FROM leads WHERE organization_id = $1 AND id = ANY ($2::uuid[])) AS leads,
  (SELECT coalesce(json_agg(json_build_object(
      'id', id, 'phone', phone, 'email', email)), '[]')
    FROM clients WHERE organization_id = $1 AND id = ANY ($3::uuid[])) AS clients,
  (SELECT coalesce(json_agg(json_build_object(
      'id', id, 'name', name, 'type', type, 'subject', subject, 'content', content,
      'options', CASE WHEN so_far <= 4194304 THEN options END, 'is_too_large', so_far > 4194304,
      'is_active', is_active) ORDER BY created_at DESC), '[]')
    FROM (
      SELECT id, name, type, subject, content, options, is_active, created_at,
        sum(octet_length(options::text)) OVER (
          ORDER BY octet_length(options::text) NULLS FIRST, id) AS so_far
      FROM message_templates WHERE organization_id = $1
        AND (id = ANY ($4::uuid[]) OR (name = ANY ($5::text[]) AND is_active))) named) AS templates,
  (SELECT coalesce(json_agg(json_build_object(
      'id', s.id, 'channel', s.channel, 'address', s.address, 'is_default', s.is_default,
      'provider', a.provider)), '[]')
    FROM gateway.senders s
    JOIN gateway.provider_accounts a
      ON a.organization_id = s.organization_id AND a.id = s.account_id
    WHERE s.organization_id = $1 AND s.channel = ANY ($6::text[]) AND s.is_active AND a.is_active
      AND (s.is_default OR s.address = ANY ($7::text[]) OR lower(s.address) = ANY ($7::text[])
        OR right(regexp_replace(s.address, '\D', '', 'g'), 7) = ANY ($10::text[]))) AS senders,
  (SELECT coalesce(json_agg(json_build_object(
      'kind', c.kind, 'id', c.id, 'phone', c.phone, 'email', c.email) ORDER BY c.created_at DESC), '[]')
    FROM gateway.contacts_by_address(
      -- if a request names a lead, the client with the lead's number is looked for, too
      $8::text[] || ARRAY(
        SELECT right(regexp_replace(phone, '\D', '', 'g'), 7) FROM leads
        WHERE organization_id = $1 AND id = ANY ($2::uuid[]) AND phone IS NOT NULL
        UNION ALL
        SELECT right(regexp_replace(phone, '\D', '', 'g'), 7) FROM clients
        WHERE organization_id = $1 AND id = ANY ($3::uuid[]) AND phone IS NOT NULL
      ), $9::text[] || ARRAY(
        SELECT lower(btrim(email, E' \t\r\n')) FROM leads
        WHERE organization_id = $1 AND id = ANY ($2::uuid[]) AND email IS NOT NULL
        UNION ALL
        SELECT lower(btrim(email, E' \t\r\n')) FROM clients
        WHERE organization_id = $1 AND id = ANY ($3::uuid[])
      )) c) AS known,
  (SELECT coalesce(json_agg(json_build_object(
      'channel', channel, 'address', address, 'reason', reason)), '[]')
    FROM gateway.suppressions
    WHERE organization_id = $1 AND channel = ANY ($6::text[]) AND address = ANY ($11::text[])
  ) AS suppressed,
  (SELECT coalesce(json_agg(json_build_object(
      'id', id, 'channel', channel, 'direction', direction, 'external_id', external_id,
      'from_address', from_address)), '[]')
    FROM messages WHERE organization_id = $1 AND id = ANY ($12::uuid[])) AS answered;

-- name: country
-- The country in which the organization's national numbers are read.
SELECT left(settings ->> 'country', 10) FROM organizations WHERE id = $1;

-- name: by_address
-- Leads and clients that may have these addresses, for the gateway itself. The caller compares
-- whole numbers, because the index only has their last digits.
SELECT c.kind, c.id, c.phone, c.email,
  (SELECT left(settings ->> 'country', 10) FROM organizations WHERE id = $1) AS country
FROM gateway.contacts_by_address($1::uuid, $2::text[], $3::text[]) c
ORDER BY c.created_at DESC;

-- name: list_leads
-- $7: the page ends once the texts of its rows have so many bytes, with JSON counted as ten times as
-- large, which it is in Python. The size of a text is known without reading it. `found`: how many rows
-- there are without that limit.
WITH page AS MATERIALIZED (
  SELECT id, organization_id, first_name, last_name, name, email, phone, source, source_details,
    utm_source, utm_medium, utm_campaign, status, tags, lead_score, ai_score, assigned_to,
    custom_fields, notes, last_contacted_at, converted_at, created_at, updated_at
  FROM leads
  WHERE organization_id = $1
    AND ($2::text IS NULL OR status = $2)
    AND ($3::text IS NULL OR lower(btrim(email, E' \t\r\n')) = lower($3))
    AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5::uuid)
      OR (created_at IS NULL AND $4 = '9999-01-01 00:00Z' AND id < $5)) -- paging.NO_TIME
  ORDER BY created_at DESC, id DESC LIMIT $6
)
SELECT p.*, (SELECT count(*) FROM page) AS found FROM page p
WHERE p.id IN (
  SELECT w.id FROM (
    SELECT id, sum(size) OVER (
      ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
      SELECT id, created_at, (SELECT sum(octet_length(text)) FROM (VALUES
        (first_name), (last_name), (name), (email), (phone), (source), (source_details::text),
        (utm_source), (utm_medium), (utm_campaign), (tags::text), (custom_fields::text), (notes)
      ) AS texts (text)) + 9 * octet_length(concat(source_details, custom_fields))::bigint AS size
      FROM page OFFSET 0
    ) sizes
  ) w WHERE coalesce(w.before, 0) < $7::integer)
ORDER BY p.created_at DESC, p.id DESC;

-- name: get_lead
SELECT id, organization_id, first_name, last_name, name, email, phone, source, source_details,
  utm_source, utm_medium, utm_campaign, status, tags, lead_score, ai_score, assigned_to,
  custom_fields, notes, last_contacted_at, converted_at, created_at, updated_at
FROM leads WHERE organization_id = $1 AND id = $2;

-- name: insert_lead
-- $3: json object with the columns that the caller gave; others get their defaults.
INSERT INTO leads (
  id, organization_id, first_name, last_name, email, phone, source, source_details, utm_source,
  utm_medium, utm_campaign, status, tags, lead_score, ai_score, assigned_to, custom_fields, notes,
  converted_at
)
SELECT $2, $1, first_name, last_name, email, phone, coalesce(source, 'manual'),
  coalesce(source_details, '{}'), utm_source, utm_medium, utm_campaign, coalesce(status, 'new'),
  coalesce(tags, '{}'), coalesce(lead_score, 0), ai_score, assigned_to,
  coalesce(custom_fields, '{}'), notes, CASE WHEN status = 'converted' THEN now() END
FROM jsonb_populate_record(NULL::leads, $3::jsonb);

-- name: update_lead
-- Columns that are not in $3 keep their value.
UPDATE leads l SET
  first_name = CASE WHEN $3::jsonb ? 'first_name' THEN p.first_name ELSE l.first_name END,
  last_name = CASE WHEN $3::jsonb ? 'last_name' THEN p.last_name ELSE l.last_name END,
  email = CASE WHEN $3::jsonb ? 'email' THEN p.email ELSE l.email END,
  phone = CASE WHEN $3::jsonb ? 'phone' THEN p.phone ELSE l.phone END,
  source = CASE WHEN $3::jsonb ? 'source' THEN p.source ELSE l.source END,
  source_details = CASE WHEN $3::jsonb ? 'source_details' THEN p.source_details ELSE l.source_details END,
  utm_source = CASE WHEN $3::jsonb ? 'utm_source' THEN p.utm_source ELSE l.utm_source END,
  utm_medium = CASE WHEN $3::jsonb ? 'utm_medium' THEN p.utm_medium ELSE l.utm_medium END,
  utm_campaign = CASE WHEN $3::jsonb ? 'utm_campaign' THEN p.utm_campaign ELSE l.utm_campaign END,
  status = CASE WHEN $3::jsonb ? 'status' THEN p.status ELSE l.status END,
  tags = CASE WHEN $3::jsonb ? 'tags' THEN p.tags ELSE l.tags END,
  lead_score = CASE WHEN $3::jsonb ? 'lead_score' THEN p.lead_score ELSE l.lead_score END,
  ai_score = CASE WHEN $3::jsonb ? 'ai_score' THEN p.ai_score ELSE l.ai_score END,
  assigned_to = CASE WHEN $3::jsonb ? 'assigned_to' THEN p.assigned_to ELSE l.assigned_to END,
  custom_fields = CASE WHEN $3::jsonb ? 'custom_fields' THEN p.custom_fields ELSE l.custom_fields END,
  notes = CASE WHEN $3::jsonb ? 'notes' THEN p.notes ELSE l.notes END,
  converted_at = CASE
    WHEN p.status = 'converted' THEN coalesce(l.converted_at, now()) ELSE l.converted_at END
FROM jsonb_populate_record(NULL::leads, $3::jsonb) p
WHERE l.organization_id = $1 AND l.id = $2
RETURNING l.id;

-- name: list_clients
-- $7 and `found` as in `list_leads`.
WITH page AS MATERIALIZED (
  SELECT id, organization_id, first_name, last_name, name, email, phone, is_active, email_verified,
    date_of_birth, gender, emergency_contact_name, emergency_contact_phone, membership_status,
    membership_start_date, membership_end_date, invitation_id, custom_fields, notes, last_login_at,
    created_at, updated_at
  FROM clients
  WHERE organization_id = $1
    AND ($2::text IS NULL OR membership_status = $2)
    AND ($3::text IS NULL OR lower(btrim(email, E' \t\r\n')) = lower($3))
    AND ($4::timestamptz IS NULL OR (created_at, id) < ($4, $5::uuid)
      OR (created_at IS NULL AND $4 = '9999-01-01 00:00Z' AND id < $5)) -- paging.NO_TIME
  ORDER BY created_at DESC, id DESC LIMIT $6
)
SELECT p.*, (SELECT count(*) FROM page) AS found FROM page p
WHERE p.id IN (
  SELECT w.id FROM (
    SELECT id, sum(size) OVER (
      ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
      SELECT id, created_at, (SELECT sum(octet_length(text)) FROM (VALUES
        (first_name), (last_name), (name), (email), (phone), (gender), (emergency_contact_name),
        (emergency_contact_phone), (membership_status), (custom_fields::text), (notes)
      ) AS texts (text)) + 9 * octet_length(concat(custom_fields))::bigint AS size
      FROM page OFFSET 0
    ) sizes
  ) w WHERE coalesce(w.before, 0) < $7::integer)
ORDER BY p.created_at DESC, p.id DESC;

-- name: get_client
SELECT id, organization_id, first_name, last_name, name, email, phone, is_active, email_verified,
  date_of_birth, gender, emergency_contact_name, emergency_contact_phone, membership_status,
  membership_start_date, membership_end_date, invitation_id, custom_fields, notes, last_login_at,
  created_at, updated_at
FROM clients WHERE organization_id = $1 AND id = $2;

-- name: insert_client
INSERT INTO clients (
  id, organization_id, first_name, last_name, email, phone, is_active, date_of_birth, gender,
  emergency_contact_name, emergency_contact_phone, membership_status, membership_start_date,
  membership_end_date, custom_fields, notes
)
SELECT $2, $1, first_name, last_name, email, phone, coalesce(is_active, true), date_of_birth,
  gender, emergency_contact_name, emergency_contact_phone, coalesce(membership_status, 'active'),
  membership_start_date, membership_end_date, coalesce(custom_fields, '{}'), notes
FROM jsonb_populate_record(NULL::clients, $3::jsonb);

-- name: update_client
-- Column by column: an API key may not read a client's password, so it may not use the row as a
-- whole.
UPDATE clients c SET
  first_name = CASE WHEN $3::jsonb ? 'first_name' THEN p.first_name ELSE c.first_name END,
  last_name = CASE WHEN $3::jsonb ? 'last_name' THEN p.last_name ELSE c.last_name END,
  email = CASE WHEN $3::jsonb ? 'email' THEN p.email ELSE c.email END,
  phone = CASE WHEN $3::jsonb ? 'phone' THEN p.phone ELSE c.phone END,
  is_active = CASE WHEN $3::jsonb ? 'is_active' THEN p.is_active ELSE c.is_active END,
  date_of_birth = CASE WHEN $3::jsonb ? 'date_of_birth' THEN p.date_of_birth ELSE c.date_of_birth END,
  gender = CASE WHEN $3::jsonb ? 'gender' THEN p.gender ELSE c.gender END,
  emergency_contact_name = CASE WHEN $3::jsonb ? 'emergency_contact_name' THEN p.emergency_contact_name ELSE c.emergency_contact_name END,
  emergency_contact_phone = CASE WHEN $3::jsonb ? 'emergency_contact_phone' THEN p.emergency_contact_phone ELSE c.emergency_contact_phone END,
  membership_status = CASE WHEN $3::jsonb ? 'membership_status' THEN p.membership_status ELSE c.membership_status END,
  membership_start_date = CASE WHEN $3::jsonb ? 'membership_start_date' THEN p.membership_start_date ELSE c.membership_start_date END,
  membership_end_date = CASE WHEN $3::jsonb ? 'membership_end_date' THEN p.membership_end_date ELSE c.membership_end_date END,
  custom_fields = CASE WHEN $3::jsonb ? 'custom_fields' THEN p.custom_fields ELSE c.custom_fields END,
  notes = CASE WHEN $3::jsonb ? 'notes' THEN p.notes ELSE c.notes END
FROM jsonb_populate_record(NULL::clients, $3::jsonb) p
WHERE c.organization_id = $1 AND c.id = $2
RETURNING c.id;
