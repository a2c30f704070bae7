-- What providers tell beside a status (messages.metadata.provider), and templates by name.

-- migrate:up

SELECT gateway.remember();

-- Of two values of one key the greater stays, so that the order of reports never shows.
CREATE OR REPLACE FUNCTION gateway.merge_provider_pair(one jsonb, other jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
  SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM (
    SELECT DISTINCT ON (key) key, value
    FROM (
      SELECT * FROM jsonb_each(CASE jsonb_typeof(one) WHEN 'object' THEN one ELSE '{}' END)
      UNION ALL
      SELECT * FROM jsonb_each(CASE jsonb_typeof(other) WHEN 'object' THEN other ELSE '{}' END)
    ) AS told
    ORDER BY key, value DESC
  ) AS kept
);

CREATE OR REPLACE AGGREGATE gateway.merge_provider(jsonb) (
  SFUNC = gateway.merge_provider_pair, STYPE = jsonb, INITCOND = '{}'
);

REVOKE ALL ON FUNCTION gateway.merge_provider_pair(jsonb, jsonb), gateway.merge_provider(jsonb)
  FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.merge_provider_pair(jsonb, jsonb), gateway.merge_provider(jsonb)
  TO service_role;

DO $$
BEGIN
  PERFORM gateway.set_policy('gateway.template_uses'::regclass, 'Gateway: staff view',
    'FOR SELECT TO authenticated USING (organization_id = (SELECT gateway.current_organization()))');
  PERFORM gateway.set_policy('gateway.template_uses'::regclass, 'Gateway: API keys view',
    'FOR SELECT TO gateway_api USING (organization_id = (SELECT gateway.current_organization()))');
END
$$;
GRANT SELECT ON gateway.template_uses TO authenticated, gateway_api;

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

SELECT gateway.note_undo('20261123000004');

-- migrate:down

SELECT gateway.take_back('20261123000004');
