-- What explains a message to those who may read it: where it stands in the queue.

-- migrate:up

SELECT gateway.remember();

-- Callers do not see the queue, which is the workers' own; of a message of theirs they may know where
-- it stands. SECURITY DEFINER: the owner is not under the policy, so the organization is compared
-- here, with that of the caller, whatever is asked for. `gateway.caller()` cannot be forged; only the
-- gateway itself asks for any organization's.
CREATE OR REPLACE FUNCTION gateway.place_in_queue(organization uuid, message uuid)
RETURNS TABLE (
  phase text, run_at timestamptz, attempts smallint, refusals smallint, is_held boolean,
  was_held boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT q.phase, q.run_at, q.attempts, q.refusals, coalesce(q.lease_until > now(), false),
    coalesce(q.lease_until <= now(), false)
  FROM gateway.queue q
  WHERE q.organization_id = organization AND q.message_id = message
    AND (organization = gateway.current_organization() OR gateway.caller() = 'service_role')
$$;

REVOKE ALL ON FUNCTION gateway.place_in_queue(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.place_in_queue(uuid, uuid)
  TO authenticated, gateway_api, service_role;

SELECT gateway.note_undo('20261126000008');

-- migrate:down

SELECT gateway.take_back('20261126000008');
