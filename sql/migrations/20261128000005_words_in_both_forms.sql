-- A word is found however its accents are written: é as one letter, or as two, as some keyboards and
-- files have it.

-- migrate:up

SELECT gateway.remember();

-- What somebody typed, as a query: words, "phrases", beginnings*, -not, or. Anything may be typed; what
-- cannot be searched for is refused with SQLSTATE 22023 and a text that completes "q ...". What was
-- indexed stays as it came, so each word is looked for in both of Unicode's forms beside its own.
CREATE OR REPLACE FUNCTION gateway.words_query(q text) RETURNS tsquery
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
  SET client_min_messages = warning -- words that are none are no news
AS $$
DECLARE
  part text[];
  forms text[];
  form text;
  one tsquery;
  term tsquery;
  branch tsquery := '';
  found tsquery := '';
  nodes integer := 0; -- as if there were one form of each
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
    term := '';
    FOREACH form IN ARRAY forms LOOP
      one := phraseto_tsquery('simple', regexp_replace(
        translate(form, '<', ' ') COLLATE "C", '(\S{100})', '\1 ', 'g'));
      CONTINUE WHEN numnode(one) = 0;
      IF form = forms[1] THEN
        nodes := nodes + numnode(one) + 1;
      END IF;
      IF part[3] LIKE '_%*' THEN -- a word with a hyphen is several: each of them may go on
        one := regexp_replace(one::text, '(''(?:[^'']|'''')+'')', '\1:*', 'g');
      ELSIF part[2] LIKE '%_*' THEN
        one := one::text || ':*';
      END IF;
      term := term || one;
    END LOOP;
    CONTINUE WHEN numnode(term) = 0;
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

SELECT gateway.note_undo('20261128000005');

-- migrate:down

SELECT gateway.take_back('20261128000005');
