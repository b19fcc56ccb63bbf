#!/usr/bin/env python3
"""Every kind of error, for programs and for people (RFC 9457).

An error is `{"message": "…"}`, as the card's contract says. Whoever asks for
application/problem+json gets it with a code, and the address of a page that
says what to do.
"""
from __future__ import annotations

import inspect
import uuid
from html import escape
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Type

from flask import Blueprint, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException

from errors import AuthError
from routes.common import html, service
from routes.guards import HEADERS

problems = Blueprint("problems", __name__)
PLAIN, PROBLEM = "application/json", "application/problem+json"
PAGE = "/docs/errors"
# An error has two forms.
VARY = "Accept, " + HEADERS["Vary"]
# What every 401 asks for (RFC 9110, 15.5.2). Browsers make no dialogue of it.
CHALLENGE = 'Bearer realm="Bienvenue"'
HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Errors of Bienvenue</title>
<h1>Errors</h1>
<p>What an answer with a status of 400 and above means, by its code.</p>
"""
ENTRY = """<h2 id="{0}">{2}</h2>
<p><code>{0}</code>, status {1}. {3}</p>
<p>{4}</p>
"""


class Kind(NamedTuple):
    """A kind of error: its code and status, its name, when, and what to do."""

    code: str
    status: int
    title: str
    raised: str
    remedy: str


# What goes wrong before a verb of Auth is called, or in none of them; by
# status, as that is all that Werkzeug knows of it.
OF_HTTP = {each.status: each for each in (
    Kind("bad_request", 400, "Bad request",
         "When the request, or its body, cannot be read in one way only.",
         "Mend what the message names: send UTF-8, each field once."),
    Kind("not_found", 404, "Not found",
         "When there is no such route, or not for you.",
         "Check the path; the README lists every route."),
    Kind("method_not_allowed", 405, "Method not allowed",
         "When the route does not answer this method.",
         "Use one of the methods that the header Allow names."),
    Kind("too_large", 413, "Body too large",
         "When the body is larger than any route needs.",
         "Send no more than 16 KiB."),
    Kind("unsupported_media_type", 415, "Unsupported media type",
         "When the body is neither a form nor JSON.",
         "Name its kind in the header Content-Type."),
    Kind("internal_error", 500, "Mistake of the service",
         "When the service itself is at fault.",
         "Report it with X-Request-ID, by which the log has the cause."),
)}


def kinds_of(status: Mapping[Type[AuthError], int]) -> Dict[str, Kind]:
    """Return every kind of error by its code, in the order of statuses."""
    kinds = [Kind(each.code, number, each.title, _raised(each), each.remedy)
             for each, number in status.items()] + list(OF_HTTP.values())
    return {each.code: each for each in sorted(
        kinds, key=lambda each: each.status)}


def _raised(error: Type[AuthError]) -> str:
    """Return when an error is raised, as its class says first."""
    first = (inspect.getdoc(error) or "").partition("\n\n")[0]
    return first.replace("\n", " ").replace("Raised when", "When")


# -- An answer

def answer_http(error: HTTPException) -> Response:
    """Say in JSON what Werkzeug would say in HTML, with its other headers."""
    status = error.code or 500
    code, _, *more = OF_HTTP.get(status, OF_HTTP[400])
    response = answer(Kind(code, status, *more),
                      error.description or error.name)
    response.headers.update([
        each for each in error.get_headers() if each[0] != "Content-Type"])
    return response


def answer(kind: Kind, message: str, retry_after: int = 0) -> Response:
    """Say what went wrong, in the form that the client asks for."""
    if wants_problem():
        response = jsonify(details(
            kind, message, service().settings.public_url, g.request_id,
            retry_after))
        response.mimetype = PROBLEM
    else:
        response = jsonify(message=message)
    response.status_code = kind.status
    response.headers["Vary"] = VARY
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    if kind.status == 401:
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def wants_problem() -> bool:
    """Tell whether the client would rather have problem details.

    Only one that names them: a wildcard is content with the contract. A flood
    of refusals parses no header for that.
    """
    if "problem+json" not in request.environ.get("HTTP_ACCEPT", "").lower():
        return False
    liked = request.accept_mimetypes.quality
    return 0 < liked(PROBLEM) >= liked(PLAIN)


def details(kind: Kind, message: str, public_url: str, request_id: str,
            retry_after: int = 0) -> Dict[str, Any]:
    """Return what RFC 9457 has a program know of an error.

    Its page is under PUBLIC_URL, so that the address can be passed on; without
    one it is where the answer came from.
    """
    found = {"type": "{}{}#{}".format(public_url, PAGE, kind.code),
             "title": kind.title, "status": kind.status, "detail": message,
             "code": kind.code, "instance": uri_of(request_id)}
    return dict(found, retry_after=retry_after) if retry_after else found


def uri_of(request_id: str) -> str:
    """Return the id of a request as a URI.

    Most are UUIDs, ours included. What else a client calls its request is a
    name within this answer.
    """
    try:
        return uuid.UUID(request_id).urn
    except ValueError:
        return "#" + request_id


# -- The page

@problems.route(PAGE, methods=["GET"])
def show_errors() -> Response:
    """Show people what each code means."""
    return html(as_html(current_app.extensions["kinds"].values()))


def as_html(kinds: Iterable[Kind]) -> str:
    """Return the page that `type` leads to."""
    return HEAD + "".join(ENTRY.format(*[
        escape(str(value)) for value in each]) for each in kinds)
