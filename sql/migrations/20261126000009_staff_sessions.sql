-- Signing in to the inbox: sessions that end when they are told to, links that open once, and how
-- often somebody tried.

-- migrate:up

SELECT gateway.remember();

-- One browser of one member of staff. The cookie holds a random token, this row its SHA-256. Who they
-- are and whether they still are is read anew with every request, so nothing here points at
-- auth_users: moving or removing somebody never waits for a session.
CREATE TABLE IF NOT EXISTS gateway.staff_sessions (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  auth_id uuid NOT NULL,
  digest bytea NOT NULL,
  method text NOT NULL CHECK (method IN ('link', 'password', 'token')),
  created_at timestamptz NOT NULL DEFAULT now(),
  last_seen_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (organization_id, id)
);
-- The look-up that cannot name the organization: the session is what tells it.
CREATE INDEX IF NOT EXISTS idx_staff_sessions_digest ON gateway.staff_sessions (digest);
CREATE INDEX IF NOT EXISTS idx_staff_sessions_org_auth
  ON gateway.staff_sessions (organization_id, auth_id);
CREATE INDEX IF NOT EXISTS idx_staff_sessions_expires ON gateway.staff_sessions (expires_at);

-- A link that signs somebody in, once. The link carries a signature over these ids that only the
-- gateway can make, so nothing that rests here or in the message that brings it opens anything.
CREATE TABLE IF NOT EXISTS gateway.staff_links (
  organization_id uuid NOT NULL REFERENCES public.organizations (id) ON DELETE CASCADE,
  id uuid NOT NULL,
  auth_id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX IF NOT EXISTS idx_staff_links_org_auth
  ON gateway.staff_links (organization_id, auth_id);
CREATE INDEX IF NOT EXISTS idx_staff_links_expires ON gateway.staff_links (expires_at);

-- How often an address, or somebody at a network address, tried since `begun_at`: of no
-- organization, because it is not known yet who tries. `bucket` is a digest of what is counted.
CREATE TABLE IF NOT EXISTS gateway.sign_in_attempts (
  bucket bytea NOT NULL PRIMARY KEY,
  count integer NOT NULL,
  begun_at timestamptz NOT NULL
) WITH (fillfactor = 70);
CREATE INDEX IF NOT EXISTS idx_sign_in_attempts_begun ON gateway.sign_in_attempts (begun_at);

DO $policies$
DECLARE
  own text;
BEGIN
  FOREACH own IN ARRAY ARRAY['staff_sessions', 'staff_links', 'sign_in_attempts'] LOOP
    EXECUTE format('ALTER TABLE gateway.%I ENABLE ROW LEVEL SECURITY', own);
    EXECUTE format('ALTER TABLE gateway.%I FORCE ROW LEVEL SECURITY', own);
    EXECUTE format('REVOKE ALL ON gateway.%I FROM PUBLIC, anon, authenticated, gateway_api', own);
    PERFORM gateway.set_policy(format('gateway.%I', own)::regclass, 'Gateway: service role',
      'TO service_role USING (true) WITH CHECK (true)');
  END LOOP;
END
$policies$;

GRANT SELECT, INSERT, UPDATE, DELETE ON gateway.staff_sessions, gateway.staff_links,
  gateway.sign_in_attempts TO service_role;

SELECT gateway.note_undo('20261126000009');

-- migrate:down

SELECT gateway.take_back('20261126000009');
