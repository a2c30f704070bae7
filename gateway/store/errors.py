"""asyncpg's many errors as a few, by what they mean to callers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import asyncpg

# Errors of the connection, or of a server that stops, starts, is full or broken: not of statements.
AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # a pooled connection that the server has just cut: "cannot switch to state ..."
    asyncpg.InternalClientError,
    asyncpg.exceptions.OperatorInterventionError,
    asyncpg.exceptions.InsufficientResourcesError,
    asyncpg.exceptions.TransactionRollbackError,
    # a login or a database that does not exist (yet)
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.ObjectNotInPrerequisiteStateError,  # a database that takes no connections
    # a standby, or a full disk: then Supabase makes a database read-only
    asyncpg.exceptions.ReadOnlySQLTransactionError,
    # the server ended an idle transaction of ours, and with it the connection
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.TransactionTimeoutError,
    # the server's disk or files; with the second, Supabase's pooler says that it is full
    asyncpg.exceptions.PostgresSystemError,
    asyncpg.exceptions.InternalServerError,
    OSError,
    TimeoutError,
)
# A pooler ran the statement on another connection than the one on which it was prepared.
_PREPARED_ELSEWHERE = (
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidSQLStatementNameError,
)
# A deadlock, or a serialization failure.
_ENDED_FOR_ANOTHER = (
    asyncpg.exceptions.DeadlockDetectedError,
    asyncpg.exceptions.SerializationError,
)
# A table was changed after the statement was prepared; asyncpg prepares all statements anew.
_CHANGED = (
    asyncpg.exceptions.InvalidCachedStatementError,
    asyncpg.exceptions.OutdatedSchemaCacheError,
)
_NOT_MIGRATED = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)
# A row violates a rule, perhaps one of another program, or a trigger raised an error.
_AGAINST_A_RULE = (
    asyncpg.exceptions.IntegrityConstraintViolationError,
    asyncpg.exceptions.WithCheckOptionViolationError,
    asyncpg.exceptions.PLPGSQLError,
)
# The same, or a trigger lacks a privilege: errors without a field for the table, whose messages, if
# they are PostgreSQL's own, quote no value.
_AGAINST_A_RULE_IN_WORDS = (
    asyncpg.exceptions.InsufficientPrivilegeError,
    asyncpg.exceptions.StringDataRightTruncationError,  # our own columns are as long as they need
)
_CONFLICTS = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
# If the server itself raises these, they mean the same in a function of another program, too. But
# such a function may also raise them itself, or pass them on from another server.
_OF_THE_SERVER = (
    *_ENDED_FOR_ANOTHER,
    asyncpg.exceptions.LockNotAvailableError,
    asyncpg.exceptions.QueryCanceledError,
    asyncpg.exceptions.DiskFullError,
    asyncpg.exceptions.OutOfMemoryError,
    asyncpg.exceptions.PostgresSystemError,
)
_SAYS_SO = ("exec_stmt_raise", "dblink_res_error", "pgfdw_report_error")
# In the context of an error: its PL functions, innermost first; ours are in the schema `gateway`.
_FUNCTION = re.compile(r"PL/\w+ function \"?(?!gateway\.)([^\s\"]+)")


class DatabaseAwayError(Exception):
    """PostgreSQL did not answer, or not in time: nothing is known to be stored, try again."""


class NoSessionError(DatabaseAwayError):
    """A transaction pooler is in between: no connection can keep a session."""


class NotMigratedError(DatabaseAwayError):
    """The database lacks migrations: the same statement will succeed once it has them."""


class RolledBackError(DatabaseAwayError):
    """A deadlock, a serialization failure or a changed table ended it: nothing is stored."""


class HeldError(DatabaseAwayError):
    """Another transaction has held a lock for too long: nothing is stored."""


class SlowError(DatabaseAwayError):
    """A statement exceeded its time limit: nothing is stored."""


class TrialError(Exception):
    """Raised by ourselves, to roll back a trial."""


class BusyError(DatabaseAwayError):
    """Other requests of the same organization use up its share of the connections: try again."""


class ConflictError(Exception):
    """A unique constraint or a foreign key refused the row; `constraint` is its name."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class RefusedError(Exception):
    """A rule of the database that the gateway does not know refuses the row.

    Another program's constraint or trigger, or its column that must not be null. `rule` has only
    names: the rest of what PostgreSQL says may quote a body or an address.
    """

    def __init__(self, rule: Mapping[str, str]) -> None:
        super().__init__(rule)
        self.rule = rule

    def __str__(self) -> str:
        named = ", ".join(f"{name} {value}" for name, value in self.rule.items())
        return f"a rule of the database refuses it ({named})"


