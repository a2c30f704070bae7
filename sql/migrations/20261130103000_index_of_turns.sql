-- What is due of an organization is found by an index that nothing else is found by.

-- migrate:up

SELECT gateway.remember();

-- An entry is found by its key. While PostgreSQL knows nothing of the queue, or knew it empty, any index
-- that begins with the organization seems as good: a claim, or reports, then read for each message all
-- that its organization has waiting, by a plan that is kept. So the index of those that are due says
-- what is true of every entry, and only whoever names a priority is taken to ask for it.
DROP INDEX IF EXISTS gateway.idx_queue_org_priority_run_at;
CREATE INDEX idx_queue_org_priority_run_at
  ON gateway.queue (organization_id, priority, run_at) WHERE priority IS NOT NULL;

SELECT gateway.note_undo('20261130103000');

-- migrate:down

SELECT gateway.take_back('20261130103000');
