-- Since when an account's credentials are those of the account at the provider that they are of now.

-- migrate:up

SELECT gateway.remember();

-- Null while they have been of no other. What was sent before cannot be asked about with them.
ALTER TABLE gateway.provider_accounts ADD COLUMN IF NOT EXISTS identified_at timestamptz;
-- Owners and admins, who write it, keep what it was where another secret of the same account is stored.
GRANT SELECT (identified_at) ON gateway.provider_accounts TO authenticated;

SELECT gateway.note_undo('20261130100000');

-- migrate:down

SELECT gateway.take_back('20261130100000');
