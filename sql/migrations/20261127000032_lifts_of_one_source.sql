-- A provider that takes an address off its own list takes back what it said itself, and no more.

-- migrate:up

SELECT gateway.remember();

-- Whose statements a lift takes back; null: those of everybody.
ALTER TABLE gateway.consent_events ADD COLUMN IF NOT EXISTS of_source text;

SELECT gateway.note_undo('20261127000032');

-- migrate:down

SELECT gateway.take_back('20261127000032');
