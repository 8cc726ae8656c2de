"""The API's reference, drawn from its OpenAPI document."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api.v1 import api


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    summary: str
    description: str
    parameters: list[dict[str, Any]]
    body: list[dict[str, Any]]
    answers: list[str]


def _schema(document: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the named one that it refers to."""
    candidates = [reference, *reference.get("anyOf", [])]
    for candidate in candidates:
        if "$ref" in candidate:
            return document["components"]["schemas"][candidate["$ref"].rsplit("/", 1)[1]]
    return reference


def _type(schema: dict[str, Any]) -> str:
    kinds = [part.get("format") or part.get("type", "object") for part in schema.get("anyOf", [schema])]
    return " or ".join(kind for kind in kinds if kind != "null")


def _body(document: dict[str, Any], operation: dict[str, Any]) -> list[dict[str, Any]]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    schema = _schema(document, content.get("schema", {}))
    required = schema.get("required", [])
    return [
        {"name": name, "type": _type(field), "required": name in required, "description": field.get("description", "")}
        for name, field in schema.get("properties", {}).items()
    ]


def _operations(document: dict[str, Any]) -> dict[str, list[Operation]]:
    """By tag, in the order of the document."""
    found: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = [
                {"name": each["name"], "in": each["in"], "type": _type(each.get("schema", {})), "required": each.get("required", False)}
                for each in operation.get("parameters", [])
            ]
            found.setdefault(operation.get("tags", ["Other"])[0], []).append(
                Operation(
                    method.upper(),
                    path,
                    operation.get("summary", ""),
                    operation.get("description", ""),
                    parameters,
                    _body(document, operation),
                    [str(status) for status in operation.get("responses", {})],
                )
            )
    return found


def reference(request: HttpRequest) -> HttpResponse:
    document = api.get_openapi_schema()
    return render(request, "api/reference.html", {"groups": _operations(document), "origin": f"{request.scheme}://{request.get_host()}"})
