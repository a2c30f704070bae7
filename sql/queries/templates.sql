-- Message templates. Their counters are kept in `gateway.template_uses`, one row a request, and
-- folded in now and then, so that no template's row is a bottleneck; readers add what waits.

-- name: list
SELECT t.id, t.organization_id, t.name, t.description, t.type, t.category, t.subject, t.content,
  t.variables, t.is_active, t.tags,
  t.usage_count + coalesce(u.uses, 0) AS usage_count,
  greatest(t.last_used_at, u.used_at) AS last_used_at, t.created_at, t.updated_at
FROM message_templates t
LEFT JOIN LATERAL (
  SELECT sum(w.uses)::integer AS uses, max(w.used_at) AS used_at FROM gateway.template_uses w
  WHERE w.organization_id = t.organization_id AND w.template_id = t.id
) u ON true
WHERE t.organization_id = $1
  AND ($2::text IS NULL OR t.type = $2)
  AND ($3::text IS NULL OR t.name = $3)
  AND ($4::boolean IS NULL OR t.is_active = $4)
  AND ($5::timestamptz IS NULL OR (t.created_at, t.id) < ($5, $6::uuid))
ORDER BY t.created_at DESC, t.id DESC LIMIT $7;

-- name: get
SELECT t.id, t.organization_id, t.name, t.description, t.type, t.category, t.subject, t.content,
  t.variables, t.is_active, t.tags,
  t.usage_count + coalesce(u.uses, 0) AS usage_count,
  greatest(t.last_used_at, u.used_at) AS last_used_at, t.created_at, t.updated_at
FROM message_templates t
LEFT JOIN LATERAL (
  SELECT sum(w.uses)::integer AS uses, max(w.used_at) AS used_at FROM gateway.template_uses w
  WHERE w.organization_id = t.organization_id AND w.template_id = t.id
) u ON true
WHERE t.organization_id = $1 AND t.id = $2;

-- name: insert
INSERT INTO message_templates (
  id, organization_id, name, description, type, category, subject, content, variables, is_active,
  tags
)
SELECT $2, $1, name, description, type, category, subject, content, coalesce(variables, '{}'),
  coalesce(is_active, true), coalesce(tags, '{}')
FROM jsonb_populate_record(NULL::message_templates, $3::jsonb)
RETURNING id;

-- name: update
UPDATE message_templates t SET
  name = p.name, description = p.description, type = p.type, category = p.category,
  subject = p.subject, content = p.content, variables = p.variables, is_active = p.is_active,
  tags = p.tags
FROM (
  SELECT r.* FROM message_templates o, jsonb_populate_record(o, $3::jsonb) r
  WHERE o.organization_id = $1 AND o.id = $2
) p
WHERE t.organization_id = $1 AND t.id = $2
RETURNING t.id;

-- name: delete
DELETE FROM message_templates WHERE organization_id = $1 AND id = $2 RETURNING id;
