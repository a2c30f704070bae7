-- Whose request may have left, and for how long that has been open by what workers waited: what a
-- claim says late can still be true of its entry, and the database's clock may be set.

-- migrate:up

SELECT gateway.remember();

ALTER TABLE gateway.queue ADD COLUMN IF NOT EXISTS open_claim integer;
ALTER TABLE gateway.queue ADD COLUMN IF NOT EXISTS open_for double precision NOT NULL DEFAULT 0;

SELECT gateway.note_undo('20261129000023');

-- migrate:down

SELECT gateway.take_back('20261129000023');
