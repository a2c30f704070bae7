"""One endpoint of /v1: its request and answer, and the steps around its handler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel

from channels.frozen import frozen
from gateway.problems import FieldError, Problem, invalid, unknown_coding
from gateway.shapes.base import PageQuery, Shape
from gateway.store.database import Caller, Staff
from gateway.store.paging import Cursor
from gateway.web.http import has_known_coding, read_body, read_query
from gateway.web.services import SERVICES, Services


@frozen
class Call:
    """One request: its caller is known, and its body and query have been read."""

    services: Services
    request: web.Request
    caller: Caller
    body: Any = None
    query: Any = None

    @property
    def id(self) -> UUID:
        """The `{id}` of the path; raises `Problem` 404 if it is not a UUID."""
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
    keys_or_admin: bool = False  # every caller except staff who are neither owner nor admin
    reads_body_itself: bool = False
    is_file: bool = False
    streams: tuple[str, ...] = ()  # media types of an answer that is not JSON
    headers: tuple[str, ...] = ()
    conflicts: bool = False  # it may answer 409

    @property
    def methods(self) -> tuple[str, ...]:
        """The method, and HEAD in addition to GET (RFC 9110, 9.1), except for streams."""
        is_read = self.method == "GET" and not self.streams
        return (self.method, "HEAD") if is_read else (self.method,)

    @property
    def refusals(self) -> set[int]:
        """The statuses of all problems that the endpoint may answer with."""
        found = {401, 403, 503}
        if self.conflicts:
            found.add(409)
        if "{id}" in self.path:
            found.add(404)
        if self.is_file:
            found.add(416)
        if self.body:
            found |= {400, 413, 415}
        if self.query or self.method != "GET":
            found.add(422)
        return found

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request: authenticate the caller, read the request, call the handler."""
        services = request.app[SERVICES]
        caller = await services.callers.recognise(request.headers.get("Authorization"))
        if not has_known_coding(request):  # aiohttp would read the body as if it had none
            raise unknown_coding()
        is_admin = isinstance(caller, Staff) and caller.may_administer
        if (self.admin and not is_admin) or (
            self.keys_or_admin and isinstance(caller, Staff) and not is_admin
        ):
            raise Problem(403, "Only an owner or admin of the organization may do this.")
        query = None
        if self.query:
            query = read_query(self.query, request)
        elif self.method != "GET" and request.query_string:
            # Whoever sends `?dry_run=1` believes that this is a parameter: nothing may be sent.
            read_query(Shape, request)
        body = None
        if self.body and not self.reads_body_itself:
            body = read_body(self.body, await request.read())
        response = await self.handler(
            Call(services=services, request=request, caller=caller, body=body, query=query)
        )
        if made := response.headers.get("Location"):
            response.headers["Location"] = services.settings.prefix + made
        return response
