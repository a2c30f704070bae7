"""asyncpg's many errors as the few that make a difference to callers."""

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
    # of a login or a database that is not there (yet)
    asyncpg.exceptions.InvalidAuthorizationSpecificationError,
    asyncpg.exceptions.InvalidCatalogNameError,
    asyncpg.exceptions.ObjectNotInPrerequisiteStateError,  # one that takes no connections now
    # a standby, or a full disk: then Supabase makes a database read-only
    asyncpg.exceptions.ReadOnlySQLTransactionError,
    # the server ended an idle transaction of ours, and with it the connection
    asyncpg.exceptions.IdleInTransactionSessionTimeoutError,
    asyncpg.exceptions.TransactionTimeoutError,
    # its disk or its files; Supabase's pooler says with the second that it is full
    asyncpg.exceptions.PostgresSystemError,
    asyncpg.exceptions.InternalServerError,
    OSError,
    TimeoutError,
)
# A pooler gave the statement to another connection than the one on which it was prepared.
_PREPARED_ELSEWHERE = (
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.InvalidSQLStatementNameError,
)
# Each waited for the other, or read what the other was writing.
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
# A row breaks a rule, perhaps another program's; or that program's trigger lacks a privilege.
_AGAINST_A_RULE = (
    asyncpg.exceptions.IntegrityConstraintViolationError,
    asyncpg.exceptions.WithCheckOptionViolationError,
    asyncpg.exceptions.PLPGSQLError,
)
# PostgreSQL's own messages of these name no table in a field of its own, and quote no value.
_AGAINST_A_RULE_IN_WORDS = (
    asyncpg.exceptions.InsufficientPrivilegeError,
    asyncpg.exceptions.StringDataRightTruncationError,  # our own columns are as long as they need
)
_CONFLICTS = (asyncpg.UniqueViolationError, asyncpg.ForeignKeyViolationError)
# Where the server itself says these, they are what they say in another program's function, too;
# that function may only say so, or pass on what another server said.
_OF_THE_SERVER = (
    *_ENDED_FOR_ANOTHER,
    asyncpg.exceptions.LockNotAvailableError,
    asyncpg.exceptions.QueryCanceledError,
    asyncpg.exceptions.DiskFullError,
    asyncpg.exceptions.OutOfMemoryError,
    asyncpg.exceptions.PostgresSystemError,
)
_SAYS_SO = ("exec_stmt_raise", "dblink_res_error", "pgfdw_report_error")
# Functions under way, the innermost first; our own have a schema of their own.
_FUNCTION = re.compile(r"PL/\w+ function \"?(?!gateway\.)([^\s\"]+)")


class DatabaseAwayError(Exception):
    """PostgreSQL did not answer, or not in time: nothing is known to be stored, try again."""


class NoSessionError(DatabaseAwayError):
    """A transaction pooler is in between: no connection keeps a session, now and later."""


class NotMigratedError(DatabaseAwayError):
    """It has not all migrations: the same statement succeeds once it has."""


class RolledBackError(DatabaseAwayError):
    """It was ended for another to continue, or for a changed table: certainly nothing is stored."""


class HeldError(DatabaseAwayError):
    """Another transaction kept what this one needs locked for too long: nothing is stored."""


class SlowError(DatabaseAwayError):
    """A statement took longer than it may, and was ended: nothing is stored."""


class TrialError(Exception):
    """Raised by ourselves: it rolls back what was only a trial."""


class BusyError(DatabaseAwayError):
    """Other requests of the same organization use up its share of the connections: try again."""


class ConflictError(Exception):
    """A unique constraint or a foreign key refused the row; `constraint` is its name."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class RefusedError(Exception):
    """A rule of the database that the gateway knows nothing of refuses what is to be stored.

    A column of another program's that must not be null, its constraint, its trigger. `rule` says
    which, by names alone: what else PostgreSQL tells may quote a body or an address.
    """

    def __init__(self, rule: Mapping[str, str]) -> None:
        super().__init__(rule)
        self.rule = rule

    def __str__(self) -> str:
        named = ", ".join(f"{name} {value}" for name, value in self.rule.items())
        return f"a rule of the database refuses it ({named})"


# After these certainly nothing is stored, and the transaction that was in the way has ended.
UNDONE = (RolledBackError, ConflictError)
# After these, too, though what was in the way may still be there.
NOT_STORED = (*UNDONE, RefusedError, HeldError, SlowError, BusyError)

# These a row may cause that another program holds, or whose trigger waits or is slow.
OF_ITS_ROWS = (HeldError, SlowError)


@contextmanager
def plainly() -> Iterator[None]:
    """Raise asyncpg's many errors as the classes of this module; our own mistakes as they are."""
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
        # asyncpg.DataError: a parameter that we gave. A wrong certificate is both.
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            raise
        is_slow = isinstance(error, asyncpg.exceptions.QueryCanceledError)
        kind = SlowError if is_slow else DatabaseAwayError
        raise kind(f"the database does not answer: {_one_line(error)}") from error


@contextmanager
def _functions_of_others() -> Iterator[None]:
    """What ended in another program's trigger is that program's rule, whatever its class says."""
    try:
        yield
    except asyncpg.PostgresError as error:
        # Else the server ended the connection, and all that was under way on it.
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
    # A trigger may raise with any code, in words of its own that quote what they like.
    return isinstance(error, _AGAINST_A_RULE_IN_WORDS) and not _is_said(error)


def _is_said(error: asyncpg.PostgresError) -> bool:
    return error.server_source_function in _SAYS_SO


def _function(error: asyncpg.PostgresError) -> str | None:
    """The function of another program's in which it happened."""
    found = _FUNCTION.search(error.context or "")
    return found[1] if found else None


def _is_of_another_program(error: asyncpg.PostgresError) -> bool:
    # A new message has an id of its own, and one that came before is known by its id: no other
    # unique index is ours, and the same row meets it whenever it comes.
    return (
        isinstance(error, asyncpg.UniqueViolationError)
        and (error.schema_name, error.table_name) == ("public", "messages")
        and error.constraint_name != "messages_organization_id_id_key"
    )


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}".strip(": ")
