#!/usr/bin/env python3
"""The floor: what framework and server cost before there is a service.

`/empty` is a constant, `/select` one look-up by index through a connection
of sqlite3 that the thread keeps, and `/scan` the same as a student writes it:
the session is a column of the users, and no index leads there. `/refuse` turns
everybody away who signs in, unheard.
"""
from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any, List, Tuple

from flask import Flask, Response, abort, jsonify, request

SELECT = ("SELECT users.email FROM sessions JOIN users ON users.id = "
          "sessions.user_id WHERE sessions.id = ?")
SCAN = "SELECT email FROM students WHERE session_id = ?"
SCHEMA = """
    CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
    CREATE TABLE sessions (
        id TEXT PRIMARY KEY, user_id INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE students (
        id INTEGER PRIMARY KEY, email TEXT NOT NULL, session_id TEXT);
"""
app = Flask(__name__)
local = threading.local()


def look_up(sql: str) -> Tuple[Any, ...]:
    """Return the row of the session that the request is of."""
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(
            os.environ["FLOOR"], isolation_level=None)
    found = local.connection.execute(
        sql, (request.cookies.get("session_id"),)).fetchone()
    if found is None:
        abort(403)
    row: Tuple[Any, ...] = found
    return row


@app.route("/empty")
def empty() -> Response:
    """Answer without looking anything up."""
    return jsonify(email="user0@example.com")


@app.route("/select")
def select() -> Response:
    """Answer as the service does, at the least that it can cost."""
    return jsonify(email=look_up(SELECT)[0])


@app.route("/scan")
def scan() -> Response:
    """Answer after a walk through all users."""
    return jsonify(email=look_up(SCAN)[0])


@app.route("/refuse", methods=["POST"])
def refuse() -> Response:
    """Answer as the service does when too many sign in."""
    response = jsonify(message="too many are signing in at this moment")
    response.status_code, response.headers["Retry-After"] = 503, "1"
    return response


def application(environ: Any, start_response: Any) -> List[bytes]:
    """Answer in one piece, as the service does: that is cheaper to send."""
    answer = app(environ, start_response)
    try:
        return [b"".join(answer)]
    finally:
        getattr(answer, "close", bool)()
