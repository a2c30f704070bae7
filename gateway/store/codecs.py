"""PostgreSQL's values in Python, even those that Python cannot represent.

Any program that writes a row may write the year 294000, or JSON of a thousand levels, and
PostgreSQL stores it. A worker reads rows of all organizations together: if one value of one row
could not be read, nobody's messages would be sent.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from channels.json_text import load

if TYPE_CHECKING:
    from gateway.store.database import Direct

# In place of JSON that cannot be read. A text, where an object or a list is expected: so it is
# refused where that matters, and visible where it is shown.
UNREADABLE = "[JSON that cannot be read]"
# Characters of JSON in a column, and of JSON with few commas, so few values: of the 64 KiB that
# callers may store PostgreSQL makes 3.3 Mi if they are nothing but `1e308`, which it writes out.
# Twelve megabytes of empty lists are 400 MiB in Python, and nobody is served while they are made.
_MOST, _MOST_OF_FEW, _FEW = 2 * 2**20, 4 * 2**20, 2**16

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# Python's first and last moment in microseconds, and the times that replace those outside: a day
# within the range, so that they exist in every time zone.
_FIRST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_BEFORE, _BEHIND = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1).toordinal()
# orjson reads a thousand levels but writes 254; JSON with no more brackets than this is fine.
_BRACKETS = 254

# Array types of PostgreSQL, whose OIDs never change (pg_type.dat): OID, name, OID of the elements.
# Otherwise asyncpg would query them on every new connection, in three round trips and 7 ms of the
# server's time.
_ARRAYS = (
    (199, "_json", 114),
    (1000, "_bool", 16),
    (1001, "_bytea", 17),
    (1005, "_int2", 21),
    (1007, "_int4", 23),
    (1015, "_varchar", 1043),
    (1016, "_int8", 20),
    (1022, "_float8", 701),
    (1182, "_date", 1082),
    (1185, "_timestamptz", 1184),
    (1231, "_numeric", 1700),
    (2951, "_uuid", 2950),
    (3807, "_jsonb", 3802),
)
# The rows that asyncpg's query would return; it has no public way to supply them.
_TYPES = [
    {
        "oid": oid,
        "ns": "pg_catalog",
        "name": name,
        "kind": b"b",
        "basetype": None,
        "elemtype": element,
        "elemdelim": ",",
        "range_subtype": None,
        "attrtypoids": None,
        "attrnames": None,
    }
    for oid, name, element in _ARRAYS
]


async def use(connection: Direct) -> None:
    """Set these codecs on a new connection."""
    # What queries put together from many rows is `json`, and columns are `jsonb`.
    for name, decoder in (("json", read_json), ("jsonb", read_column)):
        await connection.set_type_codec(
            # Parameters come as JSON text already, from `as_json`.
            name,
            schema="pg_catalog",
            encoder=str,
            decoder=decoder,
            format="text",
        )
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", encoder=_micros, decoder=_time, format="tuple"
    )
    await connection.set_type_codec(
        "date", schema="pg_catalog", encoder=_days, decoder=_date, format="tuple"
    )
    # Last, because an array takes the codec that its elements have when it is registered.
    protocol = connection._protocol  # type: ignore[attr-defined]  # noqa: SLF001 - see _TYPES
    protocol.get_settings().register_data_types(_TYPES)


def read_column(text: str) -> Any:  # noqa: ANN401 - any JSON
    """The value of a column; `UNREADABLE` also for one that is far larger than any of ours."""
    is_read = len(text) <= _MOST or (len(text) <= _MOST_OF_FEW and text.count(",") < _FEW)
    return read_json(text) if is_read else UNREADABLE


def read_json(text: str) -> Any:  # noqa: ANN401 - any JSON
    """The value of a JSON text; `UNREADABLE` for one that orjson could not write again."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:  # too deep, or a number that no double holds
        return _read_odd(text)
    if len(text) > _BRACKETS and text.count("[") + text.count("{") > _BRACKETS:
        return _writable(value)
    return value


def _read_odd(text: str) -> Any:  # noqa: ANN401 - any JSON
    try:
        value = load(text, parse_int=_number, parse_float=_number)
    except ValueError:
        return UNREADABLE
    return _writable(value)


def _number(text: str) -> int | float | None:
    if text.lstrip("-").isdigit() and len(text) < 19:
        return int(text)
    number = float(text)
    return number if abs(number) < float("inf") else None


def _writable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    try:
        orjson.dumps(value)
    except TypeError:
        return UNREADABLE
    return value


def _micros(at: datetime) -> tuple[int]:
    return ((at - _EPOCH) // _MICROSECOND,)


def _time(value: tuple[int]) -> datetime:
    micros = value[0]
    if _FIRST <= micros <= _LAST:
        return _EPOCH + timedelta(microseconds=micros)
    return _BEFORE if micros < 0 else _BEHIND


def _days(day: date) -> tuple[int]:
    return (day.toordinal() - _EPOCH_DAY,)


def _date(value: tuple[int]) -> date:
    ordinal = min(max(value[0] + _EPOCH_DAY, date.min.toordinal()), date.max.toordinal())
    return date.fromordinal(ordinal)
