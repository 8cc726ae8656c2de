"""The OpenAPI document, tried with what it allows and with what it forbids: no operation fails, and each answers as it says."""

import re
from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import strategies as some
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import response_schema_conformance

from accounts import tokens
from api.v1 import api
from tests.access import World

EXAMPLES = 10
CHECKS = [not_a_server_error, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(api.get_openapi_schema(path_prefix="/api/v1/"))
SCHEMA.app = get_wsgi_application()
OPERATIONS = [found.ok() for found in SCHEMA.get_all_operations()]
# A real object and a real verb are tried as often as what hypothesis makes up.
VERBS = ["start", "shutdown", "run_once", "poweroff", "activate", "maintenance", "remove", "edit", "console"]


@pytest.fixture
def world(db) -> Iterator[World]:
    """As Django's own test client does, a request leaves the test's connection open."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield World()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.label)
def test_no_input_makes_an_operation_fail_or_answer_otherwise_than_it_says(operation, world, caplog):
    caplog.set_level("ERROR", "api.problems")
    _token, text = tokens.create(world.root, "fuzz")
    cases = some.one_of(operation.as_strategy(generation_mode=mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

    @hypothesis.settings(
        max_examples=EXAMPLES, database=None, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=cases, real=some.booleans(), verb=some.sampled_from(VERBS))
    def attempt(case: Any, real: bool, verb: str) -> None:
        if real and "pk" in operation.path:
            case.path_parameters = _real(operation.path, world) | {"action": verb, "object_type": "vm"}
        with transaction.atomic():
            case.call_and_validate(checks=CHECKS, headers={"Authorization": f"Bearer {text}"})
            transaction.set_rollback(True)

    attempt()


def _real(path: str, world: World) -> dict[str, str]:
    """Objects that exist, for each id in the path."""
    route = path.removeprefix("/api/v1").lstrip("/")
    found = {}
    for place in re.finditer(r"\{(\w*pk|key|row|agent)\}", route):
        before = route[: place.start()].rstrip("/").rsplit("/", 1)[-1]
        found[place[1]] = str(world.key_of(route, before))
    return found


def test_the_document_names_every_operation():
    assert len(OPERATIONS) >= 20
