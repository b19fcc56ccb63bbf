#!/usr/bin/env python3
"""The document: of every route, and of nothing else."""
from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from typing import Any, Dict, Iterator

import pytest

from app import KINDS, create_app
from auth import Auth
from routes.described import FIELDS, IN_PRODUCTION, OPERATIONS
from routes.guards import as_written
from routes.problems import PROBLEM
from tests.described import (
    MODES, description_of, every_mode, operations, validator)


class TestDocument:
    """What stands in it, and where that comes from."""

    @pytest.mark.skipif(find_spec("openapi_spec_validator") is None,
                        reason="needs openapi-spec-validator")
    @pytest.mark.once
    @every_mode
    def test_is_valid(self, mode: str) -> None:
        """By somebody else's reading of OpenAPI 3.1."""
        from openapi_spec_validator import OpenAPIV31SpecValidator

        OpenAPIV31SpecValidator(description_of(MODES[mode])).validate()

    @every_mode
    def test_names_every_route_and_no_other(
            self, mode: str, auth: Auth) -> None:
        """Neither can be forgotten when the other changes."""
        routes = {(method, as_written(rule.rule))
                  for rule in create_app(auth).url_map.iter_rules()
                  for method in (rule.methods or set()) - {"HEAD"}}
        described = {
            (method, path.replace("{", "<").replace("}", ">"))
            for method, path, _ in operations(mode)}
        assert described == routes

    def test_what_is_otherwise_in_production_is_a_route(self) -> None:
        """Not one more."""
        assert set(IN_PRODUCTION) <= set(OPERATIONS)

    @every_mode
    def test_every_error_can_happen_somewhere(self, mode: str) -> None:
        """An error that no route has is not described."""
        named = {code for _, _, each in operations(mode)
                 for answer in each["responses"].values()
                 for code in answer.get("content", {}).get(
                     PROBLEM, {}).get("examples", ())}
        absent = {
            "development": {"unknown_host", "weak_password", "throttled",
                            "not_verified"},
            "production": {"development_only", "unknown_email"}}[mode]
        # Of no route, of none but by mistake, and not told to clients.
        nowhere = {"method_not_allowed", "internal_error", "not_migrated"}
        assert set(KINDS) - named == absent | nowhere

    @every_mode
    def test_every_example_is_of_its_schema(self, mode: str) -> None:
        """Whoever copies one is understood."""
        document = description_of(MODES[mode])
        checked = 0
        for described in contents(document):
            check = validator(MODES[mode], described["schema"])
            for each in described.get("examples", {}).values():
                code = each["$ref"].rpartition("/")[2]
                check.validate(
                    document["components"]["examples"][code]["value"])
                checked += 1
        for each in schemas(document):
            for example in each.get("examples", ()):
                validator(MODES[mode], each).validate(example)
                checked += 1
        assert checked > 200

    @every_mode
    def test_every_link_leads_to_an_operation(self, mode: str) -> None:
        """With the fields and parameters that it has."""
        known = {each["operationId"]: (method, path, each)
                 for method, path, each in operations(mode)}
        links = [link for _, _, each in operations(mode)
                 for answer in each["responses"].values()
                 for link in answer.get("links", {}).values()]
        assert links
        for link in links:
            _, path, target = known[link["operationId"]]
            assert bool(link.get("requestBody")) == ("requestBody" in target)
            assert set(link.get("requestBody", {})) <= set(FIELDS)
            assert ("header.Authorization" in link.get("parameters", {})
                    ) == bool(target["security"])
            assert ("path.handle" in link.get("parameters", {})
                    ) == ("{handle}" in path)

    def test_operations_have_names_of_their_own(self) -> None:
        """Clients are generated with a method for each."""
        names = [each.name for each in OPERATIONS.values()]
        assert len(set(names)) == len(names)
        assert all(OPERATIONS[route].name == each.name
                   for route, each in IN_PRODUCTION.items())

    def test_limits_are_those_of_the_code(self, safe: Auth) -> None:
        """A client can check a field before it sends it."""
        settings = dataclasses.replace(MODES["production"], password_min=17)
        bodies = description_of(settings)["components"]["schemas"]
        register = bodies["register_body"]["properties"]
        assert register["email"]["maxLength"] == 250
        assert register["password"]["minLength"] == 17
        assert register["password"]["maxLength"] == 1024
        signs_in = bodies["sign_in_body"]["properties"]
        assert signs_in["password"]["minLength"] == 1
        changes = bodies["change_password_body"]["properties"]
        assert changes["new_password"]["minLength"] == 17
        assert changes["current_password"]["minLength"] == 1


def contents(document: Any) -> Iterator[Dict[str, Any]]:
    """Yield each kind of body, sent or answered, that has a schema."""
    for each in walk(document["paths"]):
        if "schema" in each and "in" not in each:
            yield each


def schemas(document: Any) -> Iterator[Dict[str, Any]]:
    """Yield each schema that has examples of its own."""
    for each in walk(document):
        if isinstance(each.get("examples"), list):
            yield each


def walk(node: Any) -> Iterator[Dict[str, Any]]:
    """Yield every object within, from the outside in."""
    if isinstance(node, dict):
        yield node
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from walk(each)
