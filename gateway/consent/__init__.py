"""Consent: who must not be written to, why, and under which of their addresses.

`recording` stores what people say, `early` what is said before anybody knows of whom, and by
`inheriting` it holds for all of a person's addresses. `standing` has the words for it.
"""
