-- Message templates. Their uses are appended to `gateway.template_uses`, one row per request, and
-- added to the counters now and then, so that no template's row is a bottleneck; until then readers
-- add them.

-- name: list
-- $8: the page ends once the texts of its rows have so many bytes. The size of a text is known
-- without reading it. `found`: how many rows there are without that limit.
WITH page AS MATERIALIZED (
  SELECT id, organization_id, name, description, type, category, subject, content, variables, options,
    is_active, tags, usage_count, last_used_at, created_at, updated_at
  FROM message_templates
  WHERE organization_id = $1
    AND ($2::text IS NULL OR type = $2)
    AND ($3::text IS NULL OR name = $3)
    AND ($4::boolean IS NULL OR is_active = $4)
    AND ($5::timestamptz IS NULL OR (created_at, id) < ($5, $6::uuid)
      OR (created_at IS NULL AND $5 = '9999-01-01 00:00Z' AND id < $6)) -- paging.NO_TIME
  ORDER BY created_at DESC, id DESC LIMIT $7
)
SELECT t.id, t.organization_id, t.name, t.description, t.type, t.category, t.subject, t.content,
  ARRAY(SELECT each FROM unnest(t.variables) AS each WHERE each IS NOT NULL) AS variables,
  t.options, t.is_active,
  ARRAY(SELECT each FROM unnest(t.tags) AS each WHERE each IS NOT NULL) AS tags,
  least(coalesce(t.usage_count, 0) + coalesce(u.uses, 0), 2147483647)::integer AS usage_count,
  greatest(t.last_used_at, u.used_at) AS last_used_at, t.created_at, t.updated_at,
  (SELECT count(*) FROM page) AS found
FROM page t
LEFT JOIN LATERAL (
  SELECT sum(w.uses) AS uses, max(w.used_at) AS used_at FROM gateway.template_uses w
  WHERE w.organization_id = t.organization_id AND w.template_id = t.id
) u ON true
WHERE t.id IN (
  SELECT w.id FROM (
    SELECT id, sum(size) OVER (
      ORDER BY created_at DESC, id DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
    FROM (
      SELECT id, created_at, (SELECT sum(octet_length(text)) FROM (VALUES
        (name), (description), (category), (subject), (content), (variables::text),
        (options::text), (tags::text)
      ) AS texts (text)) + 9 * octet_length(concat(options))::bigint AS size
      FROM page OFFSET 0
    ) sizes
  ) w WHERE coalesce(w.before, 0) < $8::integer)
ORDER BY t.created_at DESC, t.id DESC;

-- name: get
SELECT t.id, t.organization_id, t.name, t.description, t.type, t.category, t.subject, t.content,
  ARRAY(SELECT each FROM unnest(t.variables) AS each WHERE each IS NOT NULL) AS variables,
  t.options, t.is_active,
  ARRAY(SELECT each FROM unnest(t.tags) AS each WHERE each IS NOT NULL) AS tags,
  least(coalesce(t.usage_count, 0) + coalesce(u.uses, 0), 2147483647)::integer AS usage_count,
  greatest(t.last_used_at, u.used_at) AS last_used_at, t.created_at, t.updated_at
FROM message_templates t
LEFT JOIN LATERAL (
  SELECT sum(w.uses) AS uses, max(w.used_at) AS used_at FROM gateway.template_uses w
  WHERE w.organization_id = t.organization_id AND w.template_id = t.id
) u ON true
WHERE t.organization_id = $1 AND t.id = $2;

-- name: insert
INSERT INTO message_templates (
  id, organization_id, name, description, type, category, subject, content, variables, is_active,
  tags, options
)
SELECT $2, $1, name, description, type, category, subject, content, coalesce(variables, '{}'),
  coalesce(is_active, true), coalesce(tags, '{}'), options
FROM jsonb_populate_record(NULL::message_templates, $3::jsonb);

-- name: update
-- Columns that are not in $3 keep their value. Only if the template was last changed at $4, because
-- the variables were derived from its content at that time.
UPDATE message_templates t SET
  name = CASE WHEN $3::jsonb ? 'name' THEN p.name ELSE t.name END,
  description = CASE WHEN $3::jsonb ? 'description' THEN p.description ELSE t.description END,
  type = CASE WHEN $3::jsonb ? 'type' THEN p.type ELSE t.type END,
  category = CASE WHEN $3::jsonb ? 'category' THEN p.category ELSE t.category END,
  subject = CASE WHEN $3::jsonb ? 'subject' THEN p.subject ELSE t.subject END,
  content = CASE WHEN $3::jsonb ? 'content' THEN p.content ELSE t.content END,
  variables = CASE WHEN $3::jsonb ? 'variables' THEN p.variables ELSE t.variables END,
  is_active = CASE WHEN $3::jsonb ? 'is_active' THEN p.is_active ELSE t.is_active END,
  tags = CASE WHEN $3::jsonb ? 'tags' THEN p.tags ELSE t.tags END,
  options = CASE WHEN $3::jsonb ? 'options' THEN p.options ELSE t.options END
FROM jsonb_populate_record(NULL::message_templates, $3::jsonb) p
WHERE t.organization_id = $1 AND t.id = $2 AND t.updated_at IS NOT DISTINCT FROM $4::timestamptz
RETURNING t.id;

-- name: made
-- Whether more than $3 messages were made from template $2.
SELECT EXISTS (SELECT FROM messages WHERE organization_id = $1 AND template_id = $2 OFFSET $3);

-- name: let_go
-- Removes the reference to template $2 from up to $3 messages; returns how many. Locked ones are
-- left: they lose it when the template is deleted.
WITH these AS MATERIALIZED (
  SELECT id FROM messages WHERE organization_id = $1 AND template_id = $2
  LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED
), changed AS (
  UPDATE messages m SET template_id = NULL FROM these
  WHERE m.organization_id = $1 AND m.id = these.id RETURNING 1
)
SELECT count(*) FROM changed;

-- name: delete
DELETE FROM message_templates WHERE organization_id = $1 AND id = $2 RETURNING id;
