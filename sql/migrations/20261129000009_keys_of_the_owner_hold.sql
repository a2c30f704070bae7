-- The keys of the file before hold for old rows, too.

-- migrate:up

SELECT gateway.remember();

-- Old rows that already point elsewhere do not stop the migration: the key holds for new rows.
DO $$
DECLARE
  link record;
BEGIN
  FOR link IN
    SELECT links.field, c.conname AS name
    FROM (VALUES ('client_id'), ('template_id'), ('retry_of')) AS links(field)
    JOIN pg_catalog.pg_constraint c ON c.conrelid = 'public.messages'::regclass AND c.contype = 'f'
      AND c.conname = format('messages_organization_id_%s_fkey', links.field) AND NOT c.convalidated
  LOOP
    BEGIN
      EXECUTE format('ALTER TABLE public.messages VALIDATE CONSTRAINT %I', link.name);
    EXCEPTION WHEN foreign_key_violation THEN
      RAISE WARNING 'table messages has rows whose % belongs to another organization: they stay, new ones are refused',
        link.field;
    END;
  END LOOP;
END
$$;

SELECT gateway.note_undo('20261129000009');

-- migrate:down

SELECT gateway.take_back('20261129000009');
