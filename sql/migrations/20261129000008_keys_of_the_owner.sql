-- A key of the database's owner may have the name of one of ours, and let a message point at another
-- organization's row all the same.

-- migrate:up

SELECT gateway.remember();

-- Theirs stays. The new key holds for new rows: the next file, in a transaction of its own, looks at the old
-- ones while messages are written.
DO $$
DECLARE
  link record;
  combined text;
BEGIN
  FOR link IN
    SELECT * FROM (VALUES
      ('client_id', 'clients'), ('template_id', 'message_templates'), ('retry_of', 'messages')
    ) AS links(field, target)
  LOOP
    CONTINUE WHEN EXISTS (
      SELECT FROM pg_catalog.pg_constraint
      WHERE conrelid = 'public.messages'::regclass AND contype = 'f'
        AND pg_get_constraintdef(oid) LIKE format('FOREIGN KEY (organization_id, %I)%%', link.field));
    combined := format('messages_organization_id_%s_fkey', link.field);
    EXECUTE format('ALTER TABLE public.messages ADD CONSTRAINT %I FOREIGN KEY (organization_id, %I)
      REFERENCES public.%I (organization_id, id) ON DELETE SET NULL (%2$I) NOT VALID',
      combined, link.field, link.target);
  END LOOP;
END
$$;

SELECT gateway.note_undo('20261129000008');

-- migrate:down

SELECT gateway.take_back('20261129000008');
