"""/openapi.json: OpenAPI 3.1, made from the table of endpoints and its pydantic models, with the
endpoints for operators."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from gateway.api.endpoint import Endpoint
from gateway.api.table import ENDPOINTS
from gateway.shapes.base import ProblemAnswer

_REF = "#/components/schemas/{model}"
_MEANINGS = {
    400: "The body is not well-formed JSON",
    401: "No credentials, or bad ones",
    403: "Not allowed",
    404: "There is none with that id in your organization",
    409: "Not possible in this state",
    413: "The body is larger than 10 MiB",
    415: "The body has a Content-Encoding that is not known",
    416: "It ends before the part that `Range` asks for",
    422: "Fields are wrong; all of them are named",
    503: "The database does not answer, or too much waits: try again",
}


_OK = {"const": "ok"}
# path, summary, media type, schema of the answer, other answers
_OPERATIONS: tuple[tuple[str, str, str, dict[str, Any], tuple[int, ...]], ...] = (
    (
        "/healthz",
        "Whether the process answers",
        "application/json",
        {"type": "object", "required": ["status"], "properties": {"status": _OK}},
        (),
    ),
    (
        "/readyz",
        "Whether the database answers and has every migration; 503 says what is missing",
        "application/json",
        {
            "type": "object",
            "required": ["status", "migrations"],
            "properties": {
                "status": _OK,
                "migrations": {"type": "array", "items": {"type": "string"}},
            },
        },
        (503,),
    ),
    (
        "/metrics",
        "Numbers for Prometheus, of all processes of the machine, without a database too",
        "text/plain",
        {"type": "string"},
        (),
    ),
)


@cache
def describe(server: str) -> dict[str, Any]:
    """The document, cached: it is the same for every request to one server."""
    names, schemas = _schemas()
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        operations = paths.setdefault(endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, names, schemas)
    for path, summary, media_type, schema, problems in _OPERATIONS:
        answer = {"description": summary, "content": {media_type: {"schema": schema}}}
        paths[path] = {
            "get": {
                "summary": summary,
                "operationId": f"operations_get_{path[1:]}",
                "tags": ["operations"],
                "security": [],
                "parameters": [],
                "responses": {"200": answer, **_problems(problems, names)},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Omnichannel messaging gateway",
            "version": version("omnichannel-gateway"),
            "description": "Send by e-mail, SMS, WhatsApp and phone call; read what became of it.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {
                name: schema for name, schema in schemas.items() if not name.endswith("Query")
            },
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key (gw_...), or a Supabase JWT of active staff",
                }
            },
        },
    }


def _schemas() -> tuple[dict[type[BaseModel], str], dict[str, Any]]:
    wanted: list[tuple[type[BaseModel], Any]] = [(ProblemAnswer, "serialization")]
    for endpoint in ENDPOINTS:
        wanted += [(model, "validation") for model in (endpoint.body, endpoint.query) if model]
        wanted += [(endpoint.answer, "serialization")] if endpoint.answer else []
    refs, definitions = models_json_schema(
        list(dict.fromkeys(wanted)),
        ref_template=_REF,
    )
    names = {
        model: str(ref["$ref"]).rsplit("/", 1)[1]
        for (model, _), ref in refs.items()
        if issubclass(model, BaseModel)
    }
    return names, dict(definitions["$defs"])


def _operation(
    endpoint: Endpoint, names: dict[type[BaseModel], str], schemas: dict[str, Any]
) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": endpoint.summary,
        "operationId": f"{endpoint.handler.__module__.rsplit('.', 1)[1]}_"
        + re.sub(r"\W+", "_", f"{endpoint.method}{endpoint.path}").strip("_").lower(),
        "tags": [endpoint.path.split("/")[2]],
        "parameters": _parameters(endpoint, names, schemas),
        "responses": {str(endpoint.status): _answer(endpoint, names)},
    }
    if endpoint.is_file:
        part = {"description": "The part that `Range` asks for", "content": {"*/*": {}}}
        operation["responses"]["206"] = part
    if endpoint.body:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _ref(names[endpoint.body])}},
        }
    operation["responses"] |= _problems(endpoint.refusals, names)
    return operation


def _problems(statuses: Iterable[int], names: dict[type[BaseModel], str]) -> dict[str, Any]:
    schema = {"schema": _ref(names[ProblemAnswer])}
    return {
        str(status): {
            "description": _MEANINGS[status],
            "content": {"application/problem+json": schema},
        }
        for status in sorted(statuses)
    }


def _parameters(
    endpoint: Endpoint, names: dict[type[BaseModel], str], schemas: dict[str, Any]
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        }
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]
    if endpoint.query:
        found += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in schemas[names[endpoint.query]]["properties"].items()
        ]
    found += [
        {
            "name": name,
            "in": "header",
            "required": False,
            "schema": {"type": "string", "minLength": 1, "maxLength": 255},
        }
        for name in endpoint.headers
    ]
    return found


def _answer(endpoint: Endpoint, names: dict[type[BaseModel], str]) -> dict[str, Any]:
    if endpoint.is_file:
        return {"description": "The file", "content": {"*/*": {}}}
    if endpoint.streams:
        return {"description": endpoint.summary, "content": {each: {} for each in endpoint.streams}}
    if endpoint.answer is None:
        return {"description": "Done"}
    return {
        "description": endpoint.summary,
        "content": {"application/json": {"schema": _ref(names[endpoint.answer])}},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(model=name)}
