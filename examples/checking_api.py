#!/usr/bin/env python3
"""A second service, which serves whoever is signed in to Bienvenue.

Its callers send `Authorization: Bearer <session id>`, and it asks Bienvenue
whose that is, each time. To remember the answer would save a millisecond, and
go on serving whoever signed out since, was disabled, or stole the session.

AUTH_URL is where Bienvenue itself listens, as its proxy keeps /forward_auth
from the world; between machines it has to be https. AUTH_HOST is, in
production, the host of PUBLIC_URL.
"""
from __future__ import annotations

import os
import re
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Tuple
from urllib.parse import urlsplit

from flask import Flask, Response, abort, jsonify, make_response, request

AUTH = urlsplit(os.environ.get("AUTH_URL", "http://127.0.0.1:5000"))
AUTH_HOST = os.environ.get("AUTH_HOST", "localhost")
BEARER = re.compile(r"Bearer [0-9a-f-]{36}\Z", re.I)
TIMEOUT = 2  # seconds; a look-up takes a few thousandths of one

app = Flask(__name__, static_folder=None)


@app.route("/notes")
def show_notes() -> Response:
    """Show the caller what is theirs, by the id that never changes."""
    bearer = request.headers.get("Authorization", "")
    status, user = ask(bearer) if BEARER.match(bearer) else (401, "")
    if status == 401:
        abort(make_response(jsonify(message="sign in first"), 401, {
            "WWW-Authenticate": "Bearer"}))
    if status != 200 or not user:  # in doubt nobody is let in
        abort(make_response(jsonify(message="try again in a moment"), 503, {
            "Retry-After": "1"}))
    return jsonify(user=user, notes=[])


def ask(bearer: str) -> Tuple[int, str]:
    """Return the status of Bienvenue's answer, 503 for none, and the id."""
    kind = HTTPSConnection if AUTH.scheme == "https" else HTTPConnection
    try:
        with closing(kind(AUTH.netloc, timeout=TIMEOUT)) as connection:
            connection.request("GET", "/forward_auth", headers={
                "Host": AUTH_HOST, "Authorization": bearer})
            answer = connection.getresponse()
            return answer.status, answer.getheader("Remote-User", "")
    except (OSError, HTTPException):
        return 503, ""


if __name__ == "__main__":
    app.run("127.0.0.1", int(os.environ.get("PORT", "8001")))
