"""URLs that others gave: to read from and to post to, bounded in size and time, never internal.

`public` says which addresses may be called, `heads` how much a server may say before it answers.
"""
