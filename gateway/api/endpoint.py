"""One endpoint of /v1: its request and answer, and the steps around its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from uuid import UUID

import pydantic_core
from aiohttp import web
from pydantic import BaseModel, ValidationError

from gateway.problems import FieldError, Problem, invalid
from gateway.shapes.base import PageQuery
from gateway.store.database import Caller, Staff
from gateway.store.paging import Cursor
from gateway.store.values import as_json_bytes

if TYPE_CHECKING:
    from gateway.web.services import Services

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """One request that has been recognised and read."""

    services: Services
    request: web.Request
    caller: Caller
    body: Any = None
    query: Any = None

    @property
    def id(self) -> UUID:
        """The `{id}` of the path; raises `Problem` 404 if it is no UUID."""
        try:
            return UUID(self.request.match_info["id"])
        except ValueError:
            raise Problem(404, "The id in the path is not a UUID.") from None

    @property
    def organization_id(self) -> UUID:
        """The caller's organization, the only one that this call can touch."""
        return self.caller.organization_id

    @property
    def cursor(self) -> Cursor | None:
        """Where the page begins; raises `Problem` 422 for a malformed cursor."""
        query: PageQuery = self.query
        if query.cursor is None:
            return None
        try:
            return Cursor.read(query.cursor)
        except ValueError as error:
            raise invalid([FieldError("cursor", str(error))]) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A row of the table of endpoints; routes and OpenAPI are made from it."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Callable[[Call], Awaitable[web.StreamResponse]]
    summary: str
    answer: type[BaseModel] | None = None
    status: int = 200
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    admin: bool = False
    reads_body_itself: bool = False
    is_file: bool = False
    streams: tuple[str, ...] = ()  # media types of an answer that is no JSON
    headers: tuple[str, ...] = ()
    problems: tuple[int, ...] = field(default=())

    def bound(self, services: Services) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The handler as aiohttp calls it: recognise, read, then do."""

        async def handle(request: web.Request) -> web.StreamResponse:
            caller = await services.callers.recognise(request.headers.get("Authorization"))
            if self.admin and not (isinstance(caller, Staff) and caller.may_administer):
                raise Problem(403, "Only an owner or admin of the organization may do this.")
            query = read_query(self.query, request) if self.query else None
            body = None
            if self.body and not self.reads_body_itself:
                body = read_body(self.body, await request.read())
            response = await self.handler(
                Call(services=services, request=request, caller=caller, body=body, query=query)
            )
            if made := response.headers.get("Location"):
                response.headers["Location"] = services.settings.prefix + made
            return response

        return handle


def parse_json(raw: bytes) -> Any:  # noqa: ANN401 - any JSON
    """The body as JSON; raises `Problem` 400."""
    try:
        # With the models' own parser: integers of any size, and the same limit of nesting.
        return pydantic_core.from_json(raw, allow_inf_nan=False)
    except ValueError as error:
        raise Problem(400, f"The body is not well-formed JSON: {error}.") from None


def read_body(model: type[M], raw: bytes) -> M:
    """The body as a model; raises `Problem` 400 or 422."""
    parse_json(raw)
    return read_json(model, raw)


def read_json(model: type[M], raw: bytes) -> M:
    """Well-formed JSON as a model; raises `Problem` 422 with every field that is wrong."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def read_query(model: type[M], request: web.Request) -> M:
    """The query string as a model; raises `Problem` 422."""
    given: dict[str, str] = {}
    for name, value in request.query.items():
        if name in given:
            raise invalid([FieldError(name, "is given twice")])
        given[name] = value
    try:
        return model.model_validate_strings(given)
    except ValidationError as error:
        raise invalid(field_errors(error)) from None


def field_errors(error: ValidationError) -> list[FieldError]:
    """pydantic's findings in the words of this API."""
    found = []
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        name = ".".join(str(part) for part in one["loc"]) or "body"
        text = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            text = "is not a field of this request"
        elif one["type"] == "missing":
            text = "is required"
        found.append(FieldError(name, text))
    return found


def as_bytes(value: object) -> bytes:
    """JSON as this API writes it."""
    return as_json_bytes(value)


def refuse(problem: Problem) -> web.Response:
    """The answer that is a problem."""
    return web.Response(
        body=as_bytes(problem.as_json()),
        status=problem.status,
        content_type="application/problem+json",
        headers=dict(problem.headers),
    )


def respond(
    value: object, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=as_bytes(value), status=status, content_type="application/json", headers=headers
    )
