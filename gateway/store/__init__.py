"""Every query of the service: each function runs a named block of `sql/queries/`, apart from
statements about a session or transaction. Only this and `gateway.schema` import asyncpg."""
