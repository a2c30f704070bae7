"""Consent: who must not be written to, why, and at which addresses.

`recording` stores statements, `early` keeps those whose message is not known yet, and `inheriting`
lets a statement hold for all addresses of a person. `standing` is what accept and dispatch share.
"""
