-- A program with a login of its own goes on writing the document's tables: nothing that we have put
-- behind them asks for a right that it does not have.

-- migrate:up

SELECT gateway.remember();

-- What the indexes of these tables are made of is worked out by whoever writes them. They read nothing.
GRANT EXECUTE ON FUNCTION gateway.contact_words(text, text, text), gateway.address_key(text),
  gateway.message_words(text, text) TO PUBLIC;

-- It asks who calls, which such a login may not: SECURITY DEFINER. The caller is told by the role that
-- was taken on, or by the login, and both stay what they were.
ALTER FUNCTION gateway.guard_client_profile() SECURITY DEFINER;

SELECT gateway.note_undo('20261129000011');

-- migrate:down

SELECT gateway.take_back('20261129000011');
