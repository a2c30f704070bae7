"""Every query of the service. One method, one named block of `sql/queries/`; sessions' own apart.

With `gateway.schema`, the only code that knows of asyncpg.
"""
