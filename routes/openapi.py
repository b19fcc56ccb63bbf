#!/usr/bin/env python3
"""The OpenAPI 3.1 document of one mode, made of what the code says anyway.

The table of the routes is in routes/described.py. Limits, headers, cookies
and errors are taken from where they are kept, so that the document cannot say
something else.
"""
from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, Tuple

from werkzeug.exceptions import default_exceptions

import errors
from errors import AuthError
from routes.common import MAX_BODY, TOO_LARGE
from routes.described import (
    FIELDS, IN_PRODUCTION, OPERATIONS, TAGS, TEXT, Answer, Operation, closed,
    like)
from routes.guards import SAFE_METHODS, headers_of
from routes.problems import CHALLENGE, PLAIN, PROBLEM, VARY, Kind, details
from settings import Settings

# Of what clients rely on; the first number changes when they have to.
VERSION = "1.0.0"
WORDS = """\
Send a form or JSON: UTF-8, at most {kib} KiB, each field once; what a route \
does not read is ignored. An error is `{{"message": "…"}}` or, for `Accept: \
application/problem+json`, problem details (RFC 9457) with a `code`.

A session is carried by the cookie `{cookie}` or by `Authorization: Bearer \
<session id>`. A page of another site can change nothing.

This is the **{mode}** mode. `HEAD` is answered as `GET` is, without a body. \
What is no route is 404, another method 405 with `Allow`; 500 is a mistake of \
ours.

Every answer carries these headers, unless it says otherwise:

| Header | Value |
|---|---|
{headers}"""
REQUEST = "9f3a61c0d27e4b5f8a1c60e2d4b7f935"
FORM = "application/x-www-form-urlencoded"
SECURITY: Dict[str, List[Dict[str, List[str]]]] = {
    "nothing": [], "session": [{"cookie": []}, {"bearer": []}],
    "key": [{"key": []}], "key or nothing": [{}, {"key": []}]}
