-- Which claim of an entry a worker speaks of: its own lease may have ended while the database was away,
-- and the entry been claimed anew, by itself.

-- migrate:up

SELECT gateway.remember();

ALTER TABLE gateway.queue ADD COLUMN IF NOT EXISTS claims integer NOT NULL DEFAULT 0;

SELECT gateway.note_undo('20261129000001');

-- migrate:down

SELECT gateway.take_back('20261129000001');
