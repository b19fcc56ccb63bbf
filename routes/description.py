#!/usr/bin/env python3
"""The description of this service: for programs, and as a page for people.

GET /openapi.json is what routes/openapi.py makes of the routes of this mode;
GET /docs shows it in a browser, where each route can be tried. Neither is
put together or read before somebody asks for it.
"""
from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from flask import Blueprint, Response, current_app
from werkzeug.exceptions import NotFound

from routes.common import cached, service, session_cookie_name

description = Blueprint("description", __name__)
FOLDER = Path(__file__).resolve().parent.parent / "pages" / "docs"
PAGE = "index.html"
# It loads its own files and asks this server, and nobody else; `data:` is for
# two pictures in the viewer's style sheet (docs/security.md#api-page).
CSP = ("default-src 'none'; script-src 'self'; style-src 'self'; "
       "img-src data:; connect-src 'self'; base-uri 'none'; "
       "form-action 'none'; frame-ancestors 'none'")
# What the page loads, and no other file of its folder.
TYPES = {
    PAGE: "text/html; charset=utf-8",
    "start.js": "text/javascript; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
}


@description.route("/openapi.json", methods=["GET"])
def show_description() -> Response:
    """Hand out the description of this mode."""
    return cached(written(), "application/json")


@description.route("/docs", methods=["GET"])
def show_page() -> Response:
    """Show the description as a page, which may do what it needs."""
    response = shown(PAGE)
    response.headers["Content-Security-Policy"] = CSP
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response


@description.route("/docs/<name>", methods=["GET"])
def show_file(name: str) -> Response:
    """Show a file that the page loads."""
    if name == PAGE:
        raise NotFound()
    return shown(name)


def shown(name: str) -> Response:
    """Answer with a file of the page, where there is one."""
    if not service().settings.shows_docs or name not in TYPES:
        raise NotFound()
    return cached(read(name), TYPES[name])


def written() -> bytes:
    """Return the description as it is sent, put together only once."""
    known = current_app.extensions
    if "openapi" not in known:
        from routes.openapi import document  # large, and seldom asked for

        known["openapi"] = json.dumps(document(
            service().settings, session_cookie_name(), known["kinds"]),
            separators=(",", ":")).encode()
    return bytes(known["openapi"])


@lru_cache(maxsize=None)
def read(name: str) -> bytes:
    """Return what is in a file of the page."""
    return (FOLDER / name).read_bytes()