# What headers say of an answer; those of every answer are in guards.py.
HEADERS = {
    "Cache-Control": ("Keep it, and ask each time.", "no-cache"),
    "Clear-Site-Data": ("Has the browser forget what it kept of ours.",
                        '"cache", "storage"'),
    "Content-Security-Policy": ("What may be loaded, and from where.",
                                "default-src 'none'; script-src 'self'"),
    "Cross-Origin-Opener-Policy": ("No other page has a hold on this one.",
                                   "same-origin"),
    "ETag": ("For If-None-Match.", '"da39a3ee5e6b4b0d"'),
    "Location": ("Where to go on.", "/"),
    "Remote-Email": ("Their address if it is proven to be theirs, or empty; "
                     "beyond ASCII it is percent-encoded.", "bob@me.com"),
    "Remote-User": ("The id of the user, which no other ever gets.", "7"),
    "Retry-After": ("After how many seconds to try again.", "1"),
    "Set-Cookie": ("The session, and in production this device.",
                   "{cookie}=0fa93ad6-0f29-4d4a-a6a6-3f1c2dc80b45; "
                   "HttpOnly; Path=/; SameSite=Lax"),
    "Vary": ("On what the answer depends.", VARY),
    "WWW-Authenticate": ("How to sign in.", CHALLENGE),
    "X-Request-ID": ("By which the log knows this request: the caller's own, "
                     "or a new one.", REQUEST),
}
# Which of them come with a status, whatever the error is.
OF_STATUS: Dict[int, Tuple[str, ...]] = {
    401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


def document(settings: Settings, cookie: str,
             kinds: Mapping[str, Kind]) -> Dict[str, Any]:
    """Return the description of a service with these settings."""
    operations = dict(OPERATIONS)
    if settings.production:
        operations.update(IN_PRODUCTION)
    paths: Dict[str, Any] = {}
    for (method, path), each in operations.items():
        there = paths.setdefault(
            path.replace("<", "{").replace(">", "}"),
            {"parameters": [{"$ref": "#/components/parameters/request_id"}]})
        there[method.lower()] = _operation(method, each, settings, kinds)
    return {
        "openapi": "3.1.0",
        "info": _info(settings, cookie),
        "tags": [{"name": name, "description": text} for name, text in TAGS],
        "paths": paths,
        "components": _components(settings, cookie, kinds)}


def _info(settings: Settings, cookie: str) -> Dict[str, Any]:
    """Return what holds for every route."""
    return {
        "title": settings.service_name, "version": VERSION,
        "summary": "Sign-up, sign-in, sign-out, profile, password reset.",
        "description": WORDS.format(
            kib=MAX_BODY // 1024, cookie=cookie, mode=settings.env,
            headers="\n".join("| `{}` | `{}` |".format(*each) for each in
                              headers_of(settings.production).items()))}


def _components(settings: Settings, cookie: str,
                kinds: Mapping[str, Kind]) -> Dict[str, Any]:
    """Return what many routes refer to."""
    return {
        "schemas": dict(
            {"{}_body".format(each.name): _body(each, settings)
             for each in OPERATIONS.values() if each.fields},
            message=closed(message=like("not signed in")),
            problem=_problem(kinds)),
        "examples": dict(_examples(settings, kinds)),
        "headers": {name: {
            "description": text, "required": True, "schema": TEXT,
            "example": example.format(cookie=cookie)}
            for name, (text, example) in HEADERS.items()},
        "parameters": {"request_id": {
            "name": "X-Request-ID", "in": "header", "schema": TEXT,
            "description": "Comes back, if it is 1 to 64 letters, digits, "
                           "dots, hyphens and underscores."}},
        "securitySchemes": {
            "cookie": {"type": "apiKey", "in": "cookie", "name": cookie,
                       "description": "Set by signing in."},
            "bearer": {"type": "http", "scheme": "bearer",
                       "description": "The session id, as the cookie has "
                                      "it. It goes before the cookie."},
            "key": {"type": "http", "scheme": "bearer",
                    "description": "METRICS_TOKEN."}}}


def _examples(settings: Settings, kinds: Mapping[str, Kind]
              ) -> Iterator[Tuple[str, Any]]:
    """Yield what each error looks like, in both of its forms."""
    said = {"bad_request": "the body is not UTF-8", "too_large": TOO_LARGE,
            "unsupported_media_type": "send {} or {}".format(FORM, PLAIN)}
    said.update((each.code, each("").public) for each in vars(errors).values()
                if isinstance(each, type) and issubclass(each, AuthError))
    for code, kind in kinds.items():
        message = said.get(code) or str(
            default_exceptions[kind.status].description)
        yield code, {"summary": kind.title, "value": {"message": message}}
        yield code + "_problem", {"summary": kind.title, "value": details(
            kind, message, settings.public_url, REQUEST)}


def _problem(kinds: Mapping[str, Kind]) -> Dict[str, Any]:
    """Return the schema of problem details, for whoever asks for them."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail", "instance", "code"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference",
                     "description": "Where to read about this kind of error."},
            "title": TEXT, "status": {"type": "integer"}, "detail": TEXT,
            "instance": {"type": "string", "format": "uri-reference",
                         "description": "Names this request."},
            "code": {"enum": sorted(kinds)},
            "retry_after": {"type": "integer"}}}


def _body(operation: Operation, settings: Settings) -> Dict[str, Any]:
    """Return the schema of a body: these fields, and any other."""
    fields = {name: dict(FIELDS[name]) for name in
              operation.fields + operation.optional}
    for name in operation.fields:
        fields[name]["minLength"] = 1
    new = "password" if operation.name == "register" else "new_password"
    if settings.production and new in fields:
        fields[new]["minLength"] = settings.password_min
    return {"type": "object", "required": list(operation.fields),
            "properties": fields}


def _operation(method: str, operation: Operation, settings: Settings,
               kinds: Mapping[str, Kind]) -> Dict[str, Any]:
    """Return what a route takes and answers in this mode."""
    answers = {str(each.status): _answer(each, settings)
               for each in operation.answers}
    possible = [kinds[code] for code in _errors(method, operation)
                if _is_possible(code, settings)]
    for status in sorted({each.status for each in possible}):
        answers[str(status)] = _refusal(status, [
            each for each in possible if each.status == status])
    described: Dict[str, Any] = {
        "operationId": operation.name, "tags": [operation.tag],
        "summary": operation.summary, "description": operation.note,
        "security": SECURITY[operation.asks],
        "parameters": list(operation.parameters)}
    if operation.fields:
        schema = {"$ref": "#/components/schemas/{}_body".format(
            operation.name)}
        described["requestBody"] = {"required": True, "content": {
            PLAIN: {"schema": schema}, FORM: {"schema": schema}}}
    return dict(described, responses=answers)


def _errors(method: str, operation: Operation) -> Iterator[str]:
    """Yield the codes of all that a route may refuse, in any mode."""
    yield from operation.errors
    if operation.fields:
        yield from ("bad_request", "unsupported_media_type")
    if method not in SAFE_METHODS:
        yield "cross_site"
    yield from ("development_only", "unknown_host", "too_large")


def _is_possible(code: str, settings: Settings) -> bool:
    """Tell whether an error is of this mode."""
    production = settings.production
    return {
        "development_only": not production,
        "unknown_email": not production,
        "unknown_host": production,
        "throttled": production,
        "weak_password": production,
        "email_taken": settings.reveals_registered,
        "not_verified": (settings.demands_verified
                         and settings.reveals_registered)}.get(code, True)


def _answer(answer: Answer, settings: Settings) -> Dict[str, Any]:
    """Return an answer by which all is well."""
    names = [name for name in answer.headers + ("X-Request-ID",)
             if settings.production or name != "Clear-Site-Data"]
    described: Dict[str, Any] = {
        "description": answer.description, "headers": _headers(names)}
    if answer.schema is not None:
        described["content"] = {answer.media_type: {"schema": answer.schema}}
    if answer.links:
        described["links"] = {name: {
            key: value for key, value in (
                ("operationId", name), ("parameters", parameters),
                ("requestBody", body)) if value}
            for name, parameters, body in answer.links}
    return described


def _refusal(status: int, kinds: List[Kind]) -> Dict[str, Any]:
    """Return the answer to all errors of a status, in both of its forms."""
    return {
        "description": "\n".join("- `{}`: {}".format(
            each.code, each.raised) for each in kinds),
        "headers": _headers(
            OF_STATUS.get(status, ()) + ("Vary", "X-Request-ID")),
        "content": {
            media_type: {
                "schema": {"$ref": "#/components/schemas/" + schema},
                "examples": {each.code: {
                    "$ref": "#/components/examples/" + each.code + suffix}
                    for each in kinds}}
            for media_type, schema, suffix in (
                (PLAIN, "message", ""), (PROBLEM, "problem", "_problem"))}}


def _headers(names: Iterable[str]) -> Dict[str, Any]:
    """Return references to these headers."""
    return {name: {"$ref": "#/components/headers/" + name} for name in names}
