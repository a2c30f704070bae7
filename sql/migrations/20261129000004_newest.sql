-- What receivers go by: the newest `updated_at` of a message is that of its newest state. And an event is
-- given up for what its receiver answered, not for the workers that died with it.

-- migrate:up

SELECT gateway.remember();

-- now() is when a transaction began: of two that change a message the one that began first may be the
-- last to change it. The other trigger, which may be another program's, sets that time, so this one comes
-- behind it in the order of names; its condition is all that it costs where time goes forward. A time
-- that somebody wrote far ahead (infinity has no next microsecond) is not kept.
CREATE OR REPLACE FUNCTION gateway.go_forward() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  NEW.updated_at := OLD.updated_at + interval '1 microsecond';
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION gateway.go_forward() FROM PUBLIC;
CREATE OR REPLACE TRIGGER zz_go_forward BEFORE UPDATE ON public.messages FOR EACH ROW
  WHEN (NEW.updated_at <= OLD.updated_at AND OLD.updated_at < now() + interval '1 hour')
  EXECUTE FUNCTION gateway.go_forward();

-- `attempts` count claims: each is a worker's own.
ALTER TABLE gateway.deliveries ADD COLUMN IF NOT EXISTS failures smallint NOT NULL DEFAULT 0;
-- What was tried before counts, but nothing is given up without one more attempt.
UPDATE gateway.deliveries SET failures = least(attempts, 9) WHERE attempts > 0 AND failures = 0;

-- As before, but for the failures.
CREATE OR REPLACE FUNCTION gateway.begin_deliveries_anew() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF NEW.is_active AND (NOT OLD.is_active OR NEW.url <> OLD.url) THEN
    NEW.disabled_reason := NULL;
    NEW.failures := 0;
    NEW.failing_since := NULL;
    NEW.paused_until := NULL;
    UPDATE gateway.deliveries SET due_at = now(), attempts = 0, failures = 0
    WHERE organization_id = NEW.organization_id AND subscription_id = NEW.id;
  END IF;
  RETURN NEW;
END
$$;

SELECT gateway.note_undo('20261129000004');

-- migrate:down

SELECT gateway.take_back('20261129000004');
