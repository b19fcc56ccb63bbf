#!/usr/bin/env python3
"""A user's sessions on all devices: see them, and end them from here."""
from __future__ import annotations

from flask import Blueprint, Response, jsonify

from routes.common import auth, session_id

sessions = Blueprint("sessions", __name__)
# Larger than any handle the store can hold; beyond it is no route.
HANDLE = "<int(max=9223372036854775807):handle>"


@sessions.route("/sessions", methods=["GET"])
def list_sessions() -> Response:
    """Show the caller where they are signed in."""
    return jsonify(sessions=auth().list_sessions(session_id()))


@sessions.route("/sessions/" + HANDLE, methods=["DELETE"])
def end_session(handle: int) -> Response:
    """End one of the caller's sessions, on whatever device."""
    auth().end_session(session_id(), handle)
    return Response(status=204)


@sessions.route("/sessions/others", methods=["DELETE"])
def end_other_sessions() -> Response:
    """End all of the caller's sessions but this one."""
    auth().end_other_sessions(session_id())
    return Response(status=204)
