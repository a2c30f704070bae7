"""Makes rows for any table from PostgreSQL's catalogue, so that new tables need no new fixtures."""

# ruff: noqa: S608 (the names come from the catalogue)

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

if TYPE_CHECKING:
    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

A = uuid.UUID("aaaaaaaa-0000-4000-8000-000000000000")
B = uuid.UUID("bbbbbbbb-0000-4000-8000-000000000000")

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, c.oid,
  (SELECT json_agg(json_build_object(
      'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod),
      'needed', a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
      'given', a.attidentity = '' AND a.attgenerated = '') ORDER BY a.attnum)
   FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text
   AS columns,
  coalesce((SELECT json_agg(json_build_object(
      'target', format('%I.%I', fn.nspname, f.relname),
      'columns', (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(k0.conkey)
        WITH ORDINALITY k(num, n) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.num),
      'target_columns', (SELECT array_agg(a.attname ORDER BY k.n) FROM unnest(k0.confkey)
        WITH ORDINALITY k(num, n) JOIN pg_attribute a ON a.attrelid = f.oid AND a.attnum = k.num)))
   FROM pg_constraint k0 JOIN pg_class f ON f.oid = k0.confrelid
   JOIN pg_namespace fn ON fn.oid = f.relnamespace
   WHERE k0.conrelid = c.oid AND k0.contype = 'f'), '[]')::text AS links,
  (SELECT coalesce(array_agg(pg_get_constraintdef(k.oid)), '{}')
   FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'c') AS checks
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'gateway') AND c.relkind IN ('r', 'p')
ORDER BY 1
"""
_WORDS = re.compile(r"\(\(?(\w+) = ANY \(ARRAY\['(\w+)'")


@dataclass(frozen=True, kw_only=True)
class Link:
    """A foreign key."""

    target: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as the catalogue describes it."""

    name: str
    types: dict[str, str]
    needed: frozenset[str]
    links: tuple[Link, ...]
    words: dict[str, str] = field(default_factory=dict)

    @property
    def tenant(self) -> str | None:
        """The column with the organization; None if the rows belong to none."""
        if self.name == "public.organizations":
            return "id"
        return "organization_id" if "organization_id" in self.types else None


async def tables(connection: Connection) -> dict[str, Table]:
    """Every table of the schemas `public` and `gateway`."""
    import json

    found = {}
    for row in await connection.fetch(_TABLES):
        columns = json.loads(row["columns"])
        found[row["name"]] = Table(
            name=row["name"],
            types={c["name"]: c["type"] for c in columns if c["given"]},
            needed=frozenset(c["name"] for c in columns if c["needed"] and c["given"]),
            links=tuple(
                Link(
                    target=link["target"],
                    columns=tuple(link["columns"]),
                    target_columns=tuple(link["target_columns"]),
                )
                for link in json.loads(row["links"])
            ),
            words={m[1]: m[2] for check in row["checks"] for m in _WORDS.finditer(check)},
        )
    return found


class Rows:
    """Makes rows of an organization, after the rows that they refer to."""

    def __init__(self, connection: Connection, found: dict[str, Table]) -> None:
        self.connection = connection
        self.tables = found
        self.made: dict[tuple[str, uuid.UUID], dict[str, Any]] = {}
        self._number = count(1)

    async def fill(self, organization: uuid.UUID) -> None:
        """Make a row in every table of tenants."""
        for table in self.tables.values():
            if table.tenant:
                await self.row(table.name, organization)

    async def row(self, name: str, organization: uuid.UUID) -> dict[str, Any]:
        """The organization's row in this table, made now if there is none."""
        key = (name, organization)
        if key not in self.made:
            values = await self.values(self.tables[name], organization)
            self.made[key] = dict(await insert(self.connection, name, values))
        return self.made[key]

    async def values(self, table: Table, organization: uuid.UUID) -> dict[str, Any]:
        """The values of a new row of the organization: required columns, and all foreign keys."""
        values = {column: self.value(table, column) for column in table.needed}
        for link in table.links:
            if link.target == table.name:
                continue
            target = await self.row(link.target, organization)
            values |= {
                column: target[other]
                for column, other in zip(link.columns, link.target_columns, strict=True)
            }
        if table.tenant:
            values[table.tenant] = organization
        return values

    def value(self, table: Table, column: str) -> Any:
        """A valid value for the column, a different one each time."""
        number = next(self._number)
        if column in table.words:
            return table.words[column]
        made: dict[str, Any] = {
            "uuid": uuid.uuid4(),
            "text": f"{column} {number}",
            "character varying": f"{column} {number}",
            "bytea": f"{column} {number}".encode(),
            "jsonb": "{}",
            "text[]": [],
            "integer": number,
            "bigint": number,
            "smallint": 1,
            "double precision": 1.0,
            "boolean": False,
            "date": date(2026, 1, 1),
            "timestamp with time zone": datetime(2026, 1, 1, tzinfo=UTC),
        }
        return made[table.types[column]]


async def insert(connection: Connection, table: str, values: dict[str, Any]) -> asyncpg.Record:
    """Insert a row; returns it as it is stored."""
    columns = ", ".join(f'"{column}"' for column in values)
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    row = await connection.fetchrow(
        f"INSERT INTO {table} ({columns}) VALUES ({places}) RETURNING *", *values.values()
    )
    assert row is not None
    return row