# After these certainly nothing is stored, and the same transaction may succeed at once.
UNDONE = (RolledBackError, ConflictError)
# After these nothing is stored, either, but their cause may still be there.
NOT_STORED = (*UNDONE, RefusedError, HeldError, SlowError, BusyError)

# Single rows may cause these: another program has them locked, or its trigger waits or is slow.
OF_ITS_ROWS = (HeldError, SlowError)


@contextmanager
def plainly() -> Iterator[None]:
    """Raise asyncpg's errors as the classes of this module, except for our own mistakes."""
    try:
        with _functions_of_others():
            yield
    except (*_AGAINST_A_RULE, *_AGAINST_A_RULE_IN_WORDS) as error:
        raise _refused(error) from error
    except _NOT_MIGRATED as error:
        raise NotMigratedError(
            f"the database has not all migrations ({_one_line(error)}): run 'gateway migrate up'"
        ) from error
    except _PREPARED_ELSEWHERE as error:
        raise DatabaseAwayError(
            f"DATABASE_URL is a transaction pooler, set DATABASE_DIRECT_URL ({_one_line(error)})"
        ) from error
    except _ENDED_FOR_ANOTHER as error:
        raise RolledBackError(f"it ended for another transaction ({_one_line(error)})") from error
    except _CHANGED as error:
        raise RolledBackError(f"a table was changed just now ({_one_line(error)})") from error
    except asyncpg.exceptions.LockNotAvailableError as error:
        raise HeldError(f"another transaction holds it ({_one_line(error)})") from error
    except asyncpg.exceptions.ClientConfigurationError as error:
        raise DatabaseAwayError(f"the address cannot be used ({_one_line(error)})") from error
    except AWAY as error:
        # asyncpg.DataError, a `ValueError`: a wrong parameter of ours. A bad certificate is both.
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            raise
        is_slow = isinstance(error, asyncpg.exceptions.QueryCanceledError)
        kind = SlowError if is_slow else DatabaseAwayError
        raise kind(f"the database does not answer: {_one_line(error)}") from error


@contextmanager
def _functions_of_others() -> Iterator[None]:
    """Raise errors in another program's trigger as `RefusedError`, whatever their class is."""
    try:
        yield
    except asyncpg.PostgresError as error:
        # Otherwise the server ended the whole connection.
        is_of_a_statement = getattr(error, "severity_en", None) == "ERROR"
        is_servers = isinstance(error, _OF_THE_SERVER) and not _is_said(error)
        if is_servers or not is_of_a_statement or _function(error) is None:
            raise
        raise _refused(error) from error


def _refused(error: asyncpg.PostgresError) -> ConflictError | RefusedError:
    if isinstance(error, _CONFLICTS) and not _is_of_another_program(error):
        return ConflictError(error.constraint_name or "")
    named = {
        "table": error.table_name,
        "column": error.column_name,
        "constraint": error.constraint_name,
        "function": _function(error),
        "sqlstate": error.sqlstate,
        "says": str(error.args[0]) if _says_no_value(error) else None,
    }
    return RefusedError({name: value for name, value in named.items() if value})


def _says_no_value(error: asyncpg.PostgresError) -> bool:
    # A trigger may raise an error with any code, in words of its own that may quote anything.
    return isinstance(error, _AGAINST_A_RULE_IN_WORDS) and not _is_said(error)


def _is_said(error: asyncpg.PostgresError) -> bool:
    return error.server_source_function in _SAYS_SO


def _function(error: asyncpg.PostgresError) -> str | None:
    """The function of another program in which the error occurred."""
    found = _FUNCTION.search(error.context or "")
    return found[1] if found else None


def _is_of_another_program(error: asyncpg.PostgresError) -> bool:
    # Messages have no other unique index of ours, and no id collides with it: new messages have new
    # ids, and a message that comes again is recognised by its id. Trying again would not help.
    return (
        isinstance(error, asyncpg.UniqueViolationError)
        and (error.schema_name, error.table_name) == ("public", "messages")
        and error.constraint_name != "messages_organization_id_id_key"
    )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip(": ")
