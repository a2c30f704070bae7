-- Room beside each message for the next version of it.

-- migrate:up

SELECT gateway.remember();

-- Reports are stored together, and those that come together are about messages that were sent
-- together: all rows of a page change in one transaction, before which no old version of them can
-- go. So a page needs as much room as its rows take, or three of four versions go to another page
-- and into every index anew (docs/decisions/0017).
ALTER TABLE public.messages SET (fillfactor = 50);

SELECT gateway.note_undo('20261126000011');

-- migrate:down

SELECT gateway.take_back('20261126000011');
