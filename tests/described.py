#!/usr/bin/env python3
"""Whether an answer is one that the description of the service promises.

tests/conftest.py asks it of every answer that a test gets from a client of
Flask's, so the whole suite would notice a status, a header, a body or a type
that GET /openapi.json does not know of.
"""
from __future__ import annotations

import dataclasses
from fnmatch import fnmatch
from functools import lru_cache
from typing import Any, Dict, Iterator, List, Optional, Tuple

import pytest
from flask import Flask
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from app import KINDS
from routes.common import COOKIE, SAFE_COOKIE
from routes.guards import as_written, headers_of
from routes.openapi import document
from settings import Settings
from tests.helpers import PRODUCTION

# Settings under which everything is possible that a mode describes.
KEY = "k" * 32
OPEN: Dict[str, Any] = dict(
    PRODUCTION, reveal_registered=True, sign_in_path="/account",
    trusted_proxies=1)
MODES = {"development": Settings(), "production": Settings(**OPEN)}
every_mode = pytest.mark.parametrize("mode", MODES)
# What every answer of HTTP may say.
PLAIN = {"Content-Type", "Content-Length", "Date"}


@lru_cache(maxsize=None)
def _whole(settings: Settings) -> Any:
    """Return what validates by a description, made for these settings."""
    return Draft202012Validator(document(
        settings, SAFE_COOKIE if settings.production else COOKIE, KINDS))


@lru_cache(maxsize=None)
def whole(settings: Settings) -> Any:
    """Return the same, which is one for all databases."""
    return _whole(dataclasses.replace(settings, database_url=""))


def description_of(settings: Settings) -> Dict[str, Any]:
    """Return the description that a service with these settings gives."""
    description: Dict[str, Any] = whole(settings).schema
    return description


def operations(mode: str) -> Iterator[Tuple[str, str, Dict[str, Any]]]:
    """Yield the method, the path and the description of each operation."""
    for path, there in description_of(MODES[mode])["paths"].items():
        for method, each in there.items():
            if method != "parameters":
                yield method.upper(), path, each


def operation_of(application: Flask, method: str,
                 path: str) -> Optional[Dict[str, Any]]:
    """Return what is described of the route that answers.

    None if there is no such route, or one that a test made up.
    """
    try:
        rule, _ = application.url_map.bind("localhost").match(
            path, "GET" if method == "HEAD" else method, return_rule=True)
    except HTTPException:
        return None
    paths = description_of(application.extensions["auth"].settings)["paths"]
    written = as_written(rule.rule).replace("<", "{").replace(">", "}")
    operation: Optional[Dict[str, Any]] = paths.get(written, {}).get(
        "get" if method == "HEAD" else method.lower())
    return operation


def complaints(application: Flask, answer: TestResponse) -> List[str]:
    """Return what is wrong with an answer, nothing if it is as described.

    A mistake of ours (500) is promised nowhere, and tests that provoke one
    look at it themselves; what is no route is described in words.
    """
    asked = answer.request
    if "auth" not in application.extensions:
        return []  # somebody else's
    operation = operation_of(
        application, asked.method, asked.environ["PATH_INFO"])
    if operation is None or answer.status_code == 500:
        return []
    promised = operation["responses"].get(str(answer.status_code))
    where = "{} {} answered {}".format(
        asked.method, asked.path, answer.status_code)
    if promised is None:
        return [where + ", which is not described"]
    settings = application.extensions["auth"].settings
    return [where + ": " + each for each in
            _headers(settings, promised, answer)
            + _body(settings, promised, answer)]


def _headers(settings: Settings, promised: Dict[str, Any],
             answer: TestResponse) -> List[str]:
    """Return what is missing, odd or unknown among the headers."""
    own = set(promised["headers"])
    common = headers_of(settings.production)
    found = {name for name, _ in answer.headers}
    return (["no {}".format(name) for name in (own | set(common)) - found]
            + ["{} is not described".format(name)
               for name in found - own - set(common) - PLAIN]
            + ["{} is not the usual one".format(name)
               for name, value in common.items()
               if name not in own and answer.headers.get(name) != value])


def _body(settings: Settings, promised: Dict[str, Any],
          answer: TestResponse) -> List[str]:
    """Return what is wrong with the body, or with its type."""
    content = promised.get("content", {})
    if answer.request.method == "HEAD" or not content:
        return ["a body"] if answer.get_data() else []
    for media_type, described in content.items():
        if fnmatch(answer.mimetype, media_type):
            if "json" not in media_type:
                return []
            return [each.message for each in validator(
                settings, described["schema"]).iter_errors(answer.get_json())]
    return ["of the type {}".format(answer.mimetype)]


def validator(settings: Settings, schema: Dict[str, Any]) -> Any:
    """Return what tells whether a value is of a schema of the description."""
    return whole(settings).evolve(schema=schema)
