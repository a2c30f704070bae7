-- Who is suppressed under one form of their number is, under the other.

-- migrate:up

SELECT gateway.remember();

-- Every form in which whoever has this address may be suppressed: a mailbox in small letters; a mobile
-- number of Mexico, Argentina or Brazil without the digit that comes and goes and with it
-- (addresses.forms says the same in Python). Brazil's ninth digit is a 9, the others stand before the
-- area code.
CREATE OR REPLACE FUNCTION gateway.address_forms(address text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
  WHEN address LIKE '%@%' THEN ARRAY[lower(address)]
  WHEN address LIKE '+52%' AND address ~ '^\+521?[0-9]{10}$'
    THEN ARRAY['+52' || right(address, 10), '+521' || right(address, 10)]
  WHEN address LIKE '+54%' AND address ~ '^\+549?[0-9]{10}$'
    THEN ARRAY['+54' || right(address, 10), '+549' || right(address, 10)]
  WHEN address LIKE '+55%' AND address ~ '^\+55[0-9]{2}9?[6-9][0-9]{7}$' THEN ARRAY[
    left(address, 5) || right(address, 8), left(address, 5) || '9' || right(address, 8)]
  ELSE ARRAY[address]
END;
REVOKE ALL ON FUNCTION gateway.address_forms(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION gateway.address_forms(text)
  TO authenticated, gateway_api, service_role;

SELECT gateway.note_undo('20261127000047');

-- migrate:down

SELECT gateway.take_back('20261127000047');
