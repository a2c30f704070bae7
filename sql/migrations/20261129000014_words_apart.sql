-- A word is found whatever stands beside it without a blank: "Danke.Bis", "INV-2024-0815", a link.

-- migrate:up

SELECT gateway.remember();

-- PostgreSQL's parser takes for one word what looks like a host, a file, a mailbox or a link, and for its
-- sign the hyphen before a number. With blanks for what such things are made with it sees their words. What
-- a link begins with (https://) it knows, and leaves out. What goes on for a hundred letters is several
-- words, so that no text takes the parser long. What is searched for is read likewise.
CREATE OR REPLACE FUNCTION gateway.message_words(subject text, body text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsvector('simple'::regconfig, regexp_replace(
  replace(
    regexp_replace(
      replace(left(coalesce(subject, '') || ' ' || body, 100000), '://', E'\x02') COLLATE "C",
      '[<./@+_~-]', ' ', 'g'),
    E'\x02', '://') COLLATE "C",
  '(\S{100})', '\1 ', 'g'));

-- What somebody typed, as a query: words, "phrases", beginnings*, -not, or. Anything may be typed; what
-- cannot be searched for is refused with SQLSTATE 22023 and a text that completes "q ...". What was
-- indexed stays as it came, so each word is looked for in both of Unicode's forms beside its own; and as
-- PostgreSQL reads it, too: so the words of contacts are indexed, and those of messages were once.
CREATE OR REPLACE FUNCTION gateway.words_query(q text) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
  SET client_min_messages = warning -- words that are none are no news
AS $$
DECLARE
  part text[];
  forms text[];
  form text;
  one tsquery;
  fewest integer;
  term tsquery;
  branch tsquery := '';
  found tsquery := '';
  nodes integer := 0; -- as if there were one form of each, the shortest
BEGIN
  IF length(q) > 1000 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'is too long: 1,000 characters at most';
  END IF;
  FOR part IN SELECT regexp_matches(q, '(-?)(?:"([^"]*)"?|([^\s"]+))', 'g') LOOP
    IF lower(part[3]) = 'or' AND part[1] = '' THEN
      found := found || branch;
      branch := '';
      CONTINUE;
    END IF;
    form := coalesce(part[2], part[3]);
    forms := ARRAY[form];
    IF getdatabaseencoding() = 'UTF8' THEN -- in others there is only one
      -- As it was typed, too: some keyboards write neither.
      forms := ARRAY(SELECT DISTINCT unnest(ARRAY[form, normalize(form, NFC), normalize(form, NFD)]));
    END IF;
    forms := ARRAY(
      SELECT DISTINCT unnest(ARRAY[translate(f, '<', ' '), replace(
        regexp_replace(replace(f, '://', E'\x02') COLLATE "C", '[<./@+_~-]', ' ', 'g'), E'\x02', '://')])
      FROM unnest(forms) f);
    term := '';
    fewest := NULL;
    FOREACH form IN ARRAY forms LOOP
      one := phraseto_tsquery('simple', regexp_replace(
        form COLLATE "C", '(\S{100})', '\1 ', 'g'));
      CONTINUE WHEN numnode(one) = 0;
      fewest := least(fewest, numnode(one));
      IF part[3] LIKE '_%*' THEN -- a word with a hyphen is several: each of them may go on
        one := regexp_replace(one::text, '(''(?:[^'']|'''')+'')', '\1:*', 'g');
      ELSIF part[2] LIKE '%_*' THEN
        one := one::text || ':*';
      END IF;
      term := term || one;
    END LOOP;
    CONTINUE WHEN numnode(term) = 0;
    nodes := nodes + fewest + 1;
    branch := branch && CASE part[1] WHEN '-' THEN !!term ELSE term END;
  END LOOP;
  found := found || branch;
  IF querytree(found) IN ('', 'T') THEN
    RAISE invalid_parameter_value USING MESSAGE = 'names no word to look for';
  ELSIF nodes > 81 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'names too many words: 40 at most';
  END IF;
  RETURN found;
END
$$;

-- What was indexed before is found as it was. Making it anew keeps everybody from writing meanwhile.
DO $$
BEGIN
  IF (SELECT count(*) FROM (SELECT FROM public.messages LIMIT 100001) m) <= 100000 THEN
    REINDEX INDEX public.idx_messages_words;
  ELSE
    RAISE WARNING 'run REINDEX INDEX CONCURRENTLY public.idx_messages_words when few messages come:'
      ' until then older messages are found by what they were found by before';
  END IF;
END
$$;

SELECT gateway.note_undo('20261129000014');

-- migrate:down

SELECT gateway.take_back('20261129000014');

-- As the words were indexed before.
DO $$
BEGIN
  IF (SELECT count(*) FROM (SELECT FROM public.messages LIMIT 100001) m) <= 100000 THEN
    REINDEX INDEX public.idx_messages_words;
  ELSE
    RAISE WARNING 'run REINDEX INDEX CONCURRENTLY public.idx_messages_words when few messages come';
  END IF;
END
$$;
