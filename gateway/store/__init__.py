"""Every query of the service. One method, one named block of `sql/queries/`.

Only what opens a transaction, or asks about connections and sessions (`waits`), is in Python.

With `gateway.migrate`, the only code that knows of asyncpg.
"""
